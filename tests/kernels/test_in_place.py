"""Which kernels may write over what they read."""

import pytest

from tracejit.kernels.in_place import can_write_in_place
from tracejit.kernels.parser import parse_kernel

POINTWISE = """\
kernel @k(%x: f32[4,6], %y: f32[6]) -> (%out: f32[4,6]) axes(i: 4, j: 6) {
  %a{i,j} = load %x[i, j]
  %b{j} = load %y[j]
  store %out[i, j] = %a * %b
}
"""
PART = """\
kernel @k(%x: f32[4,6]) -> (%out: f32[2,6]) axes(i: 2, j: 6) {
  %a{i,j} = load %x[i + 1, j]
  store %out[i, j] = %a * 2.0
}
"""
PRODUCT = """\
kernel @k(%x: f32[4,5], %w: f32[5,6], %c: f32[4,6]) -> (%out: f32[4,6]) axes(i: 4, j: 6, k: 5) {
  %a{i,k} = load %x[i, k]
  %b{j,k} = load %w[k, j]
  %p{i,j} = contract over k: %a * %b
  %d{i,j} = load %c[i, j]
  store %out[i, j] = %p + %d
}
"""  # noqa: E501
ROW_PRODUCT = """\
kernel @k(%x: f32[4], %w: f32[4,5], %c: f32[5]) -> (%out: f32[4]) axes(i: 4, k: 5) {
  %a{i} = load %x[i]
  %b{i,k} = load %w[i, k]
  %d{i,k} = %a * %b
  %e{k} = load %c[k]
  %p{i} = contract over k: %d * %e
  store %out[i] = %p + 1.0
}
"""
SUM = """\
kernel @k(%x: f32[4,6]) -> (%out: f32[4,6]) axes(i: 4, j: 6) {
  %a{i,j} = load %x[i, j]
  %s{i} = reduce add over j: %a
  store %out[i, j] = %a - %s
}
"""


def case(text: str, *changes: tuple[str, str]) -> str:
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


CASES = {
    "pointwise": (POINTWISE, "x", 0, True),
    "another dtype": (
        case(POINTWISE, ("%x: f32", "%x: f64"), ("%y: f32", "%y: f64")),
        "x",
        0,
        False,
    ),
    "broadcast": (POINTWISE, "y", 0, False),
    "another element": (
        case(
            POINTWISE,
            ("load %x[i, j]", "load %x[i, j - 1] where 0 <= j - 1 < 6 else 0.0"),
        ),
        "x",
        0,
        False,
    ),
    "other strides": (
        case(POINTWISE, ("%x: f32[4,6]", "%x: f32[4,6] strides(1,4)")),
        "x",
        0,
        False,
    ),
    "axes in another order, the same place": (
        case(
            POINTWISE,
            ("%x: f32[4,6]", "%x: f32[6,4] strides(1,6)"),
            ("load %x[i, j]", "load %x[j, i]"),
        ),
        "x",
        0,
        True,
    ),
    "read again after it is written": (
        case(POINTWISE, ("%a * %b\n", "%a * %b\n  %c{i,j} = load %x[i, j]\n")),
        "x",
        0,
        False,
    ),
    "the part that is written": (PART, "x", 6, True),
    "the part before": (PART, "x", 0, False),
    "what follows a product": (PRODUCT, "c", 0, True),
    "what is stored as it is multiplied": (
        case(PRODUCT, ("%p + %d", "%p")),
        "c",
        0,
        False,
    ),
    "an operand of the product": (
        case(
            PRODUCT,
            ("%x: f32[4,5]", "%x: f32[4,6]"),
            ("%w: f32[5,6]", "%w: f32[6,6]"),
            ("k: 5", "k: 6"),
        ),
        "x",
        0,
        False,
    ),
    "the element itself, where it counts": (
        case(POINTWISE, ("load %x[i, j]", "load %x[i, j] where 0 <= j < 5 else 0.0")),
        "x",
        0,
        False,
    ),
    "the element itself, for the product too": (ROW_PRODUCT, "x", 0, False),
    "a sum": (SUM, "x", 0, False),
}


@pytest.mark.parametrize("name", CASES)
def test_kernels(name: str) -> None:
    text, source, ahead, expected = CASES[name]
    kernel, _ = parse_kernel(text)
    assert can_write_in_place(kernel, source, "out", ahead) is expected
