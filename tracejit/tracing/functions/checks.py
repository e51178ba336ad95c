"""What NumPy would raise for an argument's values, asked when the function runs."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..checks import record_check
from ..tracer import Tracer


def require(
    holds: Any, message: str, error: Callable[[str], Exception] = ValueError
) -> None:
    """Raise `error` unless all of `holds` is true, at once where that is known."""
    if not isinstance(holds, Tracer):
        if not np.all(holds):
            raise error(message)
        return
    every: Any = np.all(holds)
    if every.is_known:
        require(every.shadow, message, error)
        return

    def fail() -> tuple[np.ndarray, ...]:
        raise error(message)

    record_check(every, fail)
