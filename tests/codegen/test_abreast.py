"""Registers of wide vectors that are computed side by side, at no cost."""

import re
from itertools import pairwise

import numpy as np
import pytest

import tracejit as tj
from tests.isas import instruction_set, jitted
from tracejit.codegen.llvm.target import host_target
from tracejit.runtime.cpu.engine import engine_for

X = np.random.default_rng(2).normal(size=1 << 16).astype("f4")


def chain(x):
    for k in range(40):
        x = x * np.float32(0.9 + k * 0.001) + np.float32(0.1 - k * 0.01)
    return x


def two_chains(x):
    a = b = x
    for _ in range(20):
        a, b = a * a - b * b + x, 2 * a * b - x
    return a + b


def assembly(fn, x: np.ndarray) -> str:
    with instruction_set("avx2"):
        text = tj.jit(fn).lower(x).compile().as_text()
    return engine_for(host_target("avx2")).assembly(text)


def test_no_instruction_is_added() -> None:
    text = assembly(chain, X)
    between = re.findall(r"#APP\n(.*?)\s*#NO_APP", text, re.DOTALL)
    assert between
    assert not "".join(between).strip()


@pytest.mark.parametrize("fn", [chain, np.tanh])
def test_registers_take_turns(fn) -> None:
    """Few multiply-adds change what the one before has changed."""
    lines = [line for line in assembly(fn, X).splitlines() if "vfmadd" in line]
    results = [line.rsplit("%", 1)[1] for line in lines]
    again = sum(a == b for a, b in pairwise(results))
    assert again < len(results) / 3


@pytest.mark.parametrize("fn", [chain, two_chains])
@pytest.mark.parametrize("isa", ["auto", "baseline"])
def test_values(fn, isa: str) -> None:
    for x in (X, X[:5000], np.float64(X)):
        x = x * x.dtype.type(0.03)
        want = fn(np.float64(x))
        np.testing.assert_allclose(jitted(fn, isa, x), want, rtol=1e-4, atol=1e-5)


def test_the_bits_are_those_of_narrow_vectors() -> None:
    whole = jitted(chain, "auto", X)
    parts = [jitted(chain, "auto", part) for part in np.split(X, 64)]
    assert whole.tobytes() == np.concatenate(parts).tobytes()
