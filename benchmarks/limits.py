"""What this machine can do at most: multiply-adds, and bytes moved, on all its cores.

Needs llvmlite. Loops of vector instructions are compiled here, apart from everything
that is measured, and run on one thread a core. Establishes `Limits`, and the least time
that a row needs by them.
"""

import ctypes
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from time import perf_counter

import llvmlite.binding as llvm
import numpy as np

from .machine import usable_cores
from .row import Row

SIZES = (2**18, 2**20, 2**23, 2**25, 2**28)  # bytes moved by all threads together
SECONDS = 0.02
TRIES = 5
CHAINS = 12
# A call from Python takes as long as moving a few hundred KiB.
PER_CALL = 2**23
# The end of a function that moves the same bytes several times.
AGAIN = """\
  %later = add i64 %time, 1
  %once_more = icmp slt i64 %later, %times
  br i1 %once_more, label %again, label %end
end:
  ret void
}"""


@dataclass(frozen=True)
class Limits:
    """Measured rates of the machine.

    Parameters
    ----------
    gflop_s : mapping of str to float
        Multiply-adds by dtype, each counted as two operations, in 1e9 a second.
    gb_s : mapping of int to float
        Bytes read and written, in 1e9 a second, by how many bytes there are: what fits
        a cache is faster. The best of reading, copying, and copying past the caches.
    """

    gflop_s: Mapping[str, float]
    gb_s: Mapping[int, float]

    def best(self, other: "Limits") -> "Limits":
        """The higher of two measurements of each rate: load only lowers them."""
        gflop_s = {k: max(v, other.gflop_s[k]) for k, v in self.gflop_s.items()}
        gb_s = {k: max(v, other.gb_s[k]) for k, v in self.gb_s.items()}
        return Limits(gflop_s, gb_s)

    def bandwidth(self, size: int) -> float:
        """The rate at `size` bytes, in 1e9 a second."""
        fitting = [known for known in self.gb_s if known >= size]
        return self.gb_s[min(fitting, default=max(self.gb_s))]

    def seconds(self, row: Row) -> float:
        """The least time that `row` takes; NaN where its kind was not measured."""
        rate = self.gflop_s.get(row.arithmetic or row.dtype, math.nan)
        moving = row.bytes / self.bandwidth(row.bytes) / 1e9
        return max(row.flops / rate / 1e9, moving)


def lanes() -> int:
    """How many float32 numbers a vector register holds."""
    features = llvm.get_host_cpu_features()
    if features.get("avx512f"):
        return 16
    return 8 if features.get("avx2") else 4


def program(width: int) -> str:
    """The text of the three loops."""
    vec = f"<{width} x float>"
    count = range(CHAINS)
    sums_from = "\n".join(
        f"  %a{k} = phi {vec} [ splat (float 1.0), %BEFORE ], [ %b{k}, %loop ]"
        for k in count
    )
    steps = "\n".join(
        f"  %b{k} = call {vec} @llvm.fmuladd.v{width}f32({vec} %a{k}, {vec} splat "
        f"(float 0x3FEFFFFFE0000000), {vec} splat (float 0x3E80000000000000))"
        for k in count
    )
    sums = "\n".join(
        f"  %s{k + 1} = fadd {vec} %{'b0' if k == 0 else f's{k}'}, %b{k + 1}"
        for k in range(CHAINS - 1)
    )
    loads = "\n".join(
        f"  %p{k} = getelementptr {vec}, ptr %from, i64 %i{k}\n"
        f"  %x{k} = load {vec}, ptr %p{k}, align 64\n"
        f"  %b{k} = fadd {vec} %a{k}, %x{k}"
        for k in count
    )
    places = "\n".join(f"  %i{k} = add i64 %i, {k}" for k in count)
    return f"""
declare {vec} @llvm.fmuladd.v{width}f32({vec}, {vec}, {vec})
define void @fma(ptr %to, ptr %from, i64 %turns) {{
entry:
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %loop ]
{sums_from.replace("BEFORE", "entry")}
{steps}
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %turns
  br i1 %more, label %loop, label %done
done:
{sums}
  store {vec} %s{CHAINS - 1}, ptr %to, align 64
  ret void
}}
define void @read(ptr %to, ptr %from, i64 %vectors, i64 %times) {{
entry:
  br label %again
again:
  %time = phi i64 [ 0, %entry ], [ %later, %done ]
  br label %loop
loop:
  %i = phi i64 [ 0, %again ], [ %next, %loop ]
{sums_from.replace("BEFORE", "again")}
{places}
{loads}
  %next = add i64 %i, {CHAINS}
  %more = icmp slt i64 %next, %vectors
  br i1 %more, label %loop, label %done
done:
{sums}
  store {vec} %s{CHAINS - 1}, ptr %to, align 64
{AGAIN}
{_copy("copy", vec, "")}
{_copy("stream", vec, ", !nontemporal !0")}
!0 = !{{i32 1}}
"""


