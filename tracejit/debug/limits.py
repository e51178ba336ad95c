"""Limits of time: for code that may never end.

Needs nothing. Establishes `time_limit`, for code in a child process, which it ends;
`computing_limit`, for Python code in this one; and `patience`: what the interpreter may
take for a graph that a pass made, or a Program.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from ..errors import TracejitError

SECONDS = 20.0  # machine code takes milliseconds for samples
INTERPRETED = 5.0  # seconds that anything small may take in the interpreter
TIMES = 100.0  # as long as the graph as traced; Programs take up to 30 times as long
HANG = "hang"


class ProcessDied(TracejitError):
    """Code ended the process that it ran in, or did not end.

    Parameters
    ----------
    message : str
    how : str
        ``"SIGSEGV"`` or the name of another signal, ``"exit"``, or ``"hang"``.
    """

    def __init__(self, message: str, how: str) -> None:
        super().__init__(message)
        self.how = how


def late(seconds: float) -> ProcessDied:
    """Return the error for what did not end."""
    return ProcessDied(f"it has not ended after {seconds:.3g} s", HANG)


def patience(right: float, seconds: float = SECONDS) -> float:
    """Return the seconds that the interpreter may take for what a graph became.

    Parameters
    ----------
    right : float
        That it takes for the graph itself.
    seconds : float
        That machine code may take.
    """
    return min(INTERPRETED, seconds) + TIMES * right


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """End this process, a child, where code still runs after so many seconds."""
    if not hasattr(signal, "setitimer"):
        yield
        return
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


@contextmanager
def computing_limit(seconds: float) -> Iterator[None]:
    """Raise `ProcessDied` here, where Python code still computes after so many seconds.

    They are seconds of the processor. Only the main thread can be interrupted: in
    others there is no limit.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if not (is_main and hasattr(signal, "setitimer")):
        yield
        return

    def stop(number: int, frame: object) -> NoReturn:
        raise late(seconds)

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
