"""Launches recorded once and replayed as one: CUDA graphs of whole programs.

A program of many kernels costs the host a launch each; recorded, it costs one. What is
recorded has addresses in it, so that it is kept by them: memory that is let go of is
used again in the same order, and calls in a loop come back to the same few addresses.
The second call at an address list records; the first may be the only one. What cannot
be recorded (a library may refuse) is launched as it is from then on.
"""

import contextlib
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterable
from functools import cached_property

from ...errors import DeviceError
from ..cpu.call import NativeFunction
from .device import Device
from .driver import Driver

_KEPT = 16  # recordings of one program
_SEEN = 0  # in place of a recording: asked for once
_THREAD_LOCAL = 1  # other threads may go on while this one records


class Graphs:
    """Recordings of one program, by the addresses that they are for.

    Recording is on a stream of its own, so that other threads may go on with the
    device's meanwhile.

    Parameters
    ----------
    device : Device
    function : NativeFunction
        Launches everything; returns an error word. Its last two arguments are a stream
        and a context.
    recorder : callable, optional
        Makes the function that is recorded, if that is another one.
    """

    def __init__(
        self,
        device: Device,
        function: NativeFunction,
        recorder: Callable[[], NativeFunction] | None = None,
    ) -> None:
        self._device, self._function = device, function
        self._make_recorder = recorder
        self._known: OrderedDict[tuple[int, ...], int] = OrderedDict()
        self._lock = threading.Lock()
        self._is_refused = False
        weakref.finalize(self, _forget, device.driver, self._known.values())

    def run(self, addresses: tuple[int, ...]) -> int:
        """Run the program at some addresses; return an error word."""
        device = self._device
        with self._lock:
            found = self._known.get(addresses)
            if self._is_refused:
                return self._launch(addresses, device.stream)
            if found is None:
                self._remember(addresses, _SEEN)
                return self._launch(addresses, device.stream)
            if found == _SEEN:
                recording = self._record(addresses)
                if recording is None:
                    word = self._launch(addresses, device.stream)
                    self._is_refused = not word
                    return word
                found = recording
            self._remember(addresses, found)
            device.enter()
            device.driver.call("cuGraphLaunch", found, device.stream)
            return 0

    @cached_property
    def _recorder(self) -> NativeFunction:
        return self._make_recorder() if self._make_recorder else self._function

    def _launch(self, addresses: tuple[int, ...], stream: int) -> int:
        return self._function.at([*addresses, stream, self._device.context]) or 0

    def _record(self, addresses: tuple[int, ...]) -> int | None:
        """Return a recording; None if something cannot be recorded."""
        device = self._device
        driver, stream = device.driver, device.recording_stream
        device.enter()
        try:
            recorder = self._recorder
        except DeviceError:  # of what it needs of the driver
            return None
        with device.recording:
            driver.call("cuStreamBeginCapture", stream, _THREAD_LOCAL)
            try:
                word = recorder.at([*addresses, stream, device.context])
            finally:
                graph = self._end(stream)
        if graph is None:
            return None
        try:
            if word:
                return None
            return driver.handle("cuGraphInstantiateWithFlags", graph, 0)
        finally:
            driver.call("cuGraphDestroy", graph)

    def _end(self, stream: int) -> int | None:
        """Return what was recorded; None if something that was asked for ended it."""
        try:
            return self._device.driver.handle_last("cuStreamEndCapture", stream)
        except DeviceError:
            return None

    def _remember(self, addresses: tuple[int, ...], recording: int) -> None:
        self._known[addresses] = recording
        self._known.move_to_end(addresses)
        if len(self._known) > _KEPT:
            _, oldest = self._known.popitem(last=False)
            _forget(self._device.driver, [oldest])


def _forget(driver: Driver, recordings: Iterable[int]) -> None:
    with contextlib.suppress(DeviceError):  # the driver may be gone by now
        for recording in recordings:
            if recording != _SEEN:
                driver.call("cuGraphExecDestroy", recording)
