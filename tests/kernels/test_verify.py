"""Each numbered invariant of kernels, broken; and index ranges, right and wrong."""

import itertools
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracejit.errors import VerifyError
from tracejit.ir.ops.elementwise import sub_p
from tracejit.ir.ops.reduce import cumsum_p
from tracejit.ir.primitive import Kind, Primitive
from tracejit.kernels import verify as verifier
from tracejit.kernels.kernel import (
    Compute,
    Kernel,
    KernelOp,
    Store,
    Value,
)
from tracejit.kernels.maps import (
    Affine,
    AxisIndex,
    FloorDiv,
    Mod,
    ValueIndex,
    axis,
)
from tracejit.kernels.parser import parse_kernel
from tracejit.kernels.ranges import (
    MOST,
    evaluated,
    is_in_range,
    range_of,
    stores_each_once,
)
from tracejit.kernels.schedule import Placement, Role, Schedule
from tracejit.kernels.verify import verify_kernel

TEXT = """\
kernel @f(%x: f32[4,8], %n: i64[4], %w: f32[8,3]) -> (%y: f32[4,8], %z: f32[4,3]) \
axes(i: 4, j: 8, k: 3) {  ; model.py:3
  schedule i: grid, j: vector, k: sequential, scratch %e
  %r{i} = load %n[i]
  %a{i,j} = load %x[%r, j] check(0)
  %p{i,j} = load %x[i, j - 1] where 0 <= j - 1 < 7 else 0.0
  %m{i} = reduce max over j: %a
  %e{i,j} = exp(%a - %m)
  %t{i,j}: i32 = iota j + 8*i
  %l{j,k} = load %w[j, k]
  %c{i,k} = contract over j: %p * %l
  store %y[i, j] = %e
  store %z[i, k] = %c
}
"""


def parsed(text: str = TEXT) -> tuple[Kernel, Schedule]:
    kernel, schedule = parse_kernel(text)
    assert schedule is not None
    return kernel, schedule


def check_breaks(
    number: str, kernel: Kernel, message: str, schedule: Schedule | None = None
) -> None:
    with pytest.raises(VerifyError) as error:
        verify_kernel(kernel, schedule)
    text = str(error.value)
    assert f"invariant {number} is broken in kernel @f: " in text
    assert message in text
    assert text.endswith("at model.py:3")


def edited(name: str, **changes: object) -> Kernel:
    """Return the kernel with fields of one operation changed.

    An operation goes by the value that it binds or the buffer that it writes.
    """
    kernel, _ = parsed()
    body = [replace(op, **changes) if named(op) == name else op for op in kernel.body]
    assert any(named(op) == name for op in kernel.body)
    return replace(kernel, body=tuple(body))


def named(op: KernelOp) -> str:
    return op.buffer if isinstance(op, Store) else op.result.name


def operation(name: str) -> KernelOp:
    return next(op for op in parsed()[0].body if named(op) == name)


def value(name: str) -> Value:
    op = operation(name)
    assert not isinstance(op, Store)
    return op.result


def test_a_valid_kernel_is_returned():
    kernel, schedule = parsed()
    assert verify_kernel(kernel, schedule) is kernel
    assert verify_kernel(kernel) is kernel


