"""A CUDA driver that is none: the host's memory, and Triton's interpreter.

It has an address for each function that the runtime calls, native code included, so
that all of the runtime but the driver itself runs on any machine. Every call is
recorded; a copy or kernel that touches memory which is not allocated is an error 700,
as it is on a device. Work is done when it is asked for, but what the streams, events
and waits do not order is a fault (`happens_before`), and the host sees what is copied
to page-locked memory only once it has waited for that.
"""

import ctypes
import threading
from bisect import bisect_right

import numpy as np

from tracejit.codegen.triton.build import Built, Facts
from tracejit.kernels.kernel import extent_of
from tracejit.runtime.cuda.conditions import ConditionalNode
from tracejit.runtime.cuda.device import Device
from tracejit.runtime.cuda.driver import CONDITIONS, SIGNATURES, Driver

from .happens_before import HOST, HappensBefore

OUT_OF_MEMORY, ILLEGAL_ADDRESS = 2, 700
NAMES = {2: b"CUDA_ERROR_OUT_OF_MEMORY", 700: b"CUDA_ERROR_ILLEGAL_ADDRESS"}
FIRST_ADDRESS = 1 << 45  # where nothing is mapped
ATTRIBUTES = {75: 9, 76: 0, 16: 132, 97: 232448}


SETTER, SETTER_NAME = 1 << 40, "set_condition"


class Failure(Exception):
    def __init__(self, code):
        super().__init__(code)
        self.code = code


