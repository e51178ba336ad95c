"""What alternates in memory, stacked arrays and complex numbers, keeps its values."""

import re

import numpy as np
import pytest

import tracejit as tj
from tests.isas import instruction_set
from tracejit.codegen.llvm.shuffles import unwoven, woven
from tracejit.codegen.llvm.text import Emitter
from tracejit.program.program import Run

RNG = np.random.default_rng(0)
STACKED = {
    2: lambda x: np.stack([x, -x], -1),
    3: lambda x: np.stack([x, x + x, x[::-1]], -1),
    4: lambda x: np.stack([x, x + x, x, -x], -1),
    5: lambda x: np.stack([x, x + x, x, -x, x], -1),
}
COMPLEX = {
    "made": lambda x: x + 1j * x[::-1],
    "product": lambda x: (x + 1j) * (x - 2j) / (1j + x * x),
    "parts": lambda x: (x + 2j).real * 3 + (x - 2j).imag,
    "chosen": lambda x: np.where(x > 0, x + 1j, 1j * x),
    "matrix": lambda x: (x[:900].reshape(30, 30) * 1j).T + 1,
    "in place": lambda x: _written(x),
}


def _written(x):
    z = np.zeros(len(x), np.complex128)
    z.real[2:] = x[2:]
    z.imag = z.real * 2
    z *= 1j
    return z


@pytest.mark.parametrize("isa", ["avx512", "avx2", "baseline"])
@pytest.mark.parametrize("dtype", ["f4", "f8", "i2", "u1", "f2"])
def test_stacked_arrays(dtype: str, isa: str) -> None:
    with instruction_set(isa):
        for fn in STACKED.values():
            compiled = tj.jit(fn)
            for length in (1023, 4099):
                x = (RNG.normal(size=length) * 9).astype("i4").astype(dtype)
                np.testing.assert_array_equal(compiled(x), fn(x), strict=True)


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize("name", COMPLEX)
def test_complex_numbers(name: str, size: int) -> None:
    x = RNG.normal(size=max(size, 900 if name == "matrix" else 0))
    want = COMPLEX[name](x)
    got = tj.jit(COMPLEX[name])(x)
    assert got.dtype == want.dtype
    np.testing.assert_allclose(got, want, rtol=1e-14, atol=1e-14)


def test_complex_arithmetic_is_one_kernel() -> None:
    def step(z, c):
        for _ in range(5):
            z = z * z + c
        return z, np.abs(z) < 2

    z = np.zeros(100, np.complex64)
    (run,) = tj.jit(step).lower(z, z + 1).program.steps
    assert len(run.outputs) == 3


IN_ONE = {
    "roll": lambda z: np.roll(z, 5),
    "inner product": lambda z: np.vdot(z, z + 1),
    "sum": lambda z: (z * z.conj()).sum(),
    "mean of rows": lambda z: z.reshape(20, 15).mean(axis=1),
    "square": lambda z: z**2 + np.power(z, 2),
    "cube": lambda z: z**3 - 1,
    "exponential": lambda z: np.exp(1j * z.real),
    "picked": lambda z: z[np.arange(100) * 3 % 50],
}


@pytest.mark.parametrize("dtype", ["c8", "c16"])
@pytest.mark.parametrize("name", IN_ONE)
def test_what_complex_numbers_take_one_kernel_for(name: str, dtype: str) -> None:
    """And no loop of NumPy."""
    z = (RNG.normal(size=(300, 2)) @ [1, 1j]).astype(dtype)
    (run,) = tj.jit(IN_ONE[name]).lower(z).program.steps
    assert isinstance(run, Run)
    got, want = tj.jit(IN_ONE[name])(z), IN_ONE[name](z)
    assert got.dtype == want.dtype
    close = 50 * np.finfo(dtype).eps
    np.testing.assert_allclose(got, want, rtol=close, atol=close)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_vectors_are_stored_whole(count: int) -> None:
    x = np.zeros(1 << 14, np.float32)
    text = tj.jit(STACKED[count]).lower(x).compile().as_text()
    assert "masked.scatter" not in text
    assert "shufflevector" in text


