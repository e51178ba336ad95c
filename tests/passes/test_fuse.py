"""Fusion: what joins, what does not and why, and that values stay the same."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import tracejit as tj
from tracejit.ir.interp import evaluate
from tracejit.ir.parser import parse_graph
from tracejit.ir.verify import verify
from tracejit.passes.fuse import fuse_with
from tracejit.passes.groups import Dependencies, Refusal
from tracejit.passes.limits import ANY, Limits
from tracejit.passes.manager import PassContext

X = np.linspace(-1.0, 2.0, 48, dtype=np.float32).reshape(4, 12)
S = np.linspace(0.5, 1.5, 16, dtype=np.float32).reshape(4, 4)
LARGE = np.linspace(-1.0, 1.0, 160 * 160, dtype=np.float32).reshape(160, 160)
ROWS = np.array([2, 0, 3])
DOCS = Path(__file__).parents[2] / "docs" / "fusion.md"


def shifted(x):
    y = x / np.exp(x).sum(1, keepdims=True)
    return y + y[::-1]


def two_directions(x):
    y = np.exp(np.sin(x)) * np.cos(x)
    return y.sum(0), y.sum(1)


def standardised(x):
    y = np.exp(np.sin(x)) * np.cos(x)
    return y - y.sum(0)


def cycle(x):
    y = x / np.exp(x).sum(1, keepdims=True)
    return np.exp(np.sort(y, axis=1)) + y


def many_times(x):
    y = np.exp(np.exp(np.sin(np.cos(x[0]))))
    big = np.broadcast_to(y, (64, 8, 12)).swapaxes(1, 2).reshape(64, 96)
    return big * 2.0


def pieces(x):
    return np.concatenate([np.exp(x.astype(np.float64) * k) for k in range(16)])


def sorted_(x):
    return np.sort(x, axis=1)


def rolled(x):
    return np.roll(x, 1)


REFUSED = {
    Refusal.SPACE: (lambda x: (np.exp(x).sum(1)[:, None, None] * x[None]).sum(2), X),
    Refusal.VIEW: (shifted, X),
    Refusal.AXES: (two_directions, X),
    Refusal.BACK: (standardised, X),
    Refusal.SHARED: (lambda x: (np.exp(x), np.pad(np.exp(x), 1)), X),
    Refusal.COST: (many_times, X),
    Refusal.PRODUCT: (lambda x: (x @ x) @ x, S),
    Refusal.MEMORY: (lambda x: np.exp(np.exp(x))[ROWS], X),
    Refusal.THREADS: (lambda x: ((x @ x - 1) ** 2).sum(), LARGE),
    Refusal.TURNS: (
        lambda x: tj.fori_loop(0, 9, lambda i, s: s * 0.5 + x, x).sum(1),
        X,
    ),
    Refusal.PIECES: (pieces, X),
    Refusal.EXTERN: (lambda x: np.exp(np.sort(x, axis=1)), X),
    Refusal.STEPS: (lambda x: np.exp(tj.cond(x[0, 0] > 0, sorted_, rolled, x)), X),
    Refusal.CYCLE: (cycle, X),
}


@pytest.mark.parametrize("reason", REFUSED, ids=lambda r: r.name)
def test_a_boundary_has_a_reason(reason):
    fn, x = REFUSED[reason]
    lowered = tj.jit(fn).lower(x)
    assert any(note.startswith(f"{reason.name}: ") for note in lowered.notes)
    assert all("test_fuse.py:" in note for note in lowered.notes)
    got, want = tj.jit(fn)(x), fn(x)
    pairs = zip(got, want, strict=True) if isinstance(want, tuple) else [(got, want)]
    for g, w in pairs:
        np.testing.assert_allclose(g, w, rtol=3e-6, atol=1e-6)


def test_size_is_a_reason():
    text = "graph @f(%x: f32[4]) -> (f32[4]) {\n"
    names = ["%x", *(f"%{k}" for k in range(6))]
    for k in range(6):
        text += f"  {names[k + 1]}: f32[4] = exp {names[k]}\n"
    graph = parse_graph(text + "  return %5\n}")
    context = PassContext()
    fused = fuse_with(replace(ANY, max_equations=4))(graph, context)
    assert len(fused.eqns) == 2
    assert str(context.notes[0]).startswith("SIZE: exp → exp")


def test_a_target_says_what_its_kernels_contain():
    """The rest of a program runs elsewhere; a default is for CPUs."""

    def fn(x):
        return np.tanh(np.exp(x) * 2) + 1

    limits = Limits("no tanh", lambda p, dtypes: p.name != "tanh")
    lowered = tj.jit(fn).trace(X).lower(limits)
    assert len(lowered.kernels) == 2
    assert {note.partition(":")[0] for note in lowered.notes} == {"EXTERN"}
    assert len(tj.jit(fn).trace(X).lower().kernels) == 1


def test_every_reason_is_documented_and_tested():
    documented = set(re.findall(r"^\| `(\w+)` \|", DOCS.read_text("utf-8"), re.M))
    assert documented == {r.name for r in Refusal}
    assert {*REFUSED, Refusal.SIZE} == set(Refusal)


def test_nothing_to_say_where_all_is_one_kernel():
    lowered = tj.jit(lambda x: np.exp(x - x.max(1, keepdims=True))).lower(X)
    assert len(lowered.kernels) == 1
    assert lowered.notes == ()


TWICE = """graph @f(%x: f32[64]) -> (f32[64], f32[64]) {
  %0: f32[64] = mul %x, 2.0
  %1: f32[64] = sort %0 {axis=0}
  %2: f32[64] = add %0, %1
  %3: f32[64] = rev %0 {axes=(0)}
  %4: f32[64] = sub %3, %1
  return %2, %4
}"""


def test_cheap_values_are_repeated_and_stored_once_where_memory_is_needed():
    graph = parse_graph(TWICE)
    fused = fuse_with(ANY)(graph, PassContext())
    verify(fused)
    assert [e.primitive.name for e in fused.eqns] == ["fusion", "sort", "fusion"]
    x = np.linspace(-1, 1, 64, dtype=np.float32)
    for got, want in zip(evaluate(fused, [x]), evaluate(graph, [x]), strict=True):
        np.testing.assert_array_equal(got, want)


def scaled_in_place(x):
    total = np.sin(np.exp(x)).sum()
    y = np.zeros(1) + (total + 0.5)
    y[[0]] *= total
    return y


def test_a_gather_waits_for_a_source_that_is_made_of_a_scalar():
    """Its kernel cannot be that of the scalar, though both have one element."""
    x = np.array([0.3])
    np.testing.assert_allclose(tj.jit(scaled_in_place)(x), scaled_in_place(x), 1e-14)


def test_dependencies_hold_through_merges():
    d = Dependencies()
    a, b, c, e = (d.new() for _ in range(4))
    d.add(b, a)
    d.add(c, b)
    assert d.depends(c, a)
    assert not d.can_merge(a, c)  # b stands between
    assert d.can_merge(a, b)
    d.merge(a, b)
    assert d.depends(c, a)
    d.add(e, c)
    assert d.depends(e, a)
    assert not d.can_merge(a, e)


def test_what_a_loop_reads_by_turns_is_in_memory():
    def f(x):
        numbers = np.stack([np.sin(x * 0.5), x * 0.25])
        return tj.scan(lambda c, z: (np.sin(z * 1.5) - c, None), x, numbers)[0] * 0.5

    x = np.float64(0.7)
    assert tj.jit(f)(x) == pytest.approx(f(x), rel=1e-14)
