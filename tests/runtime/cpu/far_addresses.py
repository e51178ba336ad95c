"""Load object code where free addresses are few and far between; print "ok"."""

import ctypes
import mmap
import random

from tracejit.codegen.llvm.target import host_target
from tracejit.runtime.cpu.engine import engine_for

PAGE = mmap.PAGESIZE
NORESERVE, ANONYMOUS, PRIVATE = 0x4000, 0x20, 0x2
GAP = 3 << 30  # more than a relative address reaches


def module(constants: int, data: int, adds: int) -> str:
    """Return a function with constants, data of its own, and data of the module."""
    values = ", ".join(f"double {i}.0" for i in range(constants))
    lines = "\n".join(
        f"  %x{i + 1} = call double @add(double %x{i})" for i in range(adds)
    )
    return f"""
@c = private constant [{constants} x double] [{values}], align 64
@v = internal global [{data} x i64] zeroinitializer, align 64
@g = global i64 5
define double @add(double %x) noinline {{
  %y = fadd double %x, 1.0
  ret double %y
}}
define double @f(i64 %i) {{
  %p = getelementptr [{constants} x double], ptr @c, i64 0, i64 %i
  %x0 = load double, ptr %p
{lines}
  store i64 %i, ptr @v
  store i64 %i, ptr @g
  ret double %x{adds}
}}"""


def fragment(rng: random.Random) -> None:
    """Take all gaps between mappings, and leave a few pages every three gigabytes."""
    libc = ctypes.CDLL(None)
    take = libc.mmap
    take.restype = ctypes.c_void_p
    take.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3]
    take.argtypes = [*take.argtypes, ctypes.c_long]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]

    def reserve(size: int) -> int:
        return take(None, size, 0, PRIVATE | ANONYMOUS | NORESERVE, -1, 0)

    for bits in (30, 24, 20, 16, 14, 12):
        low = reserve(2 << 30)
        while reserve(1 << bits) >= low:
            pass
    holes = []
    for _ in range(300):
        reserve(GAP)
        size = PAGE * rng.randrange(1, 6)
        holes.append((reserve(size), size))
    for hole in holes:
        libc.munmap(*hole)


def main() -> None:
    rng = random.Random(2)
    engine = engine_for(host_target())
    sizes = [[rng.randrange(1, n) for n in (1200, 300, 200)] for _ in range(120)]
    codes = [engine.compile(module(*size)) for size in sizes]
    fragment(rng)
    call = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_int64)
    kept = []
    for code in codes:
        kept.append(engine.load(code))
        assert call(kept[-1].address("f"))(0) >= 0
    print("ok")


if __name__ == "__main__":
    main()
