"""Fourier transforms run in NumPy's compiled loops, along any axis of any layout."""

import numpy as np
import pytest

import tracejit as tj
from tracejit.program.program import Extern
from tracejit.runtime.cpu.externs import resolve_loop

RNG = np.random.default_rng(0)
FORMS = ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft")
DTYPES = ("f4", "f8", "c8", "c16", "f2", "i4", "?")


def sample(dtype: str) -> np.ndarray:
    x = RNG.normal(size=(3, 8, 5)) * 4
    return (x + 1j * x[::-1]).astype(dtype) if dtype[0] == "c" else x.astype(dtype)


def assert_close(got: np.ndarray, want: np.ndarray, is_half: bool = False) -> None:
    assert got.dtype == want.dtype
    # NumPy scales transforms of halves by a half.
    eps = np.finfo(np.float16 if is_half else got.dtype).eps
    np.testing.assert_allclose(got, want, rtol=0, atol=20 * eps * np.abs(want).max())


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_along_an_axis(form: str, dtype: str) -> None:
    x, function = sample(dtype), getattr(np.fft, form)
    if form in ("rfft", "ihfft") and dtype[0] == "c":
        pytest.skip("of real numbers alone")
    for axis in range(3):
        for n, norm in ((None, "ortho"), (7, None), (12, "forward"), (1, "backward")):

            def f(x, n=n, axis=axis, norm=norm):
                return function(x, n, axis, norm)

            for part in (x, x[::2, ::-1]):
                assert_close(tj.jit(f)(part), f(part), dtype == "f2")


@pytest.mark.parametrize("form", ["fft2", "ifft2", "rfft2", "fftn", "ifftn", "irfftn"])
@pytest.mark.parametrize("dtype", ["f4", "f8", "c16"])
def test_along_axes(form: str, dtype: str) -> None:
    if form == "rfft2" and dtype[0] == "c":
        pytest.skip("of real numbers alone")
    x, function = sample(dtype), getattr(np.fft, form)
    assert_close(tj.jit(function)(x), function(x))


@pytest.mark.parametrize("form", FORMS)
def test_nothing_is_left_to_python(form: str) -> None:
    program = tj.jit(getattr(np.fft, form)).trace(sample("f8")).lower().program
    steps = [s for s in program.steps if isinstance(s, Extern)]
    assert [s.primitive.name for s in steps] == ["fft"]
    for step in steps:
        ends = (step.inputs, step.outputs)
        dtypes = [tuple(program.by_name[n].dtype for n in names) for names in ends]
        loop = resolve_loop(step.primitive, step.params, *dtypes)
        assert loop is not None
        assert loop.symbol.startswith("numpy.fft.")


def test_the_spectrum_of_real_numbers_mirrors_half_of_it() -> None:
    graph = tj.jit(np.fft.fft).trace(sample("f8")).graph
    (transform,) = [e for e in graph.eqns if e.primitive.name == "fft"]
    assert transform.params["form"] == "rfft"