def _copy(name: str, vec: str, mark: str) -> str:
    moves = "\n".join(
        f"  %i{k} = add i64 %i, {k}\n"
        f"  %p{k} = getelementptr {vec}, ptr %from, i64 %i{k}\n"
        f"  %q{k} = getelementptr {vec}, ptr %to, i64 %i{k}\n"
        f"  %x{k} = load {vec}, ptr %p{k}, align 64\n"
        f"  store {vec} %x{k}, ptr %q{k}, align 64{mark}"
        for k in range(CHAINS)
    )
    return f"""
define void @{name}(ptr %to, ptr %from, i64 %vectors, i64 %times) {{
entry:
  br label %again
again:
  %time = phi i64 [ 0, %entry ], [ %later, %done ]
  br label %loop
loop:
  %i = phi i64 [ 0, %again ], [ %next, %loop ]
{moves}
  %next = add i64 %i, {CHAINS}
  %more = icmp slt i64 %next, %vectors
  br i1 %more, label %loop, label %done
done:
{AGAIN}"""


class Loops:
    """The loops, compiled for this machine, as functions of addresses and counts."""

    def __init__(self) -> None:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        self.width = lanes()
        target = llvm.Target.from_default_triple()
        machine = target.create_target_machine(
            cpu=llvm.get_host_cpu_name(),
            features=llvm.get_host_cpu_features().flatten(),
            opt=2,
            jit=True,
        )
        text = f'target triple = "{target.triple}"\n{program(self.width)}'
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(text), machine)
        self._engine.finalize_object()

    def __getattr__(self, name: str) -> Callable[..., None]:
        counts = [ctypes.c_int64] * (1 if name == "fma" else 2)
        kind = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, *counts)
        return kind(self._engine.get_function_address(name))


def aligned(size: int) -> np.ndarray:
    """Bytes whose address is a multiple of 64, in memory of their own.

    Each is written, as pages of zeros that were only read are all the same page, which
    lies in the first cache.
    """
    memory = np.full(size + 64, 1, np.uint8)
    offset = -memory.ctypes.data % 64
    return memory[offset : offset + size]


def rate(jobs: Sequence[Callable[[], None]], work: float, seconds: float) -> float:
    """The most work a second that all jobs together did, each on its thread."""
    start = perf_counter()
    _at_once(jobs, 1)
    turns = max(1, math.ceil(seconds / (perf_counter() - start)))
    times = []
    for _ in range(TRIES):
        start = perf_counter()
        _at_once(jobs, turns)
        times.append(perf_counter() - start)
    return turns * work / min(times)


def _at_once(jobs: Sequence[Callable[[], None]], turns: int) -> None:
    def repeat(job: Callable[[], None]) -> None:
        for _ in range(turns):
            job()

    threads = [threading.Thread(target=repeat, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def measure_limits(
    sizes: Sequence[int] = SIZES, seconds: float = SECONDS, threads: int | None = None
) -> Limits:
    """Measure the machine, in about two seconds."""
    loops, threads = Loops(), threads or usable_cores()
    small = [aligned(4096) for _ in range(threads)]
    turns = 100_000

    def multiply(memory: np.ndarray) -> Callable[[], None]:
        address, function = memory.ctypes.data, loops.fma
        return lambda: function(address, address, turns)

    flops = 2 * CHAINS * loops.width * turns * threads
    gflop_s = rate([multiply(memory) for memory in small], flops, seconds) / 1e9
    return Limits(
        {"float32": gflop_s},
        {size: _bandwidth(loops, size, threads, seconds) for size in sizes},
    )


def _bandwidth(loops: Loops, size: int, threads: int, seconds: float) -> float:
    """1e9 bytes a second of the best way of moving `size` bytes by all threads."""
    step = CHAINS * 4 * loops.width
    times = max(PER_CALL // size, 1)
    best = 0.0
    for name, arrays in (("read", 1), ("copy", 2), ("stream", 2)):
        each = max(size // threads // arrays // step, 1) * step
        parts = [(aligned(each), aligned(each)) for _ in range(threads)]
        counts = (each // (4 * loops.width), times)
        jobs = [
            partial(getattr(loops, name), to.ctypes.data, source.ctypes.data, *counts)
            for to, source in parts
        ]
        moved = arrays * each * threads * times
        best = max(best, rate(jobs, moved, seconds) / 1e9)
    return best
