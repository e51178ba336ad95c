"""The namespace has the standard's names and signatures, and NumPy's values."""

import inspect

import numpy as np
import pytest

import tracejit as tj
import tracejit.numpy as tnp

from .comparing import assert_same
from .samples import ARRAYS, SAMPLES, evaluated, name_of
from .standard import CONSTANTS, DTYPES, FFT, FUNCTIONS, LINALG

EXTENSIONS = {"linalg.": LINALG, "fft.": FFT}
SIGNATURES = [
    *FUNCTIONS.split("\n")[1:-1],
    *(f"{e}{line}" for e, t in EXTENSIONS.items() for line in t.split("\n")[1:-1]),
]


def find(name):
    owner, _, last = name.rpartition(".")
    return getattr(getattr(tnp, owner) if owner else tnp, last)


def standard_signature(line):
    """Return the signature that a line of the table means."""
    scope = {}
    exec(f"def f{line[line.index('(') :]}: ...", {"inf": np.inf}, scope)
    return inspect.signature(scope["f"])


def allowed_calls(signature):
    """Yield arguments, all by position where that may be, then all by name."""
    parameters = list(signature.parameters.values())
    for may_be_named in (False, True):
        for with_defaults in (False, True):
            args, kwargs = [], {}
            for p in parameters:
                if p.default is not p.empty and not with_defaults:
                    continue
                is_named = p.kind is p.KEYWORD_ONLY or (
                    may_be_named and p.kind is p.POSITIONAL_OR_KEYWORD
                )
                if is_named:
                    kwargs[p.name] = p.default
                else:
                    args.append(p.default)
            yield args, kwargs


@pytest.mark.parametrize("line", SIGNATURES, ids=name_of)
def test_calls_of_the_standard_are_taken(line):
    function = find(name_of(line))
    signature = standard_signature(line)
    if isinstance(function, np.ufunc):
        assert function.nin == sum(
            p.kind is p.POSITIONAL_ONLY for p in signature.parameters.values()
        )
        return
    for args, kwargs in allowed_calls(signature):
        inspect.signature(function).bind(*args, **kwargs)


def test_the_namespace_is_the_standards():
    names = {name_of(line) for line in FUNCTIONS.split("\n")[1:-1]}
    others = {"__array_api_version__", "__array_namespace_info__", "linalg", "fft"}
    assert set(tnp.__all__) == {*names, *CONSTANTS, *DTYPES, *others}
    assert set(tnp.linalg.__all__) == {name_of(s) for s in LINALG.split("\n")[1:-1]}
    assert set(tnp.fft.__all__) == {name_of(s) for s in FFT.split("\n")[1:-1]}
    assert dir(tnp) == sorted(tnp.__all__)
    assert tnp.__array_api_version__ == "2024.12"


def test_constants_and_dtypes_are_numpys():
    for name in (*CONSTANTS, *DTYPES):
        assert getattr(tnp, name) is getattr(np, name)


def test_functions_are_numpys():
    own = {n for n in tnp.__all__ if getattr(tnp, n) is not getattr(np, n, None)}
    made = {s.partition("(")[0] for s in FUNCTIONS.split("\n")[1:17]} - {"tril", "triu"}
    sized = {
        "nonzero",
        *(f"unique_{n}" for n in ("all", "counts", "inverse", "values")),
    }
    wider = {"argsort", "astype", "clip", "count_nonzero", "diff", "finfo", "iinfo"}
    wider |= {"sort", "take_along_axis"}
    rest = {"__array_api_version__", "__array_namespace_info__", "linalg", "fft"}
    assert own - rest == made | sized | wider


def test_every_function_has_a_sample():
    names = {name_of(line) for line in SIGNATURES}
    assert {name_of(sample) for sample in SAMPLES} == names


@pytest.mark.parametrize("sample", SAMPLES)
def test_values_under_jit(sample):
    want = evaluated(sample, ARRAYS, np=np, tnp=tnp)

    @tj.jit
    def call(arrays):
        return evaluated(sample, arrays, np=np, tnp=tnp)

    assert_same(call(ARRAYS), want)
