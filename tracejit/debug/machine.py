"""What this machine can do at most: multiply-adds, and bytes moved.

Needs the engine that loads compiled code. Loops of vector instructions are written
here, apart from all emitters of kernels, and run on one thread for each core, or on
one. Establishes `Limits`, measured once (`limits`) and kept on disk beside compiled
code for the processor, the number of threads and the version.
"""

import ctypes
import json
import math
import platform
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from time import perf_counter

import numpy as np

from .._version import __version__
from ..codegen.llvm.target import Target, host_target
from ..disk import configured, key_of
from ..records import dataclass
from ..runtime.cpu.engine import engine_for
from ..runtime.cpu.threads import usable_cores

SIZES = (2**18, 2**20, 2**23, 2**25, 2**28)  # bytes moved by all threads together
SECONDS = 0.02
TRIES = 5
CHAINS = 12
ARITHMETIC = {"float32": "float", "float64": "double"}
# A call from Python takes as long as moving a few hundred KiB.
PER_CALL = 2**23
TURNS = 100_000  # of multiply-adds in a call
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

    def seconds(self, flops: float, moved: int, arithmetic: str) -> float:
        """The least time for so much work; NaN for a dtype that was not measured.

        Parameters
        ----------
        flops : float
        moved : int
            Bytes read and written.
        arithmetic : str
            The dtype that is computed in.

        Examples
        --------
        >>> Limits({"float32": 100.0}, {1000: 50.0}).seconds(0, 1000, "float32")
        2e-08
        """
        rate = self.gflop_s.get(arithmetic, math.nan)
        moving = moved / self.bandwidth(moved) / 1e9
        return max(flops / rate / 1e9, moving)


def module(target: Target, element: str) -> str:
    """The text of the loops, in vectors of one of the types of `ARITHMETIC`."""
    width = target.lanes(32 if element == "float" else 64)
    kind = f"v{width}f{32 if element == 'float' else 64}"
    vec = f"<{width} x {element}>"
    return f"""
target triple = "{target.triple}"
declare {vec} @llvm.fmuladd.{kind}({vec}, {vec}, {vec})
{_multiplying(vec, kind, element)}
{_reading(vec, element)}
{_copying("copy", vec, "")}
{_copying("stream", vec, ", !nontemporal !0")}
!0 = !{{i32 1}}
"""


def _multiplying(vec: str, kind: str, element: str) -> str:
    """A loop of multiply-adds in registers."""
    steps = "\n".join(
        f"  %b{k} = call {vec} @llvm.fmuladd.{kind}({vec} %a{k}, {vec} splat "
        f"({element} 0x3FEFFFFFE0000000), {vec} splat ({element} 0x3E80000000000000))"
        for k in range(CHAINS)
    )
    return f"""define void @fma(ptr %to, ptr %from, i64 %turns) {{
entry:
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %loop ]
{_sums_from("entry", vec, element)}
{steps}
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %turns
  br i1 %more, label %loop, label %done
done:
{_total(vec)}
  store {vec} %s{CHAINS - 1}, ptr %to, align 64
  ret void
}}"""


def _reading(vec: str, element: str) -> str:
    """A loop that reads the same bytes several times."""
    loads = "\n".join(
        f"  %p{k} = getelementptr {vec}, ptr %from, i64 %i{k}\n"
        f"  %x{k} = load {vec}, ptr %p{k}, align 64\n"
        f"  %b{k} = fadd {vec} %a{k}, %x{k}"
        for k in range(CHAINS)
    )
    places = "\n".join(f"  %i{k} = add i64 %i, {k}" for k in range(CHAINS))
    return f"""define void @read(ptr %to, ptr %from, i64 %vectors, i64 %times) {{
entry:
  br label %again
again:
  %time = phi i64 [ 0, %entry ], [ %later, %done ]
  br label %loop
loop:
  %i = phi i64 [ 0, %again ], [ %next, %loop ]
{_sums_from("again", vec, element)}
{places}
{loads}
  %next = add i64 %i, {CHAINS}
  %more = icmp slt i64 %next, %vectors
  br i1 %more, label %loop, label %done
done:
{_total(vec)}
  store {vec} %s{CHAINS - 1}, ptr %to, align 64
{AGAIN}"""


def _sums_from(before: str, vec: str, element: str) -> str:
    """What the chains of a loop begin with, and go on with: ``%a0`` and so on."""
    return "\n".join(
        f"  %a{k} = phi {vec} [ splat ({element} 1.0), %{before} ], [ %b{k}, %loop ]"
        for k in range(CHAINS)
    )


def _total(vec: str) -> str:
    """The sum of all chains, so that none is left out."""
    return "\n".join(
        f"  %s{k + 1} = fadd {vec} %{'b0' if k == 0 else f's{k}'}, %b{k + 1}"
        for k in range(CHAINS - 1)
    )


