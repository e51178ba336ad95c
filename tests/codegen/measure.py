"""Measure the vector math and print the tables of ``docs/numerics.md``.

python -m tests.codegen.measure

Errors are the largest over the samples of the tests, in units in the last place;
speeds are results per nanosecond on one core, over 65,536 numbers in the cache.
"""

import time

import numpy as np

from tracejit.codegen.llvm.vmath.bounds import ULP_BOUNDS

from .accuracy import DTYPES, Compiled, random_doubles, random_pairs, reference, ulps
from .test_vmath import BINARY, ISAS, STRIDE, UNARY, bit_patterns, units_of_larger

COUNT = 1 << 16


def arguments(name: str, dtype: str) -> list[np.ndarray]:
    """Return the sample on which a function is measured."""
    if name in BINARY:
        return list(random_pairs(dtype, 50_000))
    if dtype == "f64":
        return [random_doubles(name, 50_000)]
    return [bit_patterns(0, 2**32, STRIDE * 2 + 1)]


def largest_error(name: str, dtype: str, isa: str, args: list[np.ndarray]) -> float:
    """Return the largest error over a sample."""
    got = Compiled(name, dtype, isa, arity=len(args))(*args)
    want = reference(name, *args)
    errors = ulps(got, want)
    if name == "logaddexp":
        errors = units_of_larger(errors, got, want, args)
    return float(errors.max())


def speed(name: str, dtype: str, isa: str) -> float:
    """Return results per nanosecond, the best of several rounds."""
    arity = 2 if name in BINARY else 1
    compiled = Compiled(name, dtype, isa, arity)
    rng = np.random.default_rng(0)
    high = 1.0 if name in ("arcsin", "arccos", "arctanh") else 5.0
    args = [rng.uniform(0.1, high, COUNT).astype(DTYPES[dtype]) for _ in range(arity)]
    out = np.empty(COUNT, DTYPES[dtype])
    pointers = [a.ctypes.data for a in (*args, out)]
    best = float("inf")
    for _ in range(40):
        begin = time.perf_counter()
        compiled.function(*pointers, COUNT)
        best = min(best, time.perf_counter() - begin)
    return COUNT / best * 1e-9


def row(name: str, dtype: str) -> str:
    """Return a row of the table."""
    args = arguments(name, dtype)
    cells = [name, f"{ULP_BOUNDS[name, dtype]}"]
    cells += [f"{largest_error(name, dtype, isa, args):.3f}" for isa in ISAS]
    cells += [f"{speed(name, dtype, isa):.2f}" for isa in ISAS]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Print one table for each format."""
    heads = [f"error {isa}" for isa in ISAS] + [f"speed {isa}" for isa in ISAS]
    for dtype, title in (("f32", "float32"), ("f64", "float64")):
        print(f"\n### {title}\n")
        print("| " + " | ".join(["function", "bound", *heads]) + " |")
        print("|---" * (2 + len(heads)) + "|")
        for name in [*UNARY, *BINARY]:
            print(row(name, dtype))


if __name__ == "__main__":
    main()
