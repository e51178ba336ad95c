"""What comes after what, between the streams of a device.

A device's kernels run on one stream, in the order they were asked for; copies from and
to the host have streams of their own. `Marks` are places in the kernels' stream: work
up to one is done before whatever waits for its event. `Arrivals` are copies to the
device that are on their way: the kernels' stream waits for one when something asked of
it uses what is copied, and not before. Nor is memory
that another device still copies from used again before that is done.
"""

import threading
from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from .driver import Driver

_SLOTS = 64  # events that marks share in turn
_MOST = 64  # copies that are looked through at each call
NO_TIMING = 2  # of an event


class Marks:
    """Places in the work of a stream, numbered from 1.

    The event of a mark is recorded again by a later one, so that what waits for it may
    wait for more, never for less.

    Parameters
    ----------
    driver : Driver
    stream : int

    Attributes
    ----------
    last : int
        The last mark; 0 if there is none.
    """

    def __init__(self, driver: Driver, stream: int) -> None:
        self._driver, self._stream = driver, stream
        self._events: list[int] = []
        self._lock = threading.Lock()
        self.last = 0

    def make(self) -> int:
        """Return a mark after all that the stream was asked for so far."""
        with self._lock:
            mark = self.last + 1
            while len(self._events) < _SLOTS:
                self._events.append(self._driver.handle("cuEventCreate", NO_TIMING))
            event = self._events[(mark - 1) % _SLOTS]
            self._driver.call("cuEventRecord", event, self._stream)
            self.last = mark
        return mark

    def wait(self, stream: int, mark: int) -> None:
        """Have another stream wait for a mark; for the start, if it is 0."""
        if mark:
            event = self._events[(mark - 1) % _SLOTS]
            self._driver.call("cuStreamWaitEvent", stream, event, 0)


class _Arrival(NamedTuple):
    start: int
    end: int
    event: int
    stream: int

    def is_at(self, address: int) -> bool:
        return self.start <= address < self.end


class Arrivals:
    """Copies, of other streams, that the kernels' stream does not wait for yet.

    Parameters
    ----------
    driver : Driver
    context, stream : int
        Of the kernels.

    Attributes
    ----------
    pending : list
        The copies, in order; to be asked first whether there are any.
    """

    def __init__(self, driver: Driver, context: int, stream: int) -> None:
        self._driver, self._context, self._stream = driver, context, stream
        self._events: defaultdict[int, list[int]] = defaultdict(list)  # free ones
        self._lock = threading.Lock()
        self.pending: list[_Arrival] = []

    def add(self, start: int, size: int, stream: int) -> None:
        """Note what a stream was asked to copy last, to or from some memory.

        Its context is the current one.
        """
        with self._lock:
            free = self._events[stream]
            event = free.pop() if free else self._new_event()
            self._driver.call("cuEventRecord", event, stream)
            self.pending.append(_Arrival(start, start + size, event, stream))
            if len(self.pending) > _MOST:
                self._settle(_MOST // 2)

    def _new_event(self) -> int:
        return self._driver.handle("cuEventCreate", NO_TIMING)

    def settle(self, addresses: Iterable[int]) -> None:
        """Have the kernels' stream wait for copies of memory with these addresses."""
        with self._lock:
            last = -1
            for address in addresses:
                for k in range(len(self.pending) - 1, last, -1):
                    if self.pending[k].is_at(address):
                        last = k
                        break
            self._settle(last + 1)

    def wait(self, stream: int, address: int) -> None:
        """Have another stream wait for copies of memory with an address."""
        with self._lock:
            for arrival in self.pending:
                if arrival.is_at(address):
                    self._driver.call("cuStreamWaitEvent", stream, arrival.event, 0)

    def settle_all(self) -> None:
        """Have the kernels' stream wait for all copies."""
        with self._lock:
            self._settle(len(self.pending))

    def _settle(self, count: int) -> None:
        """Wait for the first copies: for the last of these on each stream."""
        if count:
            self._driver.call("cuCtxSetCurrent", self._context)
            last = {x.stream: x.event for x in self.pending[:count]}
            for event in last.values():
                self._driver.call("cuStreamWaitEvent", self._stream, event, 0)
            for arrival in self.pending[:count]:
                self._events[arrival.stream].append(arrival.event)
            del self.pending[:count]
