"""Branches and loops inside of recordings: conditional nodes of CUDA graphs.

While a program is recorded, native code calls back here where a region begins or ends
that a byte of the device decides about. Such a region is a graph of its own, the body
of a node that runs it once, not at all, or again and again; a small kernel sets the
node's condition from the byte. So the host takes no part when it is replayed.

Needs a driver of CUDA 12.4 or newer. A loop is a node whose condition is true to begin
with: its body tests, sets the condition, and does the rest if the test held.

Source: the CUDA driver API, "Conditional Nodes"; the driver links
``cudaGraphSetConditional`` into PTX that calls it.
"""

import contextlib
import ctypes
from typing import NamedTuple

from ...codegen.llvm.launch import Region
from ...errors import DeviceError
from .device import Device

_CONDITIONAL = 13  # CUgraphNodeType
_IF, _WHILE = 0, 1  # CUgraphConditionalNodeType
_ASSIGN_DEFAULT = 1  # at each launch of the graph
_SET_DEPENDENCIES = 1
_THREAD_LOCAL = 1
_SETTER = "set_condition"
_DEPTH = 4  # regions in regions, for which there are streams from the start

_PTX = f"""
.version 7.0
.target sm_80
.address_size 64

.extern .func cudaGraphSetConditional(
    .param .b64 condition,
    .param .b32 value
);

.visible .entry {_SETTER}(
    .param .u64 condition,
    .param .u64 predicate,
    .param .u32 inverted
)
{{
    .reg .pred %holds;
    .reg .b16 %byte;
    .reg .b32 %value, %flip;
    .reg .b64 %handle, %at;
    ld.param.u64 %handle, [condition];
    ld.param.u64 %at, [predicate];
    ld.param.u32 %flip, [inverted];
    cvta.to.global.u64 %at, %at;
    ld.global.u8 %byte, [%at];
    setp.ne.u16 %holds, %byte, 0;
    selp.u32 %value, 1, 0, %holds;
    xor.b32 %value, %value, %flip;
    {{
        .param .b64 first;
        .param .b32 second;
        st.param.b64 [first], %handle;
        st.param.b32 [second], %value;
        call.uni cudaGraphSetConditional, (first, second);
    }}
    ret;
}}
"""


class ConditionalNode(ctypes.Structure):
    """``CUgraphNodeParams`` of a conditional node."""

    _fields_ = (
        ("kind", ctypes.c_int),
        ("reserved0", ctypes.c_int * 3),
        ("handle", ctypes.c_uint64),
        ("condition", ctypes.c_int),
        ("size", ctypes.c_uint),
        ("bodies", ctypes.POINTER(ctypes.c_void_p)),
        ("context", ctypes.c_void_p),
        ("reserved1", ctypes.c_int64 * 25),
        ("reserved2", ctypes.c_int64),
    )


class _Open(NamedTuple):
    """A region that has begun: its condition, and the streams around and inside."""

    handle: int
    outer: int
    inner: int


class Conditions:
    """Regions of one program's recordings.

    Parameters
    ----------
    device : Device

    Raises
    ------
    DeviceError
        If the driver does not take the kernel that sets conditions.

    Attributes
    ----------
    address : int
        Of what native code calls, ``ptr (i64 region, ptr stream, ptr predicate)``: the
        stream to go on with, null for a failure; valid as long as this lives.
    """

    _Prototype = ctypes.CFUNCTYPE(
        ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p
    )

    def __init__(self, device: Device) -> None:
        self._device = device
        self._open: list[_Open] = []
        # Made now, as little may be done while a stream records.
        self._setter = _loaded_setter(device)
        self._streams = [device.new_recording_stream() for _ in range(_DEPTH)]
        self._callback = self._Prototype(self._call)
        self.address = ctypes.cast(self._callback, ctypes.c_void_p).value or 0

    def _call(self, region: int, stream: int, predicate: int) -> int:
        # Whatever is raised must not leave the callback: ctypes would print it.
        try:
            return self._go_on(Region(region), stream, predicate)
        except DeviceError:
            self._close()
            return 0

    def _go_on(self, region: Region, stream: int, predicate: int) -> int:
        if region is Region.END:
            ended = self._open.pop()
            self._device.driver.handle_last("cuStreamEndCapture", ended.inner)
            return ended.outer
        if region is Region.AGAIN:
            self._set(self._open[-1].handle, predicate, False, stream)
            return stream
        return self._begin(region, stream, predicate)

    def _begin(self, region: Region, stream: int, predicate: int) -> int:
        """Add a node to what a stream records, and record its body."""
        driver, context = self._device.driver, self._device.context
        is_loop = region is Region.LOOP
        graph, *_ = self._recorded(stream)
        handle = ctypes.c_uint64()
        driver.call(
            "cuGraphConditionalHandleCreate",
            ctypes.byref(handle),
            graph,
            context,
            int(is_loop),
            _ASSIGN_DEFAULT,
        )
        if not is_loop:
            self._set(handle.value, predicate, region is Region.UNLESS, stream)
        graph, before, count = self._recorded(stream)
        node = ConditionalNode(kind=_CONDITIONAL, handle=handle.value, size=1)
        node.condition, node.context = _WHILE if is_loop else _IF, context
        made = ctypes.c_void_p()
        places = ctypes.byref(made), graph, before, count
        driver.call("cuGraphAddNode", *places, ctypes.byref(node))
        driver.call(
            "cuStreamUpdateCaptureDependencies",
            stream,
            ctypes.byref(made),
            1,
            _SET_DEPENDENCIES,
        )
        inner = self._stream(len(self._open))
        body = node.bodies[0]
        driver.call(
            "cuStreamBeginCaptureToGraph", inner, body, None, None, 0, _THREAD_LOCAL
        )
        self._open.append(_Open(handle.value, stream, inner))
        return inner

    def _recorded(self, stream: int) -> tuple[int | None, ctypes.c_void_p, int]:
        """Return the graph that a stream records, and what comes next depends on."""
        state, number = ctypes.c_int(), ctypes.c_uint64()
        graph, before = ctypes.c_void_p(), ctypes.c_void_p()
        count = ctypes.c_size_t()
        places = (ctypes.byref(x) for x in (state, number, graph, before, count))
        self._device.driver.call("cuStreamGetCaptureInfo", stream, *places)
        return graph.value, before, count.value

    def _set(self, handle: int, predicate: int, inverted: bool, stream: int) -> None:
        """Record the kernel that sets a condition."""
        values = (ctypes.c_uint64 * 3)(handle, predicate, int(inverted))
        start = ctypes.addressof(values)
        arguments = (ctypes.c_void_p * 3)(*(start + 8 * k for k in range(3)))
        sizes = 1, 1, 1, 1, 1, 1, 0
        self._device.driver.call(
            "cuLaunchKernel", self._setter, *sizes, stream, arguments, None
        )

    def _stream(self, depth: int) -> int:
        while len(self._streams) <= depth:
            self._streams.append(self._device.new_recording_stream())
        return self._streams[depth]

    def _close(self) -> None:
        """End what has begun, innermost first."""
        while self._open:
            with contextlib.suppress(DeviceError):
                inner = self._open.pop().inner
                self._device.driver.handle_last("cuStreamEndCapture", inner)


def _loaded_setter(device: Device) -> int:
    """Return the driver's handle of the kernel that sets a condition."""
    device.enter()
    module = device.driver.handle("cuModuleLoadData", _PTX.encode())
    return device.driver.handle("cuModuleGetFunction", module, _SETTER.encode())
