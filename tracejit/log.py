"""Named logs: what the compiler reports about its own work, each switched on by name.

Needs `config`, whose switch ``log`` lists the artifacts that are on (``TRACEJIT_LOG=
retrace,fusion``). Establishes `emit`: one line on stderr through the standard
``logging`` module, under the logger ``tracejit.<artifact>``.
"""

import sys
from functools import cache
from typing import TYPE_CHECKING

from . import config
from .errors import InternalError

if TYPE_CHECKING:
    from logging import Logger

ARTIFACTS = config.SWITCHES["log"].choices


@cache
def _logger() -> "Logger":
    """Return the logger; a process that reports nothing never loads `logging`."""
    import logging  # noqa: PLC0415

    class StderrHandler(logging.Handler):
        """Writes to what `sys.stderr` is now, which tests and notebooks replace."""

        def emit(self, record: logging.LogRecord) -> None:
            try:
                sys.stderr.write(self.format(record) + "\n")
            except Exception:  # a log must not stop the program that it is about
                self.handleError(record)

    logger = logging.getLogger("tracejit")
    handler = StderrHandler()
    handler.setFormatter(logging.Formatter("[%(name)s] %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False  # or a configured root logger would print it again
    return logger


def is_enabled(artifact: str) -> bool:
    """Tell whether an artifact is reported, to save the work of wording a message.

    Raises
    ------
    InternalError
        There is no such artifact.
    """
    if artifact not in ARTIFACTS:
        known = ", ".join(ARTIFACTS)
        raise InternalError(
            f"there is no log artifact {artifact!r}", hint=f"one of {known}"
        )
    return artifact in config.current().log


def emit(artifact: str, message: str) -> None:
    """Report a message under an artifact, if that is switched on.

    Raises
    ------
    InternalError
        There is no such artifact.

    Examples
    --------
    >>> emit("retrace", "predict: x is f32[8,4], was f32[8,3]")
    """
    if is_enabled(artifact):
        _logger().getChild(artifact).info("%s", message)
