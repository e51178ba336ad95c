"""One CUDA device: its context, its stream, its memory, what is loaded on it.

Kernels are asked for in order and run later, on one stream, which waits for what other
libraries ask for on the default stream and is waited for by it: an array may be handed
to PyTorch or CuPy without more ado. Copies from and to the host run beside them (see
`transfers`). Errors of kernels are seen when the host waits.
"""

import ctypes
import threading
import weakref
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cache, cached_property
from typing import TYPE_CHECKING

import numpy as np

from ... import config
from ...codegen.triton.build import Built
from ...codegen.triton.code import TritonCode, Tuning
from ...codegen.triton.store import Wanted, build_together, stored_build
from ...disk import configured
from ...errors import ArgumentError, DeviceError, NoDeviceError
from .cublaslt_library import CublasLt, product_addresses
from .driver import Driver, free_host, system_driver
from .libraries import Libraries, system_addresses
from .memory import Allocation, Pool
from .order import NO_TIMING, Arrivals, Marks
from .transfers import LARGE, Transfers

if TYPE_CHECKING:
    from .executable import CudaExecutable

Builder = Callable[[TritonCode, str, Collection[str]], Built]

# Attributes of devices and functions, by the numbers of the driver API.
_MAJOR, _MINOR, _PROCESSORS, _SHARED = 75, 76, 16, 97
_STATIC_SHARED, _DYNAMIC_SHARED = 1, 8
_PLAIN_SHARED = 48 << 10  # bytes; more must be asked for
_NON_BLOCKING = 1  # of a stream
_PORTABLE_MAPPED = 3  # host memory that every context, and the device, sees


