"""`debug.diff`: equal up to names, else the equations that differ, aligned."""

import pytest

from tracejit.debug.diff import diff
from tracejit.ir.parser import parse_graph

TEXT = """graph @f(%x: f32[4], %y: f32[4]) -> (f32[4]) {
  %0: f32[4] = sub %x, %y  ; a.py:1
  %1: f32[4] = exp %0  ; a.py:2
  %2: f32[4] = sub %1, 0.5  ; a.py:3
  %3: f32[4] = mul %2, %2  ; a.py:4
  %4: f32[4] = sub %3, %x  ; a.py:5
  return %4
}"""
LOOP = """graph @f(%x: f32[4]) -> (f32[4]) {
  %0: f32[4] = scan %x {body=graph @turn(%c: f32[4]) -> (f32[4]) {
      %0: f32[4] = sin %c
      %1: f32[4] = mul %0, 0.5
      return %1
    }, length=3, reverse=false, consts=0, carries=1, unroll=1}
  return %0
}"""


def changed(*pairs: tuple[str, str], text: str = TEXT) -> list[str]:
    other = text
    for old, new in pairs:
        assert old in other
        other = other.replace(old, new)
    return diff(parse_graph(text), parse_graph(other)).as_text().split("\n")


def test_graphs_equal_up_to_names_and_lines_are_equal():
    assert diff(parse_graph(TEXT), parse_graph(TEXT)).is_equal
    pairs = (("%x", "%first"), ("%1", "%other"), ("a.py", "b.py"), ("@f", "@g"))
    assert changed(*pairs) == [""]


@pytest.mark.parametrize(
    ("pairs", "lines"),
    [
        (
            [("exp", "sin")],
            [
                "- %1: f32[4] = exp %0  ; a.py:2",
                "+ %1: f32[4] = sin %0  ; a.py:2",
            ],
        ),
        (
            [("exp", "sin"), ("mul %2, %2", "add %2, 1.0")],
            [
                "- %1: f32[4] = exp %0  ; a.py:2",
                "+ %1: f32[4] = sin %0  ; a.py:2",
                "- %3: f32[4] = mul %2, %2  ; a.py:4",
                "+ %3: f32[4] = add %2, 1.0  ; a.py:4",
            ],
        ),
        (
            [("  %1: f32[4] = exp %0  ; a.py:2\n", ""), ("sub %1", "sub %0")],
            [
                "- %1: f32[4] = exp %0  ; a.py:2",
                "- %2: f32[4] = sub %1, 0.5  ; a.py:3",
                "+ %2: f32[4] = sub %0, 0.5  ; a.py:3",
            ],
        ),
        (
            [("  %3:", "  %9: f32[4] = tanh %2  ; a.py:9\n  %3:")],
            ["+ %5: f32[4] = tanh %2  ; a.py:9"],
        ),
        ([("return %4", "return %3")], ["- return %4", "+ return %3"]),
        (
            [("sub %3, %x", "sub %x, %3")],
            [
                "- %4: f32[4] = sub %3, %x  ; a.py:5",
                "+ %4: f32[4] = sub %x, %3  ; a.py:5",
            ],
        ),
    ],
)
def test_changed_equations_stand_alone(pairs, lines):
    assert changed(*pairs) == lines


def test_sub_graphs_show_what_changed_inside_of_them():
    assert changed(("sin %c", "cos %c"), text=LOOP) == [
        "  %0: f32[4] = scan %x, inside of it:",
        "-   %0: f32[4] = sin %c",
        "+   %0: f32[4] = cos %c",
    ]


def test_lines_are_those_inside_of_sub_graphs():
    before, after = (
        parse_graph(LOOP.replace("sin %c", f"{name} %c  ; a.py:2"))
        for name in ("sin", "cos")
    )
    assert diff(before, after).source == ("a.py:2",)


def test_other_types_of_inputs_are_said():
    found = diff(parse_graph(TEXT), parse_graph(TEXT.replace("f32[4]", "f32[5]")))
    assert found.types == ("- inputs: f32[4], f32[4]", "+ inputs: f32[5], f32[5]")
    assert not found.is_equal


def test_one_change_among_many_equations_is_one_change():
    rows = [f"  %{k + 1}: f32[4] = sin %{k}" for k in range(2000)]
    head = "graph @f(%x: f32[4]) -> (f32[4]) {\n  %0: f32[4] = exp %x\n"
    text = "\n".join([head.rstrip(), *rows, "  return %2000", "}"])
    assert changed(("%1001: f32[4] = sin", "%1001: f32[4] = cos"), text=text) == [
        "- %1001: f32[4] = sin %1000",
        "+ %1001: f32[4] = cos %1000",
    ]
