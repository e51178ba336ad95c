"""Memory of a device: allocated in the order of its stream, and used again.

All kernels of a device run on one stream, so that memory may be handed to a new owner
as soon as the old one lets go of it, though the device still works on it: what the new
owner does comes later on the same stream. Copies to the device have another one, which
waits for the mark up to which a block may have been used, and takes the block that was
let go of first. Freed blocks are kept by size, at no cost to the driver; when the
device has no more room they are given back, and the request is tried again. Nothing is
allocated before it is asked for.
"""

import ctypes
from collections import defaultdict, deque
from collections.abc import Iterable

from ...errors import DeviceError, DeviceMemoryError
from .driver import Driver
from .order import Arrivals, Marks

OUT_OF_MEMORY = 2  # the driver's CUresult
_RELEASE_THRESHOLD = 4  # an attribute of the driver's pools: bytes kept when idle
_ROUND = 512  # bytes; small blocks are of multiples of it, large ones of 1/8 of a size
_SHOWN = 8  # how many live arrays an error names


class Allocation:
    """A block of a device's memory, which goes back to its pool with this object.

    Parameters
    ----------
    pool : Pool
    address : int
        On the device; 0 for no bytes.
    size : int
        Bytes asked for.
    label : str
        What it is, for the error that says what was live.

    Attributes
    ----------
    mark : int, optional
        After which all that was written to it is there: 0 after a copy from elsewhere,
        None if that is not known.
    """

    __slots__ = ("address", "label", "mark", "pool", "size")

    def __init__(self, pool: "Pool", address: int, size: int, label: str) -> None:
        self.pool, self.address, self.size, self.label = pool, address, size, label
        self.mark: int | None = None

    def __del__(self) -> None:
        if self.address:
            self.pool.release(self.address)


class Pool:
    """The memory of one device. Safe to use from several threads.

    Parameters
    ----------
    driver : Driver
    device : int
        The driver's number of the device.
    context, stream : int
        Its context, and the stream that its kernels run on.
    marks : Marks
    arrivals : Arrivals

    Attributes
    ----------
    live_bytes, peak_bytes : int
        Of what is in use now, and at most so far.
    kept_bytes : int
        Of free blocks that are kept.
    handle : int
        The driver's pool.
    """

    def __init__(
        self,
        driver: Driver,
        device: int,
        context: int,
        stream: int,
        marks: Marks,
        arrivals: Arrivals,
    ) -> None:
        self._driver, self._context, self._stream = driver, context, stream
        self._marks, self._arrivals = marks, arrivals
        # Addresses, and the last mark when each was let go of.
        self._free: defaultdict[int, deque[tuple[int, int]]] = defaultdict(deque)
        self._live: dict[int, tuple[int, str, int]] = {}
        self.live_bytes = self.peak_bytes = self.kept_bytes = 0
        self.handle = driver.handle("cuDeviceGetDefaultMemPool", device)
        keep = ctypes.c_uint64(2**64 - 1)
        driver.call(
            "cuMemPoolSetAttribute", self.handle, _RELEASE_THRESHOLD, ctypes.byref(keep)
        )

    def allocate(self, size: int, label: str = "array") -> Allocation:
        """Return a block of `size` bytes for kernels, aligned to 256.

        Raises
        ------
        DeviceMemoryError
            If the device has no room, naming what is live.
        """
        if not size:
            return Allocation(self, 0, 0, label)
        block = _block_size(size)
        try:
            address, _ = self._free[block].pop()
            self.kept_bytes -= block
            if self._arrivals.pending:  # of an owner that never used it
                self._arrivals.settle((address,))
        except IndexError:
            address = self._new(block, size, label, self._stream)
        return self._given(address, size, label, block)

    def allocate_for(self, stream: int, size: int, label: str) -> Allocation:
        """Return a block for another stream, which waits until nothing uses it.

        Raises
        ------
        DeviceMemoryError
            As `allocate`.
        """
        block = _block_size(size)
        try:
            address, mark = self._free[block].popleft()
            self.kept_bytes -= block
            self._marks.wait(stream, mark)
            self._arrivals.wait(stream, address)
        except IndexError:
            address = self._new(block, size, label, stream)
        return self._given(address, size, label, block)

    def _given(self, address: int, size: int, label: str, block: int) -> Allocation:
        self._live[address] = size, label, block
        self.live_bytes += block
        self.peak_bytes = max(self.peak_bytes, self.live_bytes)
        return Allocation(self, address, size, label)

    def release(self, address: int) -> None:
        """Take a block back; what was asked of the device before may still use it."""
        *_, block = self._live.pop(address)
        self.live_bytes -= block
        self.kept_bytes += block
        self._free[block].append((address, self._marks.last))

    def trim(self) -> None:
        """Give free blocks back to the driver, and the driver's to the device."""
        self._arrivals.settle_all()
        for block, kept in list(self._free.items()):
            while kept:
                address, _ = kept.pop()
                self._driver.call("cuMemFreeAsync", address, self._stream)
                self.kept_bytes -= block
        self._driver.call("cuStreamSynchronize", self._stream)
        self._driver.call("cuMemPoolTrimTo", self.handle, 0)

    def live(self) -> Iterable[tuple[int, str]]:
        """Return bytes and label of each array in use, largest first."""
        return sorted(((n, name) for n, name, _ in self._live.values()), reverse=True)

    def _new(self, block: int, size: int, label: str, stream: int) -> int:
        self._driver.call("cuCtxSetCurrent", self._context)
        try:
            return self._ask(block, stream)
        except DeviceError as error:
            if error.code != OUT_OF_MEMORY:
                raise
        self.trim()
        try:
            return self._ask(block, stream)
        except DeviceError as error:
            if error.code != OUT_OF_MEMORY:
                raise
            raise self._no_room(size, label) from error

    def _ask(self, block: int, stream: int) -> int:
        address = ctypes.c_uint64()
        self._driver.call("cuMemAllocAsync", ctypes.byref(address), block, stream)
        return address.value

    def _no_room(self, size: int, label: str) -> DeviceMemoryError:
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        self._driver.call("cuMemGetInfo", ctypes.byref(free), ctypes.byref(total))
        live = list(self.live())
        rows = [f"\n  {n:,} bytes: {name}" for n, name in live[:_SHOWN]]
        more = len(live) - len(rows)
        rows += [f"\n  and {more} more"] if more > 0 else []
        return DeviceMemoryError(
            f"the device has no room for {size:,} bytes ({label}): {free.value:,} of "
            f"{total.value:,} are free, {self.live_bytes:,} in use here:{''.join(rows)}"
        )


def _block_size(size: int) -> int:
    """Return what is allocated for a size: few sizes, and at most 1/8 more."""
    step = max(_ROUND, 1 << max(size.bit_length() - 4, 0))
    return -(-size // step) * step
