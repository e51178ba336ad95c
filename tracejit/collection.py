"""Python's collector of cycles, which waits while a function compiles.

Graphs are many small objects that live until the compiler is done. The collector would
go through all of them again and again as they become more, a quarter of the time that a
long program takes to compile, and would find nothing.
"""

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class _Waiting:
    """How many compilations the collector waits for, on all threads."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.count = 0
        self.was_enabled = False


_waiting = _Waiting()


@contextmanager
def paused() -> Iterator[None]:
    """Have the collector wait while the block runs; ``gc.collect()`` works in it.

    Examples
    --------
    >>> with paused():
    ...     gc.isenabled()
    False
    >>> gc.isenabled()
    True
    """
    with _waiting.lock:
        _waiting.count += 1
        if _waiting.count == 1:
            _waiting.was_enabled = gc.isenabled()
            gc.disable()
    try:
        yield
    finally:
        with _waiting.lock:
            _waiting.count -= 1
            if not _waiting.count and _waiting.was_enabled:
                gc.enable()
