"""The text form of kernels: what is printed parses to the same kernel."""

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given

from tracejit.errors import IndexRangeError, ParseError
from tracejit.kernels.interp import run_kernel
from tracejit.kernels.kernel import (
    Compute,
    Contract,
    Iota,
    Kernel,
    KernelOp,
    Load,
    Operand,
    Reduce,
    Store,
    Value,
    result_of,
)
from tracejit.kernels.maps import (
    Affine,
    AxisIndex,
    FloorDiv,
    IndexAtom,
    Map,
    ValueIndex,
)
from tracejit.kernels.parser import parse_kernel
from tracejit.kernels.printer import format_kernel
from tracejit.kernels.schedule import Schedule
from tracejit.kernels.tree import tree_sum
from tracejit.kernels.verify import verify_kernel

from .random_kernels import kernels

Names = Mapping[str, str]


def structure(kernel: Kernel, schedule: Schedule | None) -> object:
    """Return all of a kernel with values numbered in order, to be compared."""
    bound = [v.name for v in map(result_of, kernel.body) if v is not None]
    names = {name: f"v{i}" for i, name in enumerate(bound)}
    body = tuple(_operation(op, names) for op in kernel.body)
    head = (kernel.name, kernel.inputs, kernel.outputs, kernel.axes, kernel.source)
    if schedule is None:
        return head, body
    kept = [(names[n], p) for n, p in schedule.placements.items()]
    return head, body, (schedule.loops, dict(schedule.roles), kept)


def _operation(op: KernelOp, names: Names) -> object:
    result = result_of(op)
    head = (type(op), None if result is None else _operand(result, names))
    if isinstance(op, Load):
        bounds = tuple((_index(b.index, names), b.extent) for b in op.bounds)
        fill = None if op.fill is None else _operand(op.fill, names)
        rest = (op.buffer, _map(op.map, names), bounds, fill, op.check, op.clip)
    elif isinstance(op, Store):
        rest = (op.buffer, _map(op.map, names), _operand(op.value, names))
    elif isinstance(op, Compute):
        operands = tuple(_operand(x, names) for x in op.operands)
        rest = (op.primitive, operands, dict(op.params))
    elif isinstance(op, Iota):
        rest = (_index(op.index, names),)
    elif isinstance(op, Reduce):
        rest = (op.op, op.axes, _operand(op.operand, names))
    else:
        assert isinstance(op, Contract)
        rest = (op.axes, _operand(op.lhs, names), _operand(op.rhs, names))
    return head, rest


def _operand(x: Operand, names: Names) -> object:
    if isinstance(x, Value):
        return names[x.name], x.axes, x.dtype
    return np.asarray(x.value).tobytes(), x.aval


def _map(at: Map, names: Names) -> object:
    return tuple(_index(i, names) for i in at)


def _index(index: Affine, names: Names) -> object:
    return tuple((_atom(a, names), c) for a, c in index.terms), index.constant


def _atom(atom: IndexAtom, names: Names) -> object:
    if isinstance(atom, AxisIndex):
        return atom
    if isinstance(atom, ValueIndex):
        return names[atom.value]
    return isinstance(atom, FloorDiv), _index(atom.inner, names), atom.divisor


@given(kernels())
def test_random_kernels_round_trip(case: tuple[Kernel, Schedule]):
    kernel, schedule = case
    verify_kernel(kernel, schedule)
    text = format_kernel(kernel, schedule)
    again, plan = parse_kernel(text)
    assert structure(again, plan) == structure(kernel, schedule)
    assert format_kernel(again, plan) == text


@given(kernels())
def test_kernels_without_schedule_round_trip(case: tuple[Kernel, Schedule]):
    kernel, _ = case
    again, plan = parse_kernel(format_kernel(kernel))
    assert plan is None
    assert structure(again, None) == structure(kernel, None)


@given(kernels())
def test_parsed_kernels_compute_the_same(case: tuple[Kernel, Schedule]):
    kernel, schedule = case
    again, _ = parse_kernel(format_kernel(kernel, schedule))
    assert results(again) == results(kernel)


def results(kernel: Kernel) -> list[bytes] | str:
    """Return what a kernel stores, or the error it ends in."""
    rng = np.random.default_rng(7)
    ins = [rng.integers(0, 3, b.shape).astype(b.dtype) for b in kernel.inputs]
    outs = [np.zeros(b.shape, b.dtype) for b in kernel.outputs]
    try:
        run_kernel(kernel, ins, outs)
    except IndexRangeError as error:
        return str(error)
    return [out.tobytes() for out in outs]


TEXT = """\
kernel @f(%x: f32[2,3]) -> (%y: f32[2]) axes(i: 2, j: 3) {
  schedule i: grid, j: vector
  %a{i,j} = load %x[i, j]
  %s{i} = reduce add over j: exp(%a * 2.0)
  store %y[i] = %s
}"""


def test_expressions_are_nested():
    assert format_kernel(*parse_kernel(TEXT)) == TEXT


def test_sums_of_unrounded_products():
    text = TEXT.replace("add over j: exp(", "add unrounded over j: (")
    text = text.replace("j: (%a * 2.0)", "j: %a * 2.0")
    kernel, schedule = parse_kernel(text)
    assert format_kernel(kernel, schedule) == text
    x, out = np.float32([[1.1, 2.3, 0.7], [3.1, 1e-3, 7.7]]), np.zeros(2, "f4")
    run_kernel(kernel, [x], [out])
    np.testing.assert_array_equal(out, tree_sum(x, np.full_like(x, 2.0)))


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ("load %x", "load %q", "3:18: expected a buffer of the kernel, found '%q'"),
        ("%a * 2.0", "%b * 2.0", "4:34: expected a value bound before, found '%b'"),
        ("%a * 2.0", "%a ** 2.0", "expected"),
        ("reduce add over", "reduce add", "expected 'over'"),
        ("exp(%a", "sort(%a", "expected a value or an elementwise primitive"),
        ("%s{i} =", "%a{i} =", "expected a name that is not bound yet, not %a"),
        ("f32[2,3]", "f31[2,3]", "f31"),
        ("j: vector", "j: lanes", "2:24: expected grid, sequential, vector or tile"),
        (
            "j: vector",
            "keep %a",
            "2:21: expected recompute, scratch or block, found 'keep'",
        ),
    ],
)
def test_wrong_text_is_refused(old: str, new: str, place: str):
    assert TEXT.count(old) == 1
    with pytest.raises(ParseError) as error:
        parse_kernel(TEXT.replace(old, new))
    found = error.value
    message = f"{found.line}:{found.column}: {found.message}"
    assert place in message
    assert found.line