def shuffled(em: Emitter, vectors: dict[str, list[int]]) -> dict[str, list[int]]:
    """What the shuffles of an emitter give, None for lanes that may be anything."""
    found = dict(vectors)
    for line in em.lines:
        name, first, second, picks = SHUFFLE.match(line).groups()
        both = found[first] + found.get(second, [None] * len(found[first]))
        order = [int(k) for k in re.findall(r"i32 (\d+)", picks)]
        found[name] = [both[k] for k in order]
    return found


SHUFFLE = re.compile(r"  (\S+) = shufflevector <.*?> (\S+), <.*?> (\S+), <.*?> <(.*)>")


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("lanes", [2, 4, 8, 16])
def test_vectors_are_woven_and_parted(count: int, lanes: int) -> None:
    columns = {f"%x{c}": [n * count + c for n in range(lanes)] for c in range(count)}
    em = Emitter({}, {})
    out = woven(em, "float", [*columns], lanes)
    found = shuffled(em, columns)
    assert [n for name in out for n in found[name]] == [*range(count * lanes)]

    rows = {f"%y{k}": [*range(k * lanes, (k + 1) * lanes)] for k in range(count)}
    em = Emitter({}, {})
    out = unwoven(em, "float", [*rows], lanes)
    found = shuffled(em, rows)
    assert [found[name] for name in out] == [*columns.values()]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("dtype", ["c8", "c16"])
def test_exponentials_of_all_kinds(dtype: str) -> None:
    """Infinities, NaN, signed zeros, subnormals, and numbers about the largest."""
    parts = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 2.5, 1e30, -1e30]
    parts += [88.5, -100.0, 709.5, 710.2, -745.0, 1e-310, 3e-40]
    z = np.array([complex(a, b) for a in parts for b in parts], dtype)
    want, got = np.exp(z), tj.jit(np.exp)(z)
    for a, b in ((got.real, want.real), (got.imag, want.imag)):
        np.testing.assert_allclose(a, b, rtol=8 * np.finfo(dtype).eps)
        is_number = ~np.isnan(b)
        np.testing.assert_array_equal(
            np.signbit(a[is_number]), np.signbit(b[is_number])
        )


@pytest.mark.parametrize("dtype", ["c8", "c16"])
def test_exponentials_keep_the_bound_in_each_part(dtype: str) -> None:
    rng = np.random.default_rng(4)
    top = np.floor(np.log(np.finfo(dtype).max))
    z = rng.uniform(-0.9 * top, top, 20_000) + 1j * rng.uniform(-50, 50, 20_000)
    z = z.astype(dtype)
    got, want = tj.jit(np.exp)(z), np.exp(z.astype("c32"))
    for a, b in ((got.real, want.real), (got.imag, want.imag)):
        unit = np.spacing(np.abs(b).astype(a.dtype)).astype("g")
        assert (np.abs(a.astype("g") - b) / unit).max() <= 3.0


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("dtype", ["c8", "c16"])
@pytest.mark.parametrize("ufunc", [np.divide, np.multiply, np.add, np.subtract])
def test_what_is_no_number_infinite_or_zero(ufunc: np.ufunc, dtype: str) -> None:
    parts = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 2.5]
    numbers = np.array([complex(a, b) for a in parts for b in parts], dtype)
    x, y = (z.ravel() for z in np.meshgrid(numbers, numbers))
    want, got = ufunc(x, y), tj.jit(ufunc)(x, y)
    small = np.finfo(dtype).eps  # of parts that cancel, what rounding left
    for a, b in ((got.real, want.real), (got.imag, want.imag)):
        np.testing.assert_allclose(a, b, rtol=4 * small, atol=4 * small)
        is_exact = (np.abs(b) > small) | ((b == 0) & (a == 0))
        np.testing.assert_array_equal(np.signbit(a[is_exact]), np.signbit(b[is_exact]))