class Device:
    """A CUDA device that programs run on.

    Parameters
    ----------
    ordinal : int
    driver : Driver, optional
        That of this machine, if none is given.
    builder : callable, optional
        ``(code, arch, aligned pointers)`` to the compiled kernel, in place of Triton.
    libraries : mapping of str to int, optional
        Addresses of the functions of `libraries.signatures`, in place of those of this
        machine, which only its own driver can have.

    Attributes
    ----------
    name : str
        ``cuda:0``, ...
    number : int
        The driver's.
    model : str
    arch : str
        ``sm_90``, ...
    processors : int
        Multiprocessors.
    pool : Pool
        Its memory.
    recording : threading.Lock
        For whoever records on `recording_stream`.
    marks : Marks
        Places in the work of its kernels' stream.
    peers : set of int
        Numbers of the devices that were let see its memory.

    Raises
    ------
    NoDeviceError
        If there is no such device.
    """

    def __init__(
        self,
        ordinal: int = 0,
        driver: Driver | None = None,
        builder: Builder | None = None,
        libraries: Mapping[str, int] | None = None,
    ) -> None:
        self._library_addresses = libraries
        self._has_system_driver = driver is None
        self.driver = driver = driver or system_driver()
        count = driver.integer("cuDeviceGetCount")
        if ordinal >= count:
            raise NoDeviceError(
                f"there is no device cuda:{ordinal}",
                hint=f"one of {', '.join(f'cuda:{k}' for k in range(count))}",
            )
        self.ordinal, self.name = ordinal, f"cuda:{ordinal}"
        number = self.number = driver.integer("cuDeviceGet", ordinal)
        self.context = driver.handle("cuDevicePrimaryCtxRetain", number)
        driver.call("cuCtxSetCurrent", self.context)
        self.stream = driver.handle("cuStreamCreate", 0)
        text = ctypes.create_string_buffer(256)
        driver.call("cuDeviceGetName", text, 256, number)
        self.model = text.value.decode()
        self.arch = f"sm_{self._attribute(_MAJOR)}{self._attribute(_MINOR)}"
        self.processors = self._attribute(_PROCESSORS)
        self.marks = Marks(driver, self.stream)
        self.arrivals = Arrivals(driver, self.context, self.stream)
        self.pool = Pool(
            driver, number, self.context, self.stream, self.marks, self.arrivals
        )
        self.transfers = Transfers(driver, self.pool, self.marks, self.arrivals)
        self.builder = builder
        self.peers: set[int] = set()
        self.recording = threading.Lock()
        self._functions: dict[tuple[object, ...], tuple[int, Built]] = {}
        # The marks of the first and the last run, in order of first runs.
        self._unchecked: dict[CudaExecutable, tuple[int, int]] = {}

    def __repr__(self) -> str:
        return f"<device {self.name}: {self.model}, {self.arch}>"

    def __str__(self) -> str:
        return self.name

    def __eq__(self, other: object) -> bool:
        """A device equals itself and its name."""
        return self is other or (isinstance(other, str) and other == self.name)

    def __hash__(self) -> int:
        return hash(self.name)

    def _attribute(self, which: int) -> int:
        return self.driver.integer("cuDeviceGetAttribute", which, self.number)

    # Memory

    def upload(self, array: np.ndarray, label: str = "array") -> Allocation:
        """Return a copy of a C-contiguous array's bytes on the device.

        The copy of a large array may still be on its way; what is asked of the device
        by `run_at` and `read` waits for it.
        """
        self.enter()
        if array.nbytes >= LARGE:
            return self.transfers.send(array, label)
        allocation = self.pool.allocate(array.nbytes, label)
        self.write(allocation.address, array)
        return allocation

    def write(self, address: int, array: np.ndarray) -> None:
        """Copy a C-contiguous array to the device, between its kernels."""
        if array.nbytes:
            self.driver.call(
                "cuMemcpyHtoDAsync",
                address,
                array.ctypes.data,
                array.nbytes,
                self.stream,
            )

    def read(self, address: int, out: np.ndarray, mark: int | None = None) -> None:
        """Fill a C-contiguous array from the device; checks nothing.

        Parameters
        ----------
        address : int
        out : numpy.ndarray
        mark : int, optional
            What to wait for; for all that was asked of the device, if it is None.
        """
        self.enter()
        if mark is not None and out.nbytes:
            self.transfers.fetch(address, out, mark)
            return
        self.settle((address,))
        if out.nbytes:
            self.driver.call(
                "cuMemcpyDtoHAsync", out.ctypes.data, address, out.nbytes, self.stream
            )
        self.driver.call("cuStreamSynchronize", self.stream)

    def host_words(self, count: int) -> "HostWords":
        """Return int64 words of the host that the device can write, all zero."""
        return HostWords(self, count)

    # Order

    @cached_property
    def recording_stream(self) -> int:
        """A stream that nothing waits for, to record launches on, under `recording`."""
        return self.new_recording_stream()

    def new_recording_stream(self) -> int:
        """Return another one."""
        self.enter()
        return self.driver.handle("cuStreamCreate", _NON_BLOCKING)

    def enter(self) -> None:
        """Make this the device that the thread's calls of the driver are about."""
        self.driver.call("cuCtxSetCurrent", self.context)

    def settle(self, addresses: Iterable[int]) -> None:
        """Have kernels wait for copies that are on their way to these addresses."""
        if self.arrivals.pending:
            self.arrivals.settle(addresses)

    def let_wait(self, stream: int) -> None:
        """Have another library's stream wait for what was asked of the device."""
        self.enter()
        event = self.driver.handle("cuEventCreate", NO_TIMING)
        self.driver.call("cuEventRecord", event, self.stream)
        self.driver.call("cuStreamWaitEvent", stream, event, 0)
        self.driver.call("cuEventDestroy", event)

    def watch(self, executable: "CudaExecutable", mark: int) -> None:
        """Have `check` ask an executable whether its kernels failed, after a mark."""
        first, _ = self._unchecked.get(executable, (mark, mark))
        self._unchecked[executable] = first, mark

    def synchronize(self) -> None:
        """Wait until the device is done.

        Raises
        ------
        IndexRangeError
            If an index in a kernel was out of range: that of the first run.
        DeviceError
            If the device failed.
        """
        self.enter()
        self.arrivals.settle_all()
        self.driver.call("cuStreamSynchronize", self.stream)
        self.check()

    def check(self, mark: int | None = None) -> None:
        """Raise what kernels up to a mark, all by default, have found.

        They are done; see `synchronize`.
        """
        for executable, (first, last) in list(self._unchecked.items()):
            if mark is None or last <= mark:
                self._unchecked.pop(executable, None)
            if mark is None or first <= mark:
                executable.check()

    # Code

    @cached_property
    def libraries(self) -> Libraries | None:
        """The libraries of linear algebra; None where they are not, or do not start."""
        addresses = self._library_addresses
        if addresses is None and self._has_system_driver:
            addresses = system_addresses()
        if addresses is None:
            return None
        self.enter()
        try:
            return Libraries(addresses)
        except DeviceError:  # made for another driver
            return None

    @cached_property
    def products(self) -> CublasLt | None:
        """The library of products; None where it is not, or does not start."""
        addresses = product_addresses() if self._has_system_driver else None
        if addresses is None:
            return None
        self.enter()
        try:
            return CublasLt(addresses)
        except DeviceError:  # made for another driver
            return None

    def function(
        self, code: TritonCode, odd: Collection[str] = ()
    ) -> tuple[int, Built]:
        """Return the driver's handle of a kernel, built and loaded once.

        Parameters
        ----------
        code : TritonCode
        odd : collection of str
            Buffers whose addresses may not be multiples of 16 bytes.

        Raises
        ------
        DeviceError
            If it needs more shared memory than the device has.
        """
        aligned = aligned_pointers(code, odd)
        key = code.source, code.sizes, aligned
        found = self._functions.get(key)
        if found is None:
            found = self._functions[key] = self._load(self._built(code, aligned))
        return found

    @property
    def tuning(self) -> Tuning:
        """What the form of kernels depends on, here and with the switches there are."""
        return Tuning(
            processors=self.processors, arch=self.arch, tf32=config.get("tf32")
        )

    def prepare(self, wanted: Sequence[Wanted]) -> None:
        """Build kernels that will be asked for, several at a time."""
        if self.builder is None:
            build_together(wanted, self.arch, configured("kernels"))

    def _built(self, code: TritonCode, aligned: tuple[str, ...]) -> Built:
        if self.builder is not None:
            return self.builder(code, self.arch, aligned)
        return stored_build(code, self.arch, aligned, configured("kernels"))

    def _load(self, built: Built) -> tuple[int, Built]:
        self.enter()
        driver, shared = self.driver, built.facts.shared
        limit = self._attribute(_SHARED)
        if shared > limit:
            raise DeviceError(
                f"kernel {built.name} needs {shared} bytes of shared memory for each "
                f"program; {self.model} has {limit}"
            )
        module = driver.handle("cuModuleLoadData", built.cubin)
        function = driver.handle("cuModuleGetFunction", module, built.name.encode())
        if shared > _PLAIN_SHARED:
            static = driver.integer("cuFuncGetAttribute", _STATIC_SHARED, function)
            driver.call("cuFuncSetAttribute", function, _DYNAMIC_SHARED, limit - static)
        return function, built


