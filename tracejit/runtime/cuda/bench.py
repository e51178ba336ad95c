"""A place to run the choices for one site: scratch arrays, results, times.

Arrays are as large as the site's buffers, and hold numbers of no meaning: floats around
zero, integers 0, so that they may be indices. Results are filled with garbage before
each run that is looked at.
"""

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from ...codegen.llvm.launch import SCRATCH, Call, Launch, Launches
from ...codegen.triton.choice import Choice, Site
from ...codegen.triton.emit import emit_site
from ...errors import DeviceError, InternalError
from ...ir import dtypes as dt
from ...kernels.kernel import Buffer, extent_of
from .cublaslt import call_at, library_product
from .device import Device
from .loading import bytes_of, loaded
from .memory import Allocation

_PATTERN = 1 << 18  # elements of random numbers, repeated over larger arrays
_GARBAGE = 0xA5
_PIECES, _PIECE = 64, 1 << 16  # of large results that are compared, and their elements
_TIMED = 0  # an event that keeps its time
_THREAD_LOCAL = 1  # recording leaves other threads alone
# How far results may differ, as a share of their size: sums run in another order.
_TOLERANCES: Mapping[np.dtype, float] = {
    dt.NAME_TO_DTYPE["f16"]: 1e-2,
    dt.BFLOAT16: 5e-2,
    dt.FLOAT8_E4M3FN: 0.15,
    dt.FLOAT8_E5M2: 0.3,
    dt.FLOAT32: 5e-4,
    dt.FLOAT64: 1e-11,
}
_TF32_TOLERANCE = 1e-2


@dataclass(frozen=True)
class Trial:
    """One choice, built and loaded.

    Parameters
    ----------
    choice : Choice
    launches : Launches
    """

    choice: Choice
    launches: Launches


