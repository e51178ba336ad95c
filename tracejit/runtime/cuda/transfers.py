"""Copies between the host and a device that run beside its kernels.

Only from page-locked memory does a device copy while the host and its kernels go on.
There is a little of it, in chunks (`Staging`), used again and again: an array is copied
there by the host, piece by piece, and from there by the device, on a stream of its own.
So a copy to the device waits for no kernel but those that used its memory before, and
kernels wait only for copies of what they use; a copy from the device waits only for
what was asked for before a mark (see `order`).
"""

import ctypes
import threading
import weakref
from collections import deque

import numpy as np

from ..cpu.call import data_pointer
from .driver import Driver, free_host
from .memory import Allocation, Pool
from .order import NO_TIMING, Arrivals, Marks

LARGE = 1 << 16  # bytes from which on a copy to the device is worth a stream of its own
CHUNK = 4 << 20  # bytes
CHUNKS = 8
_PORTABLE = 1  # memory that every context may copy from
# Streams that wait for other libraries' default stream, as that of the kernels does.
_STREAM_FLAGS = 0


class _Chunk:
    """Page-locked memory, and the event of the last copy that used it."""

    def __init__(self, driver: Driver) -> None:
        self.address = driver.handle("cuMemHostAlloc", CHUNK, _PORTABLE)
        self.event = driver.handle("cuEventCreate", NO_TIMING)


class Staging:
    """A bounded number of chunks, for any thread.

    Parameters
    ----------
    driver : Driver
    """

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._made: list[_Chunk] = []
        self._free: list[_Chunk] = []
        self._flying: deque[_Chunk] = deque()  # a copy from them may be on its way
        self._changed = threading.Condition()
        weakref.finalize(self, _free_chunks, driver, self._made)

    def take(self) -> _Chunk:
        """Return a chunk that nothing uses; waits for one if there must be."""
        with self._changed:
            while True:
                chunk = self._free_or_new()
                if chunk is not None:
                    return chunk
                if self._flying:
                    chunk = self._flying.popleft()
                    break
                self._changed.wait()
        self._driver.call("cuEventSynchronize", chunk.event)
        return chunk

    def take_free(self) -> _Chunk | None:
        """Return a chunk that nothing uses, if there is one now."""
        with self._changed:
            return self._free_or_new()

    def _free_or_new(self) -> _Chunk | None:
        if not self._free and len(self._made) < CHUNKS:
            self._made.append(_Chunk(self._driver))
            return self._made[-1]
        return self._free.pop() if self._free else None

    def give(self, chunk: _Chunk, is_flying: bool) -> None:
        """Take a chunk back; `is_flying` if its event is still to come."""
        with self._changed:
            (self._flying if is_flying else self._free).append(chunk)
            self._changed.notify()


def _free_chunks(driver: Driver, chunks: list[_Chunk]) -> None:
    for chunk in chunks:
        free_host(driver, chunk.address)


class Transfers:
    """The copies of one device.

    Parameters
    ----------
    driver : Driver
    pool : Pool
    marks : Marks
    arrivals : Arrivals

    Attributes
    ----------
    inward, outward : int
        The streams of copies to the device and from it.
    """

    def __init__(
        self, driver: Driver, pool: Pool, marks: Marks, arrivals: Arrivals
    ) -> None:
        self._driver, self._pool = driver, pool
        self._marks, self._arrivals = marks, arrivals
        self._staging = Staging(driver)
        self.inward, self.outward = (
            driver.handle("cuStreamCreate", _STREAM_FLAGS) for _ in range(2)
        )
        self._sent = 0  # the event of the last copy to the device

    def send(self, array: np.ndarray, label: str) -> Allocation:
        """Copy a C-contiguous array to the device; returns while that is on its way."""
        driver, stream = self._driver, self.inward
        allocation = self._pool.allocate_for(stream, array.nbytes, label)
        source = data_pointer(array)
        for start in range(0, array.nbytes, CHUNK):
            size = min(CHUNK, array.nbytes - start)
            chunk = self._staging.take()
            ctypes.memmove(chunk.address, source + start, size)
            to = allocation.address + start
            driver.call("cuMemcpyHtoDAsync", to, chunk.address, size, stream)
            driver.call("cuEventRecord", chunk.event, stream)
            self._staging.give(chunk, is_flying=True)
        self.sent(allocation)
        return allocation

    def sent(self, allocation: Allocation) -> None:
        """Note that a block is filled when all that `inward` was asked for is done."""
        if not self._sent:
            self._sent = self._driver.handle("cuEventCreate", NO_TIMING)
        self._driver.call("cuEventRecord", self._sent, self.inward)
        self._arrivals.add(allocation.address, allocation.size, self.inward)
        allocation.mark = 0  # no kernel has a part in it

    def fetch(self, address: int, out: np.ndarray, mark: int) -> None:
        """Fill a C-contiguous array with what is on the device after a mark.

        If that is 0, what is there was copied to the device, and nothing more.

        While one piece is copied from page-locked memory, the next one arrives there.
        """
        self._marks.wait(self.outward, mark)
        if not mark:
            self._driver.call("cuStreamWaitEvent", self.outward, self._sent, 0)
        to, ahead = data_pointer(out), deque[tuple[_Chunk, int, int]]()
        for start in range(0, out.nbytes, CHUNK):
            size = min(CHUNK, out.nbytes - start)
            # Who holds one and waits for another might wait for who does the same.
            chunk = self._staging.take_free() if ahead else self._staging.take()
            if chunk is None:
                self._store(*ahead.popleft())
                chunk = self._staging.take()
            self._ask(chunk, address + start, size)
            ahead.append((chunk, to + start, size))
            if len(ahead) > 1:
                self._store(*ahead.popleft())
        for piece in ahead:
            self._store(*piece)

    def _ask(self, chunk: _Chunk, address: int, size: int) -> None:
        driver = self._driver
        driver.call("cuMemcpyDtoHAsync", chunk.address, address, size, self.outward)
        driver.call("cuEventRecord", chunk.event, self.outward)

    def _store(self, chunk: _Chunk, to: int, size: int) -> None:
        self._driver.call("cuEventSynchronize", chunk.event)
        ctypes.memmove(to, chunk.address, size)
        self._staging.give(chunk, is_flying=False)