def _copying(name: str, vec: str, mark: str) -> str:
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
    """The loops, compiled for this machine, as functions of addresses and counts.

    Parameters
    ----------
    element : str
        What vectors are of: ``"float"`` or ``"double"``.
    """

    def __init__(self, element: str = "float") -> None:
        target = host_target()
        self.bytes = target.lanes(32) * 4  # in a vector
        self._library = engine_for(target).load(module(target, element))

    def function(self, name: str) -> Callable[..., None]:
        """Return ``fma``, ``read``, ``copy`` or ``stream``."""
        counts = [ctypes.c_int64] * (1 if name == "fma" else 2)
        kind = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, *counts)
        return kind(self._library.address(name))


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
    once = min(_at_once(jobs, 1) for _ in range(TRIES))
    turns = max(1, math.ceil(seconds / once))
    return turns * work / min(_at_once(jobs, turns) for _ in range(TRIES))


def _at_once(jobs: Sequence[Callable[[], None]], turns: int) -> float:
    """Return the seconds from when the first begins to when the last ends.

    All threads run before one begins: on a busy machine starting them takes longer than
    the work.
    """
    gate = threading.Barrier(len(jobs))
    spans: list[tuple[float, float]] = []

    def repeat(job: Callable[[], None]) -> None:
        gate.wait()
        start = perf_counter()
        for _ in range(turns):
            job()
        spans.append((start, perf_counter()))

    threads = [threading.Thread(target=repeat, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return max(end for _, end in spans) - min(start for start, _ in spans)


def measure_limits(
    sizes: Sequence[int] = SIZES, seconds: float = SECONDS, threads: int | None = None
) -> Limits:
    """Measure the machine, in about two seconds.

    Parameters
    ----------
    sizes : sequence of int
        Bytes for which to measure the rate of moving them.
    seconds : float
        For each of several tries of each loop.
    threads : int, optional
        How many run the loops at once; one for each usable core if nothing is said.
    """
    threads = threads or usable_cores()
    loops = Loops()
    return Limits(
        {
            dtype: _multiply_adds(element, threads, seconds)
            for dtype, element in ARITHMETIC.items()
        },
        {size: _bandwidth(loops, size, threads, seconds) for size in sizes},
    )


def _multiply_adds(element: str, threads: int, seconds: float) -> float:
    """1e9 operations a second of multiply-adds in registers."""
    loops = Loops(element)
    function = loops.function("fma")
    memory = [aligned(4096) for _ in range(threads)]
    places = [m.ctypes.data for m in memory]
    width = loops.bytes // (4 if element == "float" else 8)
    flops = 2 * CHAINS * width * TURNS * threads
    return (
        rate([partial(function, at, at, TURNS) for at in places], flops, seconds) / 1e9
    )


def _bandwidth(loops: Loops, size: int, threads: int, seconds: float) -> float:
    """1e9 bytes a second of the best way of moving `size` bytes by all threads."""
    step = CHAINS * loops.bytes
    times = max(PER_CALL // size, 1)
    best = 0.0
    for name, arrays in (("read", 1), ("copy", 2), ("stream", 2)):
        each = max(size // threads // arrays // step, 1) * step
        parts = [(aligned(each), aligned(each)) for _ in range(threads)]
        counts = (each // loops.bytes, times)
        jobs = [
            partial(loops.function(name), to.ctypes.data, source.ctypes.data, *counts)
            for to, source in parts
        ]
        moved = arrays * each * threads * times
        best = max(best, rate(jobs, moved, seconds) / 1e9)
    return best


def cpu_model() -> str:
    """The processor's name, from Linux where it tells."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = (line.split(":", 1)[1] for line in lines if line.startswith("model name"))
    return next(names, platform.processor()).strip()


class _Known:
    """What was measured or read in this process, by the number of threads."""

    def __init__(self) -> None:
        self.limits: dict[int, Limits] = {}


_KNOWN = _Known()


def limits(threads: int | None = None) -> Limits:
    """Return what this machine can do, from disk if it was measured before.

    Parameters
    ----------
    threads : int, optional
        How many at once; one for each usable core if nothing is said.
    """
    threads = threads or usable_cores()
    found = _KNOWN.limits.get(threads) or _kept(threads)
    if found is None:
        found = measure_limits(threads=threads)
        _keep(threads, found)
    _KNOWN.limits[threads] = found
    return found


def improve(threads: Iterable[int]) -> None:
    """Measure again, and keep the higher of both rates: load only lowers them."""
    for count in threads:
        found, known = measure_limits(threads=count), _kept(count)
        best = found if known is None else found.best(known)
        _keep(count, best)
        _KNOWN.limits[count] = best


def _key(threads: int) -> str:
    return key_of(__version__, cpu_model(), host_target(), threads, SIZES)


def _kept(threads: int) -> Limits | None:
    disk = configured("machine")
    parts = None if disk is None else disk.get(_key(threads))
    return None if parts is None or "limits" not in parts else _read(parts["limits"])


def _keep(threads: int, found: Limits) -> None:
    disk = configured("machine")
    if disk is not None:
        text = json.dumps({"gflop_s": found.gflop_s, "gb_s": found.gb_s})
        disk.put(_key(threads), {"limits": text.encode()})


def _read(text: bytes) -> Limits:
    known = json.loads(text)
    return Limits(known["gflop_s"], {int(k): v for k, v in known["gb_s"].items()})