class FakeDriver:
    """The functions of a driver, and what was asked of them.

    Attributes
    ----------
    calls : list of (str, tuple)
        Function and arguments, of all but errors' names.
    launches : list of TritonCode
    capacity : int
        Bytes of the device.
    cost : callable
        From a TritonCode to the milliseconds that a run of it takes.

    Parameters
    ----------
    interpreter : Interpreter
    capacity, count : int
        Bytes of a device, and how many there are.
    visible : bool
        Whether the host can touch the device's memory. It cannot touch that of a
        device, and a process that tries to touch the fake's dies in the same way.
    """

    def __init__(self, interpreter, capacity=1 << 30, count=1, visible=False):
        self.visible, self.next_address = visible, FIRST_ADDRESS
        self.interpreter, self.capacity, self.count = interpreter, capacity, count
        self.calls, self.launches, self.codes = [], [], []
        self.blocks = {}  # address → memory
        self.starts = []
        self.used = 0
        self.time, self.times, self.cost = 0.0, {}, lambda code: 1.0
        self.scratch = 0  # bytes of memory that each program of a kernel needs
        self.failing = {}  # function → code, for tests of errors
        self.errors = []
        self.recording, self.graphs = {}, {}
        self.version = 13000
        self.capturing, self.bodies = {}, {}  # stream → graph; graph → work
        self.conditions, self.defaults = {}, {}  # handle → value; and to begin with
        self.contexts = {}  # and the device of each
        self.order = HappensBefore()
        self.locked, self.promised = set(), []  # page-locked blocks; copies to them
        self.lock = threading.RLock()
        self.handles = iter(range(1, 1 << 30))
        types = {**SIGNATURES, **{name: row[1] for name, row in CONDITIONS.items()}}
        self.callbacks = {
            name: ctypes.CFUNCTYPE(ctypes.c_int, *types[name])(self.entry(name))
            for name in types
        }
        self.addresses = {
            name: ctypes.cast(callback, ctypes.c_void_p).value
            for name, callback in self.callbacks.items()
        }
        self.driver = Driver(self.addresses)

    def entry(self, name):
        """Return what is called for a function of the driver."""
        does = getattr(self, name, None)

        def call(*arguments):
            if not name.startswith("cuGetError"):
                self.calls.append((name, arguments))
            try:
                if name in self.failing:
                    raise Failure(self.failing[name])
                if does is not None:
                    with self.lock:
                        does(*arguments)
                elif name.endswith(("Create", "Retain", "MemPool")):
                    self.give(arguments[0], next(self.handles))
            except Failure as failure:
                return failure.code
            except BaseException as error:  # must not leave the callback
                self.errors.append(error)
                return 999
            return 0

        return call

    def names(self):
        """Return the functions that were called, in order."""
        return [name for name, _ in self.calls]

    @staticmethod
    def give(pointer, value):
        ctypes.cast(pointer, ctypes.POINTER(ctypes.c_uint64))[0] = value

    @staticmethod
    def give_int(pointer, value):
        pointer[0] = value

    # Devices

    def cuDeviceGetCount(self, out):
        self.give_int(out, self.count)

    def cuDriverGetVersion(self, out):
        self.give_int(out, self.version)

    def cuDeviceGet(self, out, ordinal):
        self.give_int(out, ordinal)

    def cuDevicePrimaryCtxRetain(self, out, device):
        context = next(self.handles)
        self.contexts[context] = device
        self.give(out, context)

    def cuDeviceGetName(self, text, size, device):
        ctypes.memmove(text, b"Fake H200\0", 10)

    def cuDeviceGetAttribute(self, out, which, device):
        self.give_int(out, ATTRIBUTES[which])

    def cuGetErrorName(self, code, out):
        self.name = ctypes.c_char_p(NAMES.get(code, b"CUDA_ERROR_UNKNOWN"))
        out[0] = self.name

    def cuGetErrorString(self, code, out):
        self.text = ctypes.c_char_p(b"said the fake")
        out[0] = self.text

    # Order

    def touch(self, stream, address, writes, what):
        """Note that a stream reads or writes a block."""
        k = bisect_right(self.starts, address) - 1
        if k >= 0:
            self.order.touch(stream, self.starts[k], writes, what)

    def keep_promises(self):
        """Let the host see the copies that it has waited for."""
        still = []
        for stream, time, memory, data in self.promised:
            if self.order.knows(HOST, stream, time):
                memory[...] = data
            else:
                still.append((stream, time, memory, data))
        self.promised = still

    def cuEventRecord(self, event, stream):
        self.times[event] = self.time
        if stream not in self.recording:
            self.order.record(event, stream)

    def cuStreamWaitEvent(self, stream, event, flags):
        self.order.wait(stream, event)

    def cuEventSynchronize(self, event):
        self.order.wait_on_host(self.order.events.get(event, {}))
        self.keep_promises()

    def cuStreamSynchronize(self, stream):
        self.order.wait_on_host(self.order.clock(stream))
        self.keep_promises()

    # Memory

    def allocate(self, size, visible):
        """Return the address of new memory, full of garbage."""
        memory = np.full(size + 256, 0xA5, np.uint8)
        start = -memory.ctypes.data % 256
        memory = memory[start : start + size]
        address = memory.ctypes.data if visible else self.next_address
        self.next_address += size + 4096 - size % 4096
        self.blocks[address] = memory
        self.starts = sorted(self.blocks)
        return address

    def bytes_at(self, address, size):
        """Return memory that must be allocated."""
        if not size:
            return np.empty(0, np.uint8)
        k = bisect_right(self.starts, address) - 1
        start = self.starts[k] if k >= 0 else 0
        if k < 0 or address + size > start + self.blocks[start].nbytes:
            raise Failure(ILLEGAL_ADDRESS)
        return self.blocks[start][address - start : address - start + size]

    def cuMemAllocAsync(self, out, size, stream):
        if self.used + size > self.capacity:
            raise Failure(OUT_OF_MEMORY)
        self.used += size
        address = self.allocate(size, self.visible)
        self.give(out, address)
        self.order.work(stream)
        self.touch(stream, address, True, "cuMemAllocAsync")

    def cuMemFreeAsync(self, address, stream):
        self.order.work(stream)
        self.touch(stream, address, True, "cuMemFreeAsync")
        self.order.forget(address)
        self.used -= self.blocks.pop(address).nbytes
        self.starts = sorted(self.blocks)

    def cuMemGetInfo(self, free, total):
        free[0], total[0] = self.capacity - self.used, self.capacity

    def cuMemHostAlloc(self, out, size, flags):
        address = self.allocate(size, visible=True)
        self.locked.add(address)
        self.give(out, address)

    def cuMemFreeHost(self, address):
        del self.blocks[address]
        self.locked.discard(address)
        self.starts = sorted(self.blocks)

    def cuMemcpyHtoDAsync(self, to, source, size, stream):
        what = f"a copy of {size} bytes to the device"
        if self.is_locked(source):  # the host has just written it
            self.touch(HOST, source, True, "the host")
        self.order.work(stream)
        if self.is_locked(source):
            self.touch(stream, source, False, what)
        self.touch(stream, to, True, what)
        ctypes.memmove(self.bytes_at(to, size).ctypes.data, source, size)

    def cuMemcpyDtoHAsync(self, to, source, size, stream):
        what = f"a copy of {size} bytes to the host"
        self.order.work(stream)
        self.touch(stream, source, False, what)
        data = self.bytes_at(source, size)
        if not self.is_locked(to):
            ctypes.memmove(to, data.ctypes.data, size)
            return
        self.touch(stream, to, True, what)
        memory = self.bytes_at(to, size)
        memory[...] = 0xA5
        time = self.order.clock(stream)[stream]
        self.promised.append((stream, time, memory, data.copy()))

    def cuMemcpyPeerAsync(self, to, there, source, here, size, stream):
        assert self.contexts[there] != self.contexts[here]
        self.cuMemcpyDtoDAsync(to, source, size, stream)

    def cuDeviceCanAccessPeer(self, out, device, peer):
        self.give_int(out, int(device != peer))

    def is_locked(self, address):
        k = bisect_right(self.starts, address) - 1
        return (
            k >= 0
            and self.starts[k] in self.locked
            and (address < self.starts[k] + self.blocks[self.starts[k]].nbytes)
        )

    def cuMemcpyDtoDAsync(self, to, source, size, stream):
        def copy(on):
            what = f"a copy of {size} bytes"
            self.touch(on, source, False, what)
            self.touch(on, to, True, what)
            self.bytes_at(to, size)[...] = self.bytes_at(source, size).copy()

        self.ask(stream, copy)

    # Graphs

    def ask(self, stream, work):
        """Do what a stream is asked for, or record it."""
        if stream in self.recording:
            self.recording[stream].append(work)
        else:
            self.order.work(stream)
            work(stream)

    def cuStreamBeginCapture(self, stream, mode):
        handle = next(self.handles)
        self.capturing[stream] = handle
        self.graphs[handle] = self.recording[stream] = []

    def cuStreamEndCapture(self, stream, out):
        del self.recording[stream]
        self.give(out, self.capturing.pop(stream))

    def cuStreamBeginCaptureToGraph(self, stream, graph, nodes, edges, count, mode):
        assert stream not in self.recording and not count
        self.capturing[stream] = graph
        self.recording[stream] = self.bodies[graph]

    def cuStreamGetCaptureInfo(self, stream, state, number, graph, before, count):
        self.give_int(state, 1)
        self.give(graph, self.capturing[stream])
        self.after = (ctypes.c_uint64 * 1)(len(self.recording[stream]))
        self.give(before, ctypes.addressof(self.after))
        count[0] = 1

    def cuGraphConditionalHandleCreate(self, out, graph, context, default, flags):
        assert flags == 1 and graph in self.capturing.values()
        handle = next(self.handles)
        self.defaults[handle] = default
        self.give(out, handle)

    def cuGraphAddNode(self, out, graph, before, count, params):
        node = ctypes.cast(params, ctypes.POINTER(ConditionalNode))[0]
        assert (node.kind, node.size, count) == (13, 1, 1)
        stream = next(s for s, g in self.capturing.items() if g == graph)
        work = self.recording[stream]
        after = ctypes.cast(before, ctypes.POINTER(ctypes.c_uint64))[0]
        assert after == len(work)  # it depends on what was asked for last
        body = next(self.handles)
        steps = self.bodies[body] = []
        handle, is_loop = node.handle, node.condition == 1

        def run(on):
            for _ in range(1000):
                if not self.conditions[handle]:
                    return
                for step in steps:
                    step(on)
                if not is_loop:
                    return

        work.append(run)
        self.kept_bodies = (ctypes.c_void_p * 1)(body)
        node.bodies = self.kept_bodies
        self.give(out, next(self.handles))

    def set_condition(self, stream, arguments):
        values = [
            ctypes.cast(arguments[k], ctypes.POINTER(ctypes.c_uint64))[0]
            for k in range(3)
        ]

        def work(on):
            handle, predicate, inverted = values
            self.touch(on, predicate, False, "set_condition")
            holds = bool(self.bytes_at(predicate, 1)[0])
            self.conditions[handle] = holds != bool(inverted)

        self.ask(stream, work)

    def cuGraphInstantiateWithFlags(self, out, graph, flags):
        handle = next(self.handles)
        self.graphs[handle] = self.graphs[graph]
        self.give(out, handle)

    def cuGraphDestroy(self, graph):
        del self.graphs[graph]

    cuGraphExecDestroy = cuGraphDestroy

    def cuGraphLaunch(self, graph, stream):
        self.order.work(stream)
        self.conditions.update(self.defaults)
        for work in self.graphs[graph]:
            work(stream)

    # Time

    def cuEventElapsedTime(self, out, first, last):
        out[0] = self.times[last] - self.times[first]

    # Kernels

    def build(self, code, arch, aligned):
        """Take the compiler's place: the code itself is what is loaded."""
        self.codes.append((code, frozenset(aligned)))
        facts = Facts(1024, code.num_warps, 32, 0)
        cubin = str(len(self.codes)).encode()
        return Built(code.name, "", cubin, facts, self.scratch)

    def cuModuleLoadData(self, out, cubin):
        is_setter = b"cudaGraphSetConditional" in cubin
        self.give(out, SETTER if is_setter else int(cubin))

    def cuModuleGetFunction(self, out, module, name):
        kernel = SETTER_NAME if module == SETTER else self.codes[module - 1][0].name
        assert kernel.encode() == name
        self.give(out, module)

    def cuLaunchKernel(self, function, *rest):
        x, y, z, threads, _, _, _, stream, arguments, _ = rest
        if function == SETTER:
            self.set_condition(stream, arguments)
            return
        code, _ = self.codes[function - 1]
        assert (x, y, z, threads) == (code.grid, 1, 1, 32 * code.num_warps)
        slots = [
            ctypes.cast(arguments[k], ctypes.POINTER(ctypes.c_uint64))[0]
            for k in range(len(code.pointers) + 2)
        ]
        *_, scratch, profile = slots
        assert profile == 0 and bool(scratch) == bool(self.scratch)
        self.bytes_at(scratch, self.scratch * code.grid)[...] = 0xEE
        self.ask(stream, lambda on: self.launch(function, slots, on))

    def launch(self, function, slots, stream):
        code, aligned = self.codes[function - 1]
        self.launches.append(code)
        self.time += self.cost(code)
        for name, address in zip(code.pointers, slots, strict=False):
            assert address % 16 == 0 or name not in aligned, f"{name} of {code.name}"
        spans = [
            (address, None) if b.name in code.numbers else self.span(b, address)
            for b, address in zip(code.buffers, slots, strict=False)
        ]
        if code.can_fail:
            words = self.bytes_at(slots[len(code.buffers)], 16).view(np.int64)
            spans.append((words, 0))
        before = [
            (memory if first is None else memory.copy(), first)
            for memory, first in spans
        ]
        after = self.interpreter.run(code, before)
        rows = zip(spans, before, after, slots, strict=False)
        for (memory, first), (old, _), new, address in rows:
            if first is None:
                continue
            changed = new.view(np.uint8) != old.view(np.uint8)
            memory.view(np.uint8)[changed] = new.view(np.uint8)[changed]
            if not self.is_locked(address):
                self.touch(stream, address, bool(changed.any()), code.name)

    def span(self, buffer, address):
        """Return the memory that a buffer spans, and where its first element is."""
        low, high = extent_of(buffer.shape, buffer.strides)
        size = buffer.dtype.itemsize
        memory = self.bytes_at(address + low * size, (high - low) * size)
        return memory.view(buffer.dtype), -low

    def device(self, ordinal=0, libraries=None):
        return Device(ordinal, self.driver, self.build, libraries)
