"""Compiled loops of ufuncs give NumPy's bits when called by address."""

import zlib

import numpy as np
import pytest
import scipy.special
from numpy.fft import _pocketfft_umath as fft_ufuncs
from numpy.linalg import _umath_linalg as linalg_ufuncs

from tests.runtime.cpu.loops import (
    assert_same_bits,
    random_array,
    run_loop,
    strided,
    strided_copy,
)
from tracejit.runtime.cpu.ufuncs import UfuncLoop, find_loop

DTYPE_CHARS = set("?bBhHiIlLqQefdFD")
ELEMENTWISE = sorted(
    {f for f in vars(np).values() if isinstance(f, np.ufunc) and f.signature is None},
    key=lambda f: f.__name__,
)
COUNT = 67
STEPS = (1, 3)


def signatures(ufunc: np.ufunc) -> list[list[np.dtype]]:
    """Return the input dtypes of all loops over dtypes that graphs have."""
    spelled = [entry.split("->") for entry in ufunc.types]
    known = [ins for ins, outs in spelled if set(ins + outs) <= DTYPE_CHARS]
    return [[np.dtype(char) for char in ins] for ins in known]


def is_known_to_raise(ufunc: np.ufunc, dtypes: list[np.dtype]) -> bool:
    return ufunc is np.power and dtypes[0].kind == "i"


def seed(ufunc: np.ufunc) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(ufunc.__name__.encode()))


def check(
    ufunc: np.ufunc, loop: UfuncLoop, inputs: list[np.ndarray], step: int
) -> None:
    """Compare the loop with the ufunc, outputs `step` elements apart."""
    sizes: dict[str, int] = {}
    for names, array in zip(loop.core, inputs, strict=False):
        sizes |= dict(zip(names, array.shape[1:], strict=True))
    sizes.setdefault("p", min(sizes.get("m", 1), sizes.get("n", 1)))
    shapes = [(COUNT, *(sizes[n] for n in names)) for names in loop.core[ufunc.nin :]]
    compare(ufunc, loop, inputs, shapes, step)


def compare(
    ufunc: np.ufunc,
    loop: UfuncLoop,
    inputs: list[np.ndarray],
    shapes: list[tuple[int, ...]],
    step: int,
) -> None:
    outputs, expected = (
        [
            strided(np.zeros(s, d), step)
            for s, d in zip(shapes, loop.outputs, strict=True)
        ]
        for _ in range(2)
    )
    # Copies with the same strides: some loops of linalg overwrite their input.
    run_loop(loop, [*map(strided_copy, inputs), *outputs])
    with np.errstate(all="ignore"):
        ufunc(*map(strided_copy, inputs), out=tuple(expected))
    for actual, wanted in zip(outputs, expected, strict=True):
        assert_same_bits(actual, wanted)


def check_elementwise(ufunc: np.ufunc, loop: UfuncLoop) -> None:
    rng = seed(ufunc)
    values = [random_array(rng, (COUNT,), d) for d in loop.inputs]
    for step in STEPS:
        check(ufunc, loop, [strided(v, step) for v in values], step)
    repeated = np.broadcast_to(values[-1][:1], (COUNT,))
    check(ufunc, loop, [*values[:-1], repeated], 1)


@pytest.mark.parametrize("ufunc", ELEMENTWISE, ids=lambda f: f.__name__)
def test_every_loop_of_every_numpy_ufunc(ufunc: np.ufunc) -> None:
    for dtypes in signatures(ufunc):
        loop = find_loop(ufunc, dtypes)
        if is_known_to_raise(ufunc, dtypes):
            assert loop is None
            continue
        assert loop is not None, f"{ufunc.__name__} has no loop for {dtypes}"
        assert list(loop.inputs) == dtypes
        check_elementwise(ufunc, loop)


def gufuncs(module: object) -> list[np.ufunc]:
    return [f for f in vars(module).values() if isinstance(f, np.ufunc) and f.signature]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("ufunc", gufuncs(np), ids=lambda f: f.__name__)