class Bench:
    """Runs the choices for one site.

    Parameters
    ----------
    device : Device
    site : Site

    Raises
    ------
    DeviceMemoryError
        If there is no room for scratch arrays.
    """

    def __init__(self, device: Device, site: Site) -> None:
        self.device, self.site = device, site
        device.enter()
        kernel, random = site.piece.kernel, np.random.default_rng(0)
        self._own = {
            b.name: self._array(b, pattern_of(b.dtype, random)) for b in kernel.inputs
        }
        garbage = np.full(_PATTERN, _GARBAGE, np.uint8)
        self._own |= {b.name: self._array(b, garbage) for b in kernel.outputs}
        self._error = self._filled(16, np.zeros(16, np.uint8), "error word")
        self._events = [device.driver.handle("cuEventCreate", _TIMED) for _ in "ab"]
        self._recordings: list[int] = []
        self._more: list[Allocation] = []
        self._known_places: dict[Choice, dict[str, int]] = {}

    # Scratch arrays

    def _array(self, buffer: Buffer, pattern: np.ndarray) -> Allocation:
        return self._filled(bytes_of(buffer), pattern, f"scratch for {buffer.name}")

    def _filled(self, size: int, pattern: np.ndarray, label: str) -> Allocation:
        allocation = self.device.pool.allocate(size, label)
        self._fill(allocation, pattern)
        return allocation

    def _fill(self, allocation: Allocation, pattern: np.ndarray) -> None:
        """Repeat a pattern of bytes over an allocation."""
        size, start = allocation.size, allocation.address
        data = pattern.view(np.uint8).reshape(-1)[:size]
        self.device.write(start, data)
        done = data.nbytes
        while 0 < done < size:
            more = min(done, size - done)
            self.device.driver.call(
                "cuMemcpyDtoDAsync", start + done, start, more, self.device.stream
            )
            done += more
        self.device.driver.call("cuStreamSynchronize", self.device.stream)

    def _places(self, trial: Trial) -> dict[str, int]:
        """Return the address of the first element of each buffer."""
        if trial.choice not in self._known_places:
            self._known_places[trial.choice] = self._allocated(trial.launches)
        return self._known_places[trial.choice]

    def _allocated(self, launches: Launches) -> dict[str, int]:
        kernel = self.site.piece.kernel
        places = {}
        for b in (*kernel.inputs, *kernel.outputs):
            low, _ = extent_of(b.shape, b.strides)
            places[b.name] = self._own[b.name].address - low * b.dtype.itemsize
        sizes = {**launches.workspace}
        sizes[SCRATCH] = max((x.scratch for x in launches.kernels), default=0)
        for name, size in sizes.items():
            self._more.append(self.device.pool.allocate(size, "scratch of a kernel"))
            places[name] = self._more[-1].address
        return places

    # Running

    def trial(self, choice: Choice) -> Trial | None:
        """Return a choice, loaded; None if it cannot be built, or does not fit."""
        try:
            launches = library_product(self.device, self.site, choice)
            if launches is None:
                source = emit_site(self.site, choice)
                launches = loaded(self.device, source, self.site.odd)
            return Trial(choice, launches)
        except (InternalError, DeviceError):
            return None

    def launch(self, trial: Trial, stream: int) -> None:
        """Ask for one run.

        Raises
        ------
        DeviceError
            If the device, or a library, refuses it.
        """
        places = self._places(trial)
        for one in trial.launches.launches:
            if isinstance(one, Call):
                call_at(one, places, stream)
            else:
                self._launch(one, places, stream)

    def _launch(self, one: Launch, places: Mapping[str, int], stream: int) -> None:
        values = [places[name] for name in one.arguments]
        values += [self._error.address] if one.can_fail else []
        values += [places[SCRATCH] if one.scratch else 0, 0]
        slots = (ctypes.c_uint64 * len(values))(*values)
        start = ctypes.addressof(slots)
        arguments = (ctypes.c_void_p * len(values))(
            *(start + 8 * k for k in range(len(values)))
        )
        sizes = (one.grid, 1, 1, one.threads, 1, 1, one.shared)
        self.device.driver.call(
            "cuLaunchKernel", one.function, *sizes, stream, arguments, None
        )

    def results(self, trial: Trial) -> list[np.ndarray]:
        """Return what a choice computes, one row of numbers for each result.

        Of a large result these are pieces all over it, its ends among them.
        """
        outputs = self.site.piece.kernel.outputs
        for b in outputs:
            self._fill(self._own[b.name], np.full(_PATTERN, _GARBAGE, np.uint8))
        self.launch(trial, self.device.stream)
        return [
            np.concatenate([self._read(*piece) for piece in self._pieces(b)])
            for b in outputs
        ]

    def _pieces(self, buffer: Buffer) -> list[tuple[int, int, np.dtype]]:
        """Return where in a result is looked: address, elements, dtype."""
        allocation, size = self._own[buffer.name], buffer.dtype.itemsize
        start, count = allocation.address, allocation.size // size
        if count <= _PIECES * _PIECE:
            return [(start, count, buffer.dtype)]
        places = np.linspace(0, count - _PIECE, _PIECES).astype(np.int64)
        return [(start + size * int(k), _PIECE, buffer.dtype) for k in places]

    def _read(self, address: int, count: int, dtype: np.dtype) -> np.ndarray:
        out = np.empty(count, dtype)
        self.device.read(address, out)
        return out

    def agrees(self, trial: Trial, expected: Sequence[np.ndarray]) -> bool:
        """Tell whether a choice runs, with the expected results but for rounding."""
        try:
            pairs = zip(expected, self.results(trial), strict=True)
        except DeviceError:  # more threads or registers than there are
            return False
        tf32 = self.site.tuning.tf32
        return all(are_close(x, y, tf32) for x, y in pairs)

    # Times

    def recorded(self, trial: Trial, count: int) -> int | None:
        """Return a recording of several runs; None if they cannot be recorded."""
        driver, stream = self.device.driver, self.device.recording_stream
        try:
            with self.device.recording:
                driver.call("cuStreamBeginCapture", stream, _THREAD_LOCAL)
                try:
                    for _ in range(count):
                        self.launch(trial, stream)
                finally:
                    graph = driver.handle_last("cuStreamEndCapture", stream)
        except DeviceError:
            return None
        try:
            recording = driver.handle("cuGraphInstantiateWithFlags", graph, 0)
        except DeviceError:
            return None
        finally:
            driver.call("cuGraphDestroy", graph)
        self._recordings.append(recording)
        return recording

    def time(self, recording: int) -> float:
        """Return the microseconds of a recording."""
        driver, stream = self.device.driver, self.device.stream
        first, last = self._events
        driver.call("cuEventRecord", first, stream)
        driver.call("cuGraphLaunch", recording, stream)
        driver.call("cuEventRecord", last, stream)
        driver.call("cuEventSynchronize", last)
        out = ctypes.c_float()
        driver.call("cuEventElapsedTime", ctypes.byref(out), first, last)
        return 1e3 * out.value

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Let go of recordings and events."""
        for recording in self._recordings:
            self.device.driver.call("cuGraphExecDestroy", recording)
        for event in self._events:
            self.device.driver.call("cuEventDestroy", event)


def pattern_of(dtype: np.dtype, random: np.random.Generator) -> np.ndarray:
    """Return numbers to fill arrays of a dtype with."""
    if dtype.kind == "b":
        return random.random(_PATTERN) < 0.5
    if dtype.kind in "iu":
        return np.zeros(_PATTERN, dtype)
    return random.standard_normal(_PATTERN).astype(dtype)


def are_close(expected: np.ndarray, found: np.ndarray, tf32: bool = False) -> bool:
    """Tell whether numbers are the same but for the order of sums.

    Examples
    --------
    >>> are_close(np.ones(3), np.ones(3) + 1e-13), are_close(np.ones(3), np.zeros(3))
    (True, False)
    """
    if expected.dtype.kind in "biu":
        return bool(np.array_equal(expected, found))
    share = _TOLERANCES[expected.dtype]
    if tf32 and expected.dtype == dt.FLOAT32:
        share = _TF32_TOLERANCE
    x, y = expected.astype(np.float64), found.astype(np.float64)
    finite = np.isfinite(x)
    if not np.array_equal(x[~finite], y[~finite], equal_nan=True):
        return False
    x, y = x[finite], y[finite]
    size = np.sqrt(np.mean(x * x)) if x.size else 0.0
    return bool((np.abs(x - y) <= share * (np.abs(x) + size)).all())