# What a change of the text breaks: the invariant, what is changed to what, and how the
# message goes on.
TEXTS = [
    ("K1", "k: 3)", "k: -3)", "axis k has extent -3"),
    ("K1", "k: 3)", "k: 3, i: 2)", "axis i is bound 2 times"),
    ("K2", "%n: i64[4]", "%n: i64[4] strides(1,1)", "%n has shape [4] and strides"),
    ("K2", "%z: f32[4,3]", "%z: f32[4,3] strides(1,1)", "of output %z share places"),
    ("K4", "load %x[%r, j]", "load %x[%r, h]", "h names h, which is no axis"),
    ("K4", "load %w[j, k]", "load %w[j, (k // 0)]", "divides by 0"),
    ("K4", "load %w[j, k]", "load %w[j + j, k]", "j + j has a term twice"),
    ("K4", "iota j + 8*i", "iota j + 0*i", "a term twice or zero times"),
    ("K5", "%l{j,k} = load %w", "%l{j,k} = load %y", "%y is no input"),
    ("K5", "store %z[i, k]", "store %w[i, k]", "%w is no output"),
    ("K5", "load %w[j, k]", "load %w[j, k, i]", "3 indices for the 2 axes of %w"),
    ("K6", "load %w[j, k]", "load %w[j + 1, k]", "axis 0 of %w may be outside of"),
    ("K6", "load %w[j, k]", "load %w[j, k - 1]", "outside of [0, 3)"),
    ("K6", "j] check(0)", "j]", "index %r of axis 0 of %x may be outside of [0, 4)"),
    ("K6", "0 <= j - 1 < 7", "0 <= j < 7", "index j - 1 of axis 1 of %x may be"),
    ("K6", "store %z[i, k]", "store %z[i + 1, k]", "index i + 1 of axis 0 of %z"),
    ("K7", "check(0)", "check(2)", "there is no axis 2 of %x to check"),
    ("K7", " else 0.0", "", "bounds and a fill go together"),
    ("K7", "[j, k]\n  %c", "[j, k] else 1.0\n  %c", "bounds and a fill go together"),
    ("K7", "[%r, j] check(0)", "[i, j] clip()", "nothing is clipped"),
    ("K8", "%m{i} =", "%m{i,k} =", "%m varies along {i, k}, expected {i}"),
    ("K8", "%e{i,j} =", "%e{j} =", "%e varies along {j}, expected {i, j}"),
    ("K8", "%a{i,j} =", "%a{j} =", "%a varies along {j}, expected {i, j}"),
    ("K8", "%p{i,j} =", "%p{i} =", "%p varies along {i}, expected {i, j}"),
    ("K8", "%t{i,j}:", "%t{j}:", "%t varies along {j}, expected {i, j}"),
    ("K8", "%c{i,k} =", "%c{i} =", "%c varies along {i}, expected {i, k}"),
    ("K9", "max over j:", "max over k:", "k is no axis of what is reduced"),
    ("K9", "max over j:", "max over j, j:", "axes (j, j) have one twice"),
    ("K9", "contract over j:", "contract over k:", "k is no axis of what is reduced"),
    ("K10", "else 0.0", "else 0.0:f64", "the fill of a load of float32 is float64"),
    ("K10", "%a{i,j} =", "%a{i,j}: f64 =", "%a is float64, expected float32"),
    ("K10", "%e{i,j} =", "%e{i,j}: f64 =", "%e is float64, expected float32"),
    ("K10", "%c{i,k} =", "%c{i,k}: f64 =", "%c is float64, expected float32"),
    ("K10", "%t{i,j}: i32", "%t{i,j}: f32", "an index is given as float32"),
    ("K10", "%w: f32", "%w: f64", "operands are float32 and float64"),
    ("K10", "%y: f32", "%y: f64", "float32 is stored to %y of float64"),
    ("K11", "reduce max", "reduce mean", "there is no reduction 'mean'"),
    ("K12", "store %z[i, k]", "store %z[i, 0]", "varies along k, its place does not"),
    ("K12", "store %z[i, k] = %c", "store %z[i, 0] = 1.0", "%z is stored once"),
    ("K12", "store %z[i, k] = %c\n", "", "not every element of %z is stored once"),
    ("K12", "[i, k] = %c\n", "[i, k] = %c\n store %z[i, k] = 0.0\n", "stored once"),
    ("K12", "store %y[i, j]", "store %y[%r, j]", "%r is known at run time only"),
]


@pytest.mark.parametrize(("number", "old", "new", "message"), TEXTS)
def test_broken_text(number: str, old: str, new: str, message: str):
    assert TEXT.count(old) == 1
    check_breaks(number, parsed(TEXT.replace(old, new))[0], message)


def test_k1_value_is_bound_twice():
    kernel = edited("l", result=replace(value("l"), name="a"))
    check_breaks("K1", kernel, "%a is bound twice")


def test_k1_buffer_is_bound_twice():
    kernel, _ = parsed()
    x = kernel.inputs[0]
    kernel = replace(kernel, inputs=(x, x, *kernel.inputs[1:]))
    check_breaks("K1", kernel, "buffer x is bound 2 times")


def test_k1_extent_of_a_buffer_is_negative():
    kernel, _ = parsed()
    x = replace(kernel.inputs[0], shape=(4, -8))
    check_breaks("K1", replace(kernel, inputs=(x, *kernel.inputs[1:])), "%x has shape")


def test_k3_operand_is_not_bound():
    ghost = Value("ghost", frozenset("ij"), np.dtype("f4"))
    check_breaks("K3", edited("m", operand=ghost), "%ghost is not bound before its use")


def test_k3_operand_is_bound_later():
    kernel, _ = parsed()
    names = [named(op) for op in kernel.body]
    at, to = names.index("m"), names.index("a")
    body = list(kernel.body)
    body.insert(to, body.pop(at))
    check_breaks("K3", replace(kernel, body=tuple(body)), "%a is not bound before")