def test_products(ufunc: np.ufunc, step: int) -> None:
    sizes = {"n": 3, "k": 4, "m": 5}
    rng = seed(ufunc)
    for dtypes in signatures(ufunc):
        loop = find_loop(ufunc, dtypes)
        assert loop is not None, f"{ufunc.__name__} has no loop for {dtypes}"
        check(ufunc, loop, core_inputs(rng, loop, sizes, step), step)


def core_inputs(
    rng: np.random.Generator, loop: UfuncLoop, sizes: dict[str, int], step: int
) -> list[np.ndarray]:
    shapes = [(COUNT, *(sizes[name] for name in names)) for names in loop.core]
    return [
        strided(random_array(rng, shape, dtype), step)
        for shape, dtype in zip(shapes, loop.inputs, strict=False)
    ]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("ufunc", gufuncs(linalg_ufuncs), ids=lambda f: f.__name__)
def test_linear_algebra(ufunc: np.ufunc, step: int) -> None:
    rng = seed(ufunc)
    for dtypes in signatures(ufunc):
        loop = find_loop(ufunc, dtypes)
        assert loop is not None, f"{ufunc.__name__} has no loop for {dtypes}"
        sizes = {"m": 5, "n": 4, "k": 4, "nrhs": 2}
        inputs = [
            strided(matrices(rng, tuple(sizes[n] for n in names), dtype), step)
            for names, dtype in zip(loop.core, loop.inputs, strict=False)
        ]
        check(ufunc, loop, inputs, step)


def matrices(
    rng: np.random.Generator, core: tuple[int, ...], dtype: np.dtype
) -> np.ndarray:
    """Return finite arrays; square matrices are positive definite, in Fortran order."""
    values = rng.standard_normal((COUNT, *core)).astype(dtype)
    if len(core) == 2 and core[0] == core[1]:
        values = values @ values.swapaxes(1, 2) + np.eye(core[0], dtype=dtype)
        return values.swapaxes(1, 2)
    return values


FFT_SIZES = {
    "fft": (8, 8),
    "ifft": (7, 7),
    "rfft_n_even": (8, 5),
    "rfft_n_odd": (7, 4),
    "irfft": (5, 8),
}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("name", FFT_SIZES)
def test_fourier(name: str, step: int) -> None:
    ufunc = getattr(fft_ufuncs, name)
    rng = seed(ufunc)
    length, result = FFT_SIZES[name]
    for dtypes in signatures(ufunc):
        loop = find_loop(ufunc, dtypes)
        assert loop is not None
        values = rng.standard_normal((COUNT, length)).astype(loop.inputs[0])
        scale = np.broadcast_to(np.array(0.25, loop.inputs[1]), (COUNT,))
        compare(ufunc, loop, [strided(values, step), scale], [(COUNT, result)], step)


# Functions of one or two arguments that take random numbers in bounded time; some of
# the others (hypergeometric, integer-order) loop for hours on huge arguments.
SPECIAL_NAMES = [
    "erf",
    "erfc",
    "erfcx",
    "erfinv",
    "expit",
    "logit",
    "gamma",
    "gammaln",
    "digamma",
    "ndtr",
    "ndtri",
    "log_ndtr",
    "i0",
    "i0e",
    "i1",
    "i1e",
    "j0",
    "j1",
    "k0",
    "k1",
    "y0",
    "y1",
    "xlogy",
    "xlog1py",
    "entr",
    "rel_entr",
    "kl_div",
    "boxcox",
    "cbrt",
    "exprel",
    "expm1",
    "log1p",
    "sindg",
    "cosdg",
    "zetac",
    "beta",
    "betaln",
    "huber",
]
SPECIAL = [getattr(scipy.special, name) for name in SPECIAL_NAMES]


@pytest.mark.parametrize("ufunc", SPECIAL, ids=lambda f: f.__name__)
def test_scipy_special(ufunc: np.ufunc) -> None:
    for dtypes in signatures(ufunc):
        loop = find_loop(ufunc, dtypes)
        assert loop is not None, f"{ufunc.__name__} has no loop for {dtypes}"
        check_elementwise(ufunc, loop)