def aligned_pointers(code: TritonCode, odd: Collection[str]) -> tuple[str, ...]:
    """Return the pointer arguments of a kernel whose buffers are not among `odd`."""
    return tuple(f"{b.name}_ptr" for b in code.buffers if b.name not in odd)


class HostWords:
    """Words of the host's memory that kernels of a device can write.

    Parameters
    ----------
    device : Device
    count : int

    Attributes
    ----------
    address : int
        The same for host and device.
    values : numpy.ndarray
        The words, as int64.
    """

    def __init__(self, device: Device, count: int) -> None:
        size = max(8 * count, 8)
        self.address = device.driver.handle("cuMemHostAlloc", size, _PORTABLE_MAPPED)
        memory = (ctypes.c_int64 * count).from_address(self.address)
        self.values = np.ctypeslib.as_array(memory)
        self.values[...] = 0
        weakref.finalize(self, free_host, device.driver, self.address)


@cache
def device_count() -> int:
    """Return the number of CUDA devices of this machine; 0 without a driver."""
    try:
        return system_driver().integer("cuDeviceGetCount")
    except NoDeviceError:
        return 0


@cache
def cuda_device(ordinal: int) -> Device:
    """Return a device of this machine, the same object at each call.

    Raises
    ------
    NoDeviceError
        If there is none, or no driver.
    """
    return Device(ordinal)


DeviceLike = str | Device | None
CPU = "cpu"


def find_device(wanted: DeviceLike) -> Device | None:
    """Return the device that a name means; None for the CPU.

    Raises
    ------
    ArgumentError
        If it is no name of a device.
    NoDeviceError
        If there is no such device here.
    """
    if wanted is None or isinstance(wanted, Device):
        return wanted
    if wanted == CPU:
        return None
    kind, _, number = wanted.partition(":")
    if kind != "cuda" or not (number.isdecimal() or wanted == "cuda"):
        raise ArgumentError(
            f"{wanted!r} is no device",
            hint="'cpu', 'cuda', or one of several: 'cuda:1'",
        )
    return cuda_device(int(number or 0))