def test_k3_operand_is_not_the_value_of_its_name():
    other = replace(value("a"), dtype=np.dtype("f8"))
    check_breaks("K3", edited("m", operand=other), "%a is read as")


def test_k3_index_is_not_bound():
    ghost = Affine(((ValueIndex("ghost"), 1),))
    kernel = edited("a", map=(ghost, axis("j")))
    check_breaks("K3", kernel, "%ghost is not bound before its use as an index")


def test_k4_index_is_no_integer():
    real = Affine(((ValueIndex("m"), 1),))
    kernel = edited("l", map=(real, axis("k")))
    check_breaks("K4", kernel, "the index %m is of dtype float32")


def test_k4_inside_of_divisions():
    inner = Affine(((AxisIndex("h"), 1),))
    kernel = edited("l", map=(Affine(((Mod(inner, 4), 1),)), axis("k")))
    check_breaks("K4", kernel, "names h, which is no axis")


def test_k8_axes_of_a_value_that_is_an_index_count():
    ghost = replace(value("a"), axes=frozenset("j"))
    check_breaks("K8", edited("a", result=ghost), "expected {i, j}")


def test_k9_no_axes():
    check_breaks("K9", edited("m", axes=()), "no axis is reduced")


def test_k11_only_products_are_added_unrounded():
    said = "what is added unrounded is no product of floats"
    check_breaks("K11", edited("m", unrounded=True), said)


def test_k10_result_of_a_reduction():
    wrong = replace(value("m"), dtype=np.dtype("f8"))
    check_breaks("K10", edited("m", result=wrong), "%m is float64, expected float32")


def test_k10_operands_do_not_go_together():
    kernel, _ = parsed()
    result = Value("d", frozenset("ij"), np.dtype("f4"))
    wrong = Compute(result, sub_p, (value("a"), value("t")), {})
    kernel = replace(kernel, body=(*kernel.body, wrong))
    check_breaks("K10", kernel, "sub takes operands of one dtype")


def test_k11_primitive_is_not_elementwise():
    kernel = edited("e", primitive=cumsum_p, params={"axis": 0, "reverse": False})
    check_breaks("K11", kernel, "cumsum is not elementwise")


def test_k11_primitive_is_another_of_that_name():
    exp = operation("e")
    assert isinstance(exp, Compute)
    fake = Primitive(
        "exp", exp.primitive.abstract_eval, exp.primitive.impl, kind=Kind.ELEMENTWISE
    )
    check_breaks("K11", edited("e", primitive=fake), "is not the registered primitive")


def test_k11_params():
    check_breaks("K11", edited("e", params={"fast": True}), "params ['fast'], expected")


@pytest.mark.parametrize(
    ("number", "changes", "message"),
    [
        ("K13", {"loops": ("i", "j")}, "loops over i, j, axes i, j, k"),
        ("K13", {"loops": ("i", "j", "k", "k")}, "loops over i, j, k, k"),
        ("K13", {"roles": {"i": Role.GRID, "j": Role.VECTOR}}, "roles for i, j"),
        ("K13", {"roles": dict.fromkeys("ijk", Role.VECTOR)}, "3 axes are vectors"),
        ("K13", {"roles": dict.fromkeys("ijk", Role.GRID)}, "grid axis j is reduced"),
        ("K14", {"placements": {"q": Placement.SCRATCH}}, "no value %q to be placed"),
        ("K14", {"placements": {"l": Placement.BLOCK}}, "%l of a block varies along k"),
    ],
)
def test_broken_schedule(number: str, changes: dict[str, object], message: str):
    kernel, schedule = parsed()
    check_breaks(number, kernel, message, replace(schedule, **changes))


def test_k13_tiles_without_contraction():
    text = re.sub(r"  %c.*\n|  store %z.*\n|, %z: f32\[4,3\]", "", TEXT)
    kernel, schedule = parsed(text.replace("k: sequential", "k: tile"))
    check_breaks("K13", kernel, "there are tiles, but no contraction", schedule)


def test_every_invariant_has_a_test():
    numbers = re.findall(r"^(K\d+) ", verifier.__doc__ or "", re.M)
    here = Path(__file__)
    files = here, here.with_name("test_repeat.py")
    source = "".join(file.read_text("utf-8") for file in files)
    assert numbers == [f"K{i}" for i in range(1, len(numbers) + 1)]
    assert all(f'"{number}"' in source for number in numbers)


