"""Complex arithmetic in parts gives what NumPy gives."""

import warnings

import numpy as np
import pytest

import tracejit as tj
from tracejit.ir import dtypes as dt
from tracejit.ir.interp import evaluate
from tracejit.ir.parser import parse_graph
from tracejit.ir.printer import format_graph
from tracejit.ir.verify import verify
from tracejit.passes.dce import dce
from tracejit.passes.manager import PassContext
from tracejit.passes.split_complex import split_complex

RNG = np.random.default_rng(0)
Z, W = RNG.standard_normal((2, 3, 4)) + 1j * RNG.standard_normal((2, 3, 4))
VIEWED = ("slice", "rev", "transpose", "reshape", "broadcast_in_dim")
BOUNDARY = ("real", "imag", "complex", *VIEWED)

FUNCTIONS = {
    **{
        name: getattr(np, name)
        for name in (
            *("exp", "exp2", "log", "log2", "log10", "sqrt", "sin", "cos", "tan"),
            *("sinh", "cosh", "tanh", "abs", "conj", "square", "sign", "angle"),
            *("isnan", "isinf", "isfinite", "negative", "reciprocal"),
        )
    },
    "sums of products": lambda z, w: z * w + 2 * z - (1 - 3j) * w,
    "quotient": lambda z, w: z / w,
    "power": lambda z, w: z**w,
    "integer power": lambda z: z**3,
    "mixed with real": lambda z: z * z.real + np.arange(4.0),
    "comparison": lambda z, w: (z == w) | (z != z.conj()),
    "order": lambda z, w: (
        (z < w) ^ (z.real + w.imag * 1j <= z) ^ (z >= 1) ^ (z.real + 0j > z)
    ),
    "truth": lambda z: np.where(z, z, 1),
    "sum": lambda z: z.sum(axis=0) + z.mean() + np.cumsum(z, axis=1)[:, 1, None],
    "product of matrices": lambda z, w: z @ w.conj().T,
    "views": lambda z: np.concatenate([z.T[1:], z[::-1].T])[:, ::2].reshape(-1),
    "norm": np.linalg.norm,
    "picked": lambda z: z[np.array([0, 2])] * 2,
    "scattered": lambda z, w: _scattered(z, w),
    "constant": lambda z: z + np.array([1j, 2, 3 - 1j, 0]),
    "other precision": lambda z: z.astype(np.complex64) * 2,
}


def _scattered(z, w):
    out = z.copy()
    np.add.at(out, np.array([2, 0, 2]), w)
    out[1] = 5j
    return out


def split_of(fn, *args):
    graph = tj.jit(fn).trace(*args).graph
    found = dce(split_complex(graph, PassContext()), PassContext())
    assert format_graph(parse_graph(format_graph(verify(found)))) == format_graph(found)
    return graph, found


def arguments(fn, *args):
    return args[: fn.__code__.co_argcount] if hasattr(fn, "__code__") else args[:1]


def assert_real(graph):
    """Check that only parts and views are complex."""
    for eqn in graph.eqns:
        if eqn.primitive.name not in BOUNDARY:
            ends = (*eqn.invars, *eqn.outvars)
            assert not any(dt.is_complex(x.aval.dtype) for x in ends), eqn


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name):
    fn = FUNCTIONS[name]
    args = [Z] if name == "norm" else arguments(fn, Z, W)
    _, found = split_of(fn, *args)
    assert_real(found)
    (got,) = evaluate(found, args)
    np.testing.assert_allclose(got, fn(*args), rtol=1e-12, atol=1e-13)


SPECIAL = np.array([complex(x, y) for x in (0, 1, -2, 1e-30) for y in (0, 3, -1e-9)])


@pytest.mark.parametrize(
    "name", ["exp", "sqrt", "log", "tanh", "tan", "sign", "abs", "square"]
)
def test_special_values(name):
    fn, z = getattr(np, name), SPECIAL[1:] if name == "log" else SPECIAL
    _, found = split_of(fn, z)
    np.testing.assert_allclose(evaluate(found, [z])[0], fn(z), rtol=1e-12, atol=1e-300)


def test_truth_is_that_of_either_part():
    _, found = split_of(lambda z: z.astype(bool), SPECIAL)
    np.testing.assert_array_equal(evaluate(found, [SPECIAL])[0], SPECIAL != 0)


def test_accuracy_where_parts_cancel_or_are_large():
    near = np.exp(1j * np.linspace(0.1, 3, 7)) * (1 + 1e-12)
    _, found = split_of(np.log, near)
    got = evaluate(found, [near])[0]
    np.testing.assert_allclose(got.real, np.log(near).real, rtol=1e-3)
    large = np.array([800 + 1j, -800 + 2j, 30 - 0.5j])
    _, found = split_of(np.tanh, large)
    np.testing.assert_allclose(evaluate(found, [large])[0], np.tanh(large), rtol=1e-12)
    wide, divisor = np.array([1e200 + 1e200j]), np.array([1e200 + 1e190j])
    _, found = split_of(np.divide, wide, divisor)
    got = evaluate(found, [wide, divisor])[0]
    np.testing.assert_allclose(got, wide / divisor, rtol=1e-12)


def test_division_by_zero_and_powers_of_zero():
    z, w = np.array([1 + 1j, -2j, 0j, 0j, 0j]), np.array([0j, 0j, 0j, 2, -1])
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        want = z / w, z[2:] ** w[2:]
        _, quotient = split_of(np.divide, z, w)
        _, power = split_of(np.power, z[2:], w[2:])
        got = evaluate(quotient, [z, w])[0], evaluate(power, [z[2:], w[2:]])[0]
    np.testing.assert_array_equal(got[0], want[0])
    np.testing.assert_array_equal(got[1], want[1])


def test_what_has_no_rule_stays_whole():
    _, found = split_of(lambda z: np.fft.fft(z * 2) * 2, Z)
    kept = [e for e in found.eqns if e.primitive.name == "fft"]
    assert len(kept) == 1
    got = evaluate(found, [Z])[0]
    np.testing.assert_allclose(got, 2 * np.fft.fft(2 * Z), rtol=1e-12)


def test_loops_and_branches_are_split_inside():
    def f(z):
        z = tj.fori_loop(0, 3, lambda i, c: c * c / 2, z)
        return tj.cond(z.real.sum() > 0, lambda z: z * 1j, lambda z: -z, z)

    _, found = split_of(f, Z)
    np.testing.assert_allclose(evaluate(found, [Z])[0], f(Z), rtol=1e-12)


def test_gradients_are_split():
    def loss(x):
        return np.sum(np.abs(np.exp(1j * x) * Z) ** 2 + np.real(Z * x))

    x = Z.real
    _, found = split_of(tj.grad(loss), x)
    assert_real(found)
    got = evaluate(found, [x, *_captured(found, x)])[0]
    np.testing.assert_allclose(got, tj.grad(loss)(x), rtol=1e-11, atol=1e-12)


def _captured(graph, x):
    return [Z] * (len(graph.invars) - 1)


def test_real_graphs_are_left_alone():
    graph = tj.jit(lambda x: np.exp(x) * 2).trace(np.ones(3)).graph
    assert split_complex(graph, PassContext()) is graph
    off = PassContext(disabled_rules=frozenset({"split_complex"}))
    complex_ = tj.jit(lambda z: z * 2).trace(Z).graph
    assert split_complex(complex_, off) is complex_
