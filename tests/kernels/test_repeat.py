"""Loops in kernels: text, meaning, and what the verifier finds."""

import numpy as np
import pytest

from tracejit.errors import VerifyError
from tracejit.kernels.interp import run_kernel
from tracejit.kernels.joining import with_joined_axes, with_offsets
from tracejit.kernels.parser import parse_kernel
from tracejit.kernels.parts import joined, parts_of
from tracejit.kernels.printer import format_kernel
from tracejit.kernels.verify import verify_kernel

TEXT = """\
kernel @f(%x: f32[2,3], %c: f32[4]) -> (%y: f32[2,3], %n: i64[2,3]) axes(i: 2, j: 3) {
  schedule i: grid, j: vector
  %v0{i,j} = load %x[i, j]
  %v9{i,j} = repeat %t < 4 with %a{i,j}: f32 = %v0, %b{i,j}: i64 = 0, %k: f32 = 1.0 {
    %v1 = load %c[-%t + 3] clip(0)
    %v2 = iota %t
    %v3{i,j} = (%a * %v0) + %v1
    %v4{i,j} = %b + %v2
    %v5 = %k * 2.0
  } next %v3, %v4, %v5
  %v6{i,j}: i64 = carried 1 of %v9
  %v7: f32 = carried 2 of %v9
  store %y[i, j] = %v9 + %v7
  store %n[i, j] = %v6
}"""


def test_text_is_parsed():
    kernel, schedule = parse_kernel(TEXT)
    verify_kernel(kernel, schedule)
    assert format_kernel(kernel, schedule) == TEXT


def expected(x, c):
    a = x
    for number in c[::-1]:
        a = a * x + number
    return a + 16, np.full(x.shape, 6)


def check(kernel, copies=1):
    x, c = np.arange(6, dtype=np.float32).reshape(2, 3), np.ones(4, np.float32)
    outs = [np.zeros((2, 3), np.float32), np.zeros((2, 3), np.int64)]
    run_kernel(kernel, [x, c] * copies, [o for _ in range(copies) for o in outs])
    for found, want in zip(outs, expected(x, c), strict=True):
        np.testing.assert_array_equal(found, want)


def test_turns_follow_one_another():
    check(parse_kernel(TEXT)[0])


def test_axes_are_joined_in_loops_too():
    kernel, schedule = parse_kernel(TEXT)
    flat, loops = with_joined_axes(with_offsets(kernel), schedule.loops)
    assert loops == ("j",)
    assert "%b{j}: i64" in format_kernel(flat)


def test_parts_have_loops_of_their_own():
    kernel, schedule = parse_kernel(TEXT)
    both, order = joined("g", [(kernel, schedule)] * 2)
    verify_kernel(both, order)
    check(both, copies=2)
    first, second = parts_of(both, order)
    for part, plan in (first, second):
        verify_kernel(part, plan)
        assert len(part.inputs) == 2


@pytest.mark.parametrize(
    ("number", "old", "new", "message"),
    [
        ("K15", "< 4 with", "< 0 with", "a loop runs 0 times"),
        ("K15", "%k: f32 = 1.0", "%k: f32 = 1:i64", "%k is float32, and made int64"),
        ("K15", "%k: f32 = 1.0", "%k: f32 = %v0", "%v0 varies along other axes"),
        ("K15", "next %v3, %v4, %v5", "next %v3, %v4, %v3", "%v3 varies along other"),
        ("K15", "carried 2 of", "carried 3 of", "there is no carry 3 of %v9"),
        ("K15", "carried 2 of %v9", "carried 2 of %v0", "there is no carry 2 of %v0"),
        ("K15", "%c[-%t + 3] clip(0)", "%c[i] clip(0)", "at places along axes"),
        ("K6", "%c[-%t + 3] clip(0)", "%c[-%t + 3]", "may be outside of [0, 4)"),
        ("K3", "%y[i, j] = %v9 + %v7", "%y[i, j] = %a", "%a is not bound"),
        ("K3", "%y[i, j] = %v9 + %v7", "%y[i, j] = %v3", "%v3 is not bound"),
        ("K8", "%v6{i,j}: i64", "%v6{i}: i64", "%v6 varies along {i}"),
        ("K10", "%v6{i,j}: i64 =", "%v6{i,j}: i32 =", "%v6 is int32, expected int64"),
    ],
)
def test_broken_text(number: str, old: str, new: str, message: str):
    assert TEXT.count(old) == 1
    with pytest.raises(VerifyError) as error:
        verify_kernel(*parse_kernel(TEXT.replace(old, new)))
    assert f"invariant {number} is broken" in str(error.value)
    assert message in str(error.value)