def test_error_shows_the_operation_its_neighbours_and_the_line():
    with pytest.raises(VerifyError) as error:
        verify_kernel(parsed(TEXT.replace("%m{i} =", "%m{i,k} ="))[0])
    assert str(error.value) == (
        "invariant K8 is broken in kernel @f: %m varies along {i, k}, expected {i}\n"
        "    %p{i,j}: f32 = load %x[i, j - 1] where 0 <= j - 1 < 7 else 0.0\n"
        "  > %m{i,k}: f32 = reduce max over j: %a\n"
        "    %e0{i,j,k}: f32 = %a - %m\n"
        "  at model.py:3"
    )
    assert error.value.equation == 3


# --- ranges -----------------------------------------------------------------------

AT_I, AT_J = axis("i"), axis("j")
EXTENTS = {"i": 6, "j": 5}


def div(index: Affine, by: int) -> Affine:
    return Affine(((FloorDiv(index, by), 1),))


def rem(index: Affine, by: int) -> Affine:
    return Affine(((Mod(index, by), 1),))


@pytest.mark.parametrize(
    ("index", "extent", "limits", "expected"),
    [
        (AT_I, 6, [], True),
        (AT_I, 5, [], False),
        (AT_I + -1, 6, [], False),
        (AT_I * -1 + 5, 6, [], True),
        (AT_I * 5 + AT_J, 30, [], True),
        (AT_I * 5 + AT_J, 29, [], False),
        (div(AT_I * 5 + AT_J, 10), 3, [], True),
        (rem(AT_I + 3, 4), 4, [], True),
        (rem(AT_I, 4), 3, [], False),
        (AT_I + -2, 3, [(AT_I + -2, 3)], True),
        (AT_I + -2, 2, [(AT_I + -2, 3)], False),
        (AT_I * 2 + -3, 6, [(AT_I + -2, 3)], True),  # 2 (i - 2) + 1 in [1, 5]
        (div(AT_I + -3, 2), 2, [(AT_I + -3, 4)], True),
        (AT_I + AT_J + -3, 6, [(AT_I + -1, 2), (AT_J + -2, 3)], True),
        (AT_I, 1, [(AT_I, 0)], True),  # never
        (AT_I + div(AT_I, 2) * -2, 2, [], True),  # terms go together: counted out
        (AT_I + div(AT_I, 2) * -2, 1, [], False),
    ],
)
def test_is_in_range(index: Affine, extent: int, limits: list, expected: bool):
    assert is_in_range(index, extent, EXTENTS, limits) is expected


def test_many_positions_are_sampled():
    far = {"i": 10 * MOST, "j": MOST}
    index = AT_I + div(AT_I, 2) * -2
    assert is_in_range(index, 2, far, [])
    assert not is_in_range(index + AT_J * 3, 2, far, [])


@st.composite
def indices(draw: st.DrawFn, depth: int = 2) -> Affine:
    index = Affine((), draw(st.integers(-6, 6)))
    for name in "ij":
        index = index + axis(name) * draw(st.integers(-3, 3))
    if depth and draw(st.booleans()):
        inner, by = draw(indices(depth - 1)), draw(st.integers(1, 5))
        index = index + draw(st.sampled_from([div, rem]))(inner, by) * draw(
            st.integers(-2, 2)
        )
    return index


@given(indices(), st.lists(st.tuples(indices(1), st.integers(1, 8)), max_size=2))
def test_ranges_hold_for_every_position(index: Affine, limits: list):
    low, high = range_of(index, EXTENTS, limits)
    for i, j in itertools.product(range(6), range(5)):
        at = {"i": np.asarray(i), "j": np.asarray(j)}
        if all(0 <= evaluated(e, at) < n for e, n in limits):
            assert low <= evaluated(index, at) <= high


@pytest.mark.parametrize(
    ("maps", "shape", "expected"),
    [
        ([(AT_I, AT_J)], (6, 5), True),
        ([(AT_J, AT_I)], (5, 6), True),
        ([(AT_I, AT_I)], (6, 6), False),
        ([(AT_I, Affine())], (6, 1), True),
        ([(AT_I * 5 + AT_J,)], (30,), True),
        ([(AT_I * 4 + AT_J,)], (30,), False),
        ([(AT_I * -1 + 5,)], (6,), True),
        ([(AT_I,), (AT_J + 6,)], (11,), True),
        ([(AT_I,), (AT_J + 5,)], (11,), False),
        ([(div(AT_I, 2), rem(AT_I, 2))], (3, 2), True),
        ([()], (), True),
        ([], (), False),
        ([], (0, 3), True),
    ],
)
def test_stores_each_once(maps: list, shape: tuple[int, ...], expected: bool):
    assert stores_each_once(maps, shape, EXTENTS) is expected
