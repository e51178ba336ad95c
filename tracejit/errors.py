"""The errors users see: what happened, their line, what to do next.

Needs NumPy's own errors. Establishes one base, `TracejitError`, and under it a class
for each kind of mistake; a class also is the error that NumPy raises for that mistake,
so that code written for NumPy catches it.
"""

from collections.abc import Sequence

import numpy as np


class TracejitError(Exception):
    """Base of all errors of tracejit.

    Parameters
    ----------
    message : str
        Starts in lower case; says what happened with actual and expected values.
    source : str, optional
        The user's line, ``"file.py:12"``.
    hint : str, optional
        The next thing to try.

    Examples
    --------
    >>> print(TracejitError("x has no shape", source="a.py:3", hint="pass an array"))
    x has no shape
      at a.py:3
      try: pass an array
    """

    def __init__(
        self, message: str, *, source: str | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.source = source
        self.hint = hint

    def __str__(self) -> str:
        lines = [self.message]
        if self.source:
            lines.append(f"  at {self.source}")
        if self.hint:
            lines.append(f"  try: {self.hint}")
        return "\n".join(lines)


class TraceError(TracejitError):
    """A function cannot be traced."""


class ConcretizationError(TraceError, TypeError):
    """Python asked a traced value for its number."""


class LeakedTracerError(TraceError):
    """A traced value was used after its trace ended."""


class UnsupportedError(TraceError, NotImplementedError):
    """A NumPy feature that tracejit does not trace."""


class ShapeError(TracejitError, ValueError):
    """Shapes do not fit together."""


class MatrixError(ShapeError, np.linalg.LinAlgError):
    """Linear algebra is not defined for an array of this shape."""


class DTypeError(TracejitError, TypeError):
    """A dtype does not fit or is not supported."""


class ArgumentError(TracejitError, TypeError):
    """A function or transformation was not given the arguments it takes."""


class IndexRangeError(TracejitError, IndexError):
    """An index is out of range."""


class CheckError(TracejitError, AssertionError):
    """A check of the user's own, `tracejit.debug.check`, did not hold."""


class NonFiniteError(TracejitError, FloatingPointError):
    """A compiled function gave NaN or inf, which the switch ``nans`` looks for.

    Attributes
    ----------
    finding : tracejit.tracing.nonfinite.Finding, optional
        Which line made it, as data.
    """

    finding: object = None


class MissingPackageError(TracejitError, ImportError):
    """A package that is needed for this alone is not installed."""


class DeviceError(TracejitError, RuntimeError):
    """The driver of a device refused what was asked of it, or the device failed.

    Parameters
    ----------
    message, source, hint : str
        As in `TracejitError`.
    code : int
        The driver's CUresult; 0 if it is none of the driver's errors.
    """

    def __init__(
        self,
        message: str,
        *,
        code: int = 0,
        source: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, source=source, hint=hint)
        self.code = code


class NoDeviceError(TracejitError, RuntimeError):
    """There is no CUDA device here."""


class DeviceMemoryError(TracejitError, MemoryError):
    """A device has no room for an array."""


class CallMemoryError(TracejitError, MemoryError):
    """The system has no memory for what a call makes."""


class HostFallbackWarning(UserWarning):
    """A step of a program for a device runs on the host, with copies each way."""


class DonationWarning(UserWarning):
    """A donated argument is of no use: no result can lie in its memory."""


class RetraceWarning(UserWarning):
    """A function is compiled for more forms of its arguments than it keeps."""


class TuningFileWarning(UserWarning):
    """A file of measured choices is damaged or out of date: defaults are used."""


class ParseError(TracejitError, ValueError):
    """Text that is not well-formed IR.

    Parameters
    ----------
    message, source, hint : str
        As in `TracejitError`.
    line, column : int
        Where in the text, counted from 1; 0 if that is not known.
    """

    def __init__(
        self,
        message: str,
        *,
        line: int = 0,
        column: int = 0,
        source: str | None = None,
        hint: str | None = None,
    ) -> None:
        where = f" (line {line}, column {column})" if line else ""
        super().__init__(message + where, source=source, hint=hint)
        self.line = line
        self.column = column


class VerifyError(TracejitError):
    """An IR invariant does not hold: a bug in tracejit, or in IR written by hand.

    Parameters
    ----------
    message, source, hint : str
        As in `TracejitError`.
    equation : int, optional
        Which equation, operation or step of what was verified, counted from 0.
    """

    def __init__(
        self,
        message: str,
        *,
        equation: int | None = None,
        source: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, source=source, hint=hint)
        self.equation = equation


class InternalError(TracejitError):
    """A bug in tracejit."""


def locate(error: BaseException, source: Sequence[str]) -> None:
    """Say in an error that Python code raised at run time which line called it.

    Parameters
    ----------
    error : BaseException
        Of tracejit: its `source` is set unless it has one; any other gets a note.
    source : sequence of str
        The user's lines; may be empty.
    """
    where = ", ".join(source)
    if not where:
        return
    if isinstance(error, TracejitError):
        error.source = error.source or where
        return
    note = f"  at {where}"
    if note not in getattr(error, "__notes__", ()):
        error.add_note(note)
