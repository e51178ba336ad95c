"""Each numbered invariant of programs, broken; what the verifier follows of memory."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tracejit.errors import VerifyError
from tracejit.program import verify as verifier
from tracejit.program.interp import run_program
from tracejit.program.parser import parse_program
from tracejit.program.printer import format_program
from tracejit.program.program import Run
from tracejit.program.verify import joined_axes, verify_program

STEPS = """\
  run @f_k0(%x0) -> (%t5)  ; model.py:3
  extern sort(%v6) -> (%t7) {axis=0}  ; model.py:4
  copy %t7 -> %y2  ; model.py:5
  loop 3 {
    run @f_k0(%t5) -> (%t8)
    copy %t8 -> %t5
  }
  if %p1 {
    copy %c4 -> %y3
  } else {
    extern reduce_sum(%t5) -> (%y3) {axes=(1)}
  }
"""
TEXT = (
    """\
program @f(%x0, %p1) -> (%y2, %y3) arena(128) {
  %x0: f32[2,3] = input 0
  %p1: bool[] = input 1
  %y2: f32[3,2] = output 0
  %y3: f32[2] = output 1
  %c4: f32[2] = constant dense<f32[2]: 1.0 2.0>
  %t5: f32[2,3] = arena 0
  %v6: f32[3,2] strides(1,3) = alias %t5 + 0
  %t7: f32[3,2] = arena 64
  %t8: f32[2,3] = arena 64
"""
    + STEPS
    + """\
}

kernel @f_k0(%in0: f32[2,3]) -> (%out0: f32[2,3]) axes(i: 2, j: 3) {
  schedule i: grid, j: vector
  %v0{i,j} = load %in0[i, j]
  store %out0[i, j] = %v0 * 2.0
}
"""
)


def check_breaks(number: str, text: str, message: str) -> VerifyError:
    with pytest.raises(VerifyError) as error:
        verify_program(parse_program(text))
    assert f"invariant {number} is broken in program @f: " in str(error.value)
    assert message in str(error.value)
    return error.value


def with_steps(steps: str) -> str:
    return TEXT.replace(STEPS, steps)


def test_a_valid_program_is_returned():
    program = parse_program(TEXT)
    assert verify_program(program) is program
    assert format_program(program) == TEXT


@pytest.mark.parametrize("chosen", [True, False])
def test_the_program_computes(chosen: bool):
    x = np.array([[1, -2, 3], [0.5, 0, -1]], np.float32)
    first, second = run_program(parse_program(TEXT), [x, np.asarray(chosen)])
    np.testing.assert_array_equal(first, np.sort((2 * x).T, axis=0))
    want = [1, 2] if chosen else (16 * x).sum(axis=1)
    np.testing.assert_array_equal(second, np.asarray(want, np.float32))


# What a change of the text breaks: the invariant, what is changed to what, and how the
# message goes on.
TEXTS = [
    ("P1", "%t8: f32[2,3]", "%t7: f32[2,3]", "it is declared twice"),
    ("P1", "alias %t5", "alias %t8", "%t8 is not declared before its alias"),
    ("P1", "(%x0, %p1)", "(%x0, %p1, %q)", "input %q is not declared"),
    ("P1", "copy %t7", "copy %q", "%q is not declared"),
    ("P1", "-> (%t8)", "-> (%q)", "%q is not declared"),
    ("P1", "if %p1", "if %q", "%q is not declared"),
    ("P2", "(%y2, %y3)", "(%y3, %y2)", "output 0 is another buffer"),
    ("P2", "= input 1", "= input 2", "input 1 is another buffer"),
    ("P2", "(%y2, %y3)", "(%y2, %t5)", "output 1 is another buffer"),
    ("P2", "(%y2, %y3)", "(%y2)", "it is none of the program's outputs"),
    ("P3", "%x0: f32[2,3]", "%x0: f32[2,3] strides(1)", "do not fit"),
    ("P3", "%x0: f32[2,3]", "%x0: f32[2,-3]", "do not fit"),
    ("P3", "%y2: f32[3,2]", "%y2: f32[3,2] strides(1,4)", "is not one block of memory"),
    ("P3", "%c4: f32[2]", "%c4: f32[3]", "the data of a constant do not fit it"),
    ("P4", "%v6: f32[3,2]", "%v6: f64[3,2]", "its base is of float32"),
    ("P4", "alias %t5 + 0", "alias %t5 + 1", "[1, 7) are not all inside of [0, 6)"),
    ("P4", "strides(1,3)", "strides(-1,3)", "[-2, 4) are not all inside of [0, 6)"),
    (
        "P4",
        "  %t7: f32",
        "  %w9: f32[3] = alias %v6 + 0\n  %t7: f32",
        "its base is an alias",
    ),
    ("P5", "%t5: f32[2,3] = arena 0", "%t5: f32[2,3] = arena 8", "byte 8 is not"),
    ("P5", "%t5: f32[2,3] = arena 0", "%t5: f32[2,3] = arena ?", "byte -1 is not"),
    ("P5", "arena(128)", "arena(64)", "bytes [64, 88) are not inside of 64"),
    ("P8", "copy %t8 -> %t5", "copy %t8 -> %x0", "%x0 is written, but it is an input"),
    ("P8", "-> (%y3)", "-> (%c4)", "%c4 is written, but it is a constant"),
    ("P10", "(%t7) {axis", "(%v6) {axis", "%v6 is written and overlaps %v6"),
    (
        "P10",
        "%t7: f32[3,2] = arena 64",
        "%t7: f32[3,2] = arena 0",
        "%t7 is written and overlaps %v6",
    ),
    ("P11", "copy %t7 -> %y2", "copy %t5 -> %y2", "%y2 is f32[3,2], %t5 f32[2,3]"),
    ("P11", "{axes=(1)}", "{axes=(0)}", "are [f32[2]], expected [f32[3]]"),
    ("P11", "{axes=(1)}", "{axes=(7)}", "axes"),
    ("P11", "loop 3", "loop -1", "a loop runs -1 times"),
    ("P11", "%p1: bool[]", "%p1: i32[]", "the predicate is i32[], expected bool[]"),
    ("P11", "%p1: bool[]", "%p1: bool[1]", "predicate is bool[1], expected bool[]"),
    ("P11", "(%x0) ->", "(%x0, %c4) ->", "2 buffers for 1 parameters of @f_k0"),
    ("P11", "(%x0) ->", "(%c4) ->", "parameter %in0 is float32[2, 3] with strides"),
    ("P11", "%in0: f32", "%in0: f64", "parameter %in0 is float64[2, 3]"),
    ("P12", "out0[i, j]", "out0[i, j - 1]", "invariant K6 is broken in kernel @f_k0"),
    ("P12", "j: vector", "j: sequential, k: vector", "invariant K13 is broken"),
]


@pytest.mark.parametrize(("number", "old", "new", "message"), TEXTS)
def test_broken_text(number: str, old: str, new: str, message: str):
    assert TEXT.count(old) == 1
    check_breaks(number, TEXT.replace(old, new), message)


START = STEPS.partition("  loop")[0]
END = STEPS[STEPS.index("  if") :]

# What is done to memory between START and END: the invariant that it breaks.
MEMORY = {
    "another has the place": (
        "P6",
        "copy %t5 -> %t8  copy %t7 -> %y2",
        "%t7 is read, but %t8 has taken its place",
    ),
    "another has it at the second turn": (
        "P6",
        "loop 2 { copy %t7 -> %y2 copy %t5 -> %t8 }",
        "%t7 is read, but %t8 has taken its place",
    ),
    "another has it after one branch": (
        "P6",
        "if %p1 { copy %t5 -> %t8 } else { } copy %t7 -> %y2",
        "%t7 is read, but %t8 has taken its place",
    ),
    "nothing is there": ("P7", "copy %t8 -> %t5", "%t8 is read before it is written"),
    "nothing after one branch": (
        "P7",
        "if %p1 { copy %t5 -> %t8 } else { } copy %t8 -> %t5",
        "%t8 is read before it is written",
    ),
    "nothing at the first turn": (
        "P7",
        "loop 2 { copy %t8 -> %t5 copy %t5 -> %t8 }",
        "%t8 is read before it is written",
    ),
    "nothing after no turn": (
        "P7",
        "loop 0 { copy %t5 -> %t8 } copy %t8 -> %t5",
        "%t8 is read before it is written",
    ),
}


@pytest.mark.parametrize("case", MEMORY)
def test_memory_is_followed(case: str):
    number, steps, message = MEMORY[case]
    check_breaks(number, with_steps(f"{START}  {steps}\n{END}"), message)


@pytest.mark.parametrize(
    "steps",
    [
        "copy %t5 -> %t8 copy %t8 -> %t5",
        "loop 2 { copy %t5 -> %t8 copy %t8 -> %t5 }",
        "loop 0 { copy %t5 -> %t8 }",
        "if %p1 { copy %t5 -> %t8 } else { copy %t5 -> %t8 } copy %t8 -> %t5",
        "copy %t5 -> %t8 extern sort(%v6) -> (%t7) {axis=0} copy %t7 -> %y2",
        "copy %t7 -> %v6 copy %t5 -> %t8",  # an alias that is all of its base
    ],
)
def test_memory_that_is_in_order(steps: str):
    verify_program(parse_program(with_steps(f"{START}  {steps}\n{END}")))


HALVES = """\
program @f(%x0, %x1) -> (%y2) arena(64) {
  %x0: f32[2] = input 0
  %x1: bool[] = input 1
  %y2: f32[4] = output 0
  %c3: f32[4] = constant dense<f32[4]: 1.0 2.0 3.0 4.0>
  %t4: f32[4] = arena 0
  %t5: f32[2] = alias %t4 + 0
  %t6: f32[2] = alias %t4 + 2
  if %x1 {
    copy %c3 -> %t4
  } else {
    copy %x0 -> %t5
    copy %x0 -> %t6
  }
  copy %t4 -> %y2
}
"""


@pytest.mark.parametrize("one", ["%x1 {\n    copy %c3 -> %t4\n  } else {", "%x1 {"])
def test_branches_may_write_the_same_in_other_pieces(one: str):
    """Whichever of them writes it whole."""
    text = HALVES
    if one == "%x1 {":
        head, _, rest = HALVES.partition("    copy %c3 -> %t4\n  } else {\n")
        pieces, end, last = rest.partition("  }\n")
        text = f"{head}{pieces}  }} else {{\n    copy %c3 -> %t4\n{end}{last}"
    verify_program(parse_program(text))


def test_a_piece_that_one_branch_leaves_out_is_missed():
    check_breaks(
        "P7",
        HALVES.replace("    copy %x0 -> %t6\n", ""),
        "%t4 is read before it is written",
    )


def test_an_alias_that_is_a_part_does_not_write_its_base():
    text = TEXT.replace("%v6: f32[3,2] strides(1,3)", "%v6: f32[2] strides(3)")
    text = text.replace(STEPS, f"  copy %c4 -> %v6 copy %t5 -> %t8\n{END}")
    check_breaks("P7", text, "%t5 is read before it is written")


LOOPS = """\
program @f(%x0, %n1) -> (%y2, %y3) arena(128) {
  %x0: f32[4,3] = input 0
  %n1: i64[] = input 1
  %y2: f32[4,3] = output 0
  %y3: i64[] = output 1
  %c4: i64[] = constant dense<i64[]: 0>
  %x5: f32[3] = alias %x0 + 9 + -3*i0
  %y6: f32[3] = alias %y2 + 9 + -3*i0
  %x7: f32[] = alias %x0 + 9 + -3*i0 + 1*i1
  %y8: f32[] = alias %y2 + 9 + -3*i0 + 1*i1
  %t9: bool[] = arena 0
  %t10: i64[] = arena 64
  loop i0: 4 {  ; model.py:3
    loop i1: 3 {
      run @f_k0(%x7) -> (%y8)
    }
    copy %y6 -> %y6
  }
  copy %c4 -> %y3
  while %t9 {  ; model.py:4
    extern lt(%y3, %n1) -> (%t9)
  } do {
    extern add(%y3, %y3) -> (%t10)
    copy %t10 -> %y3
  }
}

kernel @f_k0(%in0: f32[]) -> (%out0: f32[]) axes() {
  schedule
  %v0 = load %in0[]
  store %out0[] = %v0 * 2.0
}
""".replace("    copy %y6 -> %y6\n", "")


def test_programs_of_loops_are_valid_and_compute():
    text = LOOPS.replace("extern add(%y3, %y3)", "extern add(%y3, %c4)")
    text = text.replace("dense<i64[]: 0>", "dense<i64[]: 3>")
    program = verify_program(parse_program(text))
    assert format_program(program) == text
    x = np.arange(12, dtype=np.float32).reshape(4, 3)
    doubled, count = run_program(program, [x, np.asarray(10)])
    np.testing.assert_array_equal(doubled, 2 * x)
    assert count == 12


# As TEXTS: what a change of LOOPS breaks.
IN_LOOPS = [
    ("P4", "alias %x0 + 9 + -3*i0\n", "alias %x0 + 9 + 3*i0\n", "[9, 21) are not"),
    ("P4", "%x0 + 9 + -3*i0 + 1*i1", "%x0 + 9 + -3*i0 + 4*i1", "[0, 18) are not"),
    ("P13", "%y2 + 9 + -3*i0\n", "%y2 + 9 + -3*i2\n", "there is no loop i2"),
    ("P13", "copy %c4 -> %y3", "loop i0: 1 { copy %c4 -> %y3 }", "2 loops are called"),
    ("P13", "copy %c4 -> %y3", "copy %c4 -> %y3 copy %x5 -> %x5", "outside of it"),
    ("P9", "loop i1: 3", "loop i1: 2", "output %y2 may not be written"),
    ("P9", "%y2 + 9 + -3*i0 + 1*i1", "%y2 + 9 + 0*i0 + 1*i1", "%y2 may not be"),
    ("P9", "loop i1: 3", "loop i1: 0", "output %y2 may not be written"),
    ("P11", "while %t9", "while %n1", "the predicate is i64[], expected bool[]"),
    ("P1", "while %t9", "while %q", "%q is not declared"),
    ("P7", "extern lt(%y3, %n1) -> (%t9)", "", "%t9 is read before it is written"),
    ("P7", "  copy %c4 -> %y3\n", "", "%y3 is read before it is written"),
    ("P7", "run @f_k0(%x7)", "run @f_k0(%y8)", "%y8 is read before it is written"),
]


@pytest.mark.parametrize(("number", "old", "new", "message"), IN_LOOPS)
def test_broken_loops(number: str, old: str, new: str, message: str):
    assert LOOPS.count(old) == 1
    check_breaks(number, LOOPS.replace(old, new), message)


def test_slices_are_read_at_their_own_turn_only():
    """What moves is at another place at the next turn, where nothing is written."""
    steps = """  loop i0: 4 {
    copy %y6 -> %t11
    copy %x5 -> %y6
  }
"""
    start, end = LOOPS.index("  loop i0"), LOOPS.index("  copy %c4")
    text = LOOPS[:start] + steps + LOOPS[end:]
    text = text.replace("  %x7: f32[]", "  %t11: f32[3] = arena 64\n  %x7: f32[]")
    text = text.replace("+ 1*i1", "").replace("-3*i0 \n", "-3*i0\n")
    check_breaks("P7", text, "%y6 is read before it is written")


def test_a_while_may_not_run_its_steps():
    text = LOOPS.replace("  copy %c4 -> %y3\n", "  copy %c4 -> %t10\n")
    text = text.replace("lt(%y3, %n1)", "lt(%t10, %n1)")
    text = text.replace("    extern add(%y3, %y3) -> (%t10)\n", "")
    check_breaks("P9", text, "output %y3 may not be written")


def test_p9_output_is_not_written():
    text = TEXT.replace("  copy %t7 -> %y2  ; model.py:5\n", "")
    check_breaks("P9", text, "output %y2 may not be written")


def test_p9_output_is_not_written_in_a_branch():
    text = TEXT.replace("    copy %c4 -> %y3\n", "")
    check_breaks("P9", text, "output %y3 may not be written")


def test_p10_two_results_at_one_place():
    text = """\
program @f(%x0) -> (%y1) arena(64) {
  %x0: f64[2,2] = input 0
  %y1: f64[2] = output 0
  %t2: f64[2] = arena 0
  %t3: f64[2,2] = arena 0
  extern eigh(%x0) -> (%t2, %t3)
  copy %t2 -> %y1
}
"""
    check_breaks("P10", text, "%t3 is written and overlaps %t2")


def test_p10_elements_of_a_result_at_one_place():
    text = TEXT.replace("%t7: f32[3,2]", "%t7: f32[3,2] strides(1,1)")
    check_breaks("P10", text, "elements of %t7 share places")


DONATED = """\
program @f(%x0, %x1) -> (%y2, %y3) arena(0) {
  %x0: f32[2,3] strides(1,2) = input 0
  %x1: f32[6] = input 1
  %y2: f32[2,3] strides(1,2) = output 0 in %x0
  %y3: f32[2,3] = output 1 in %x1
  %a4: f32[3] strides(2) = alias %x0 + 0
  %a5: f32[3] strides(2) = alias %y2 + 1
  %a6: f32[3] strides(2) = alias %y2 + 0
  %a7: f32[6] = alias %y3 + 0
  copy %x1 -> %a7
  copy %a4 -> %a5
  copy %a4 -> %a6
}
"""


def test_outputs_in_the_memory_of_inputs():
    """The first and the last copy are of memory to itself."""
    program = verify_program(parse_program(DONATED))
    assert program.donors == {0: 0, 1: 1}
    assert format_program(program) == DONATED
    x = np.arange(6, dtype=np.float32)
    one, two = run_program(program, [x.reshape(2, 3), x])
    np.testing.assert_array_equal(one, [[0, 1, 2], [0, 1, 2]])
    np.testing.assert_array_equal(two, x.reshape(2, 3))


@pytest.mark.parametrize(
    ("number", "old", "new", "message"),
    [
        ("P14", "1 in %x1", "1 in %x7", "%x7 is no input declared before it"),
        ("P14", "1 in %x1", "1 in %y2", "%y2 is no input declared before it"),
        ("P14", "1 in %x1", "1 in %x0", "another output lies in %x0"),
        ("P14", "%x1: f32[6]", "%x1: f32[7]", "not that of %x1: f32[7]"),
        ("P14", "%x1: f32[6]", "%x1: i32[6]", "not that of %x1: i32[6]"),
        ("P14", "%x1: f32[6]", "%x1: f32[6] strides(2)", "not that of %x1: f32[6]"),
        ("P14", "%a4 -> %a6", "%a4 -> %a6 copy %x0 -> %y2", "%x0 is read, but %a5"),
        ("P10", "copy %a4 -> %a5", "copy %a4 -> %a9", "%a9 is written and overlaps"),
        ("P7", "copy %a4 -> %a5", "copy %a5 -> %a6", "%a5 is read before"),
    ],
)
def test_p14_memory_that_is_taken(number: str, old: str, new: str, message: str):
    assert DONATED.count(old) == 1
    another = "  %a9: f32[3] = alias %y2 + 0\n  copy %x1"
    text = DONATED.replace(old, new)
    check_breaks(number, text.replace("  copy %x1", another), message)


def test_p14_what_a_turn_or_a_branch_has_taken():
    for steps in (
        "loop 2 { copy %a4 -> %a6  copy %x1 -> %a7  copy %a4 -> %a5  copy %x0 -> %y2 }",
        "loop 2 { copy %x0 -> %y2  copy %a4 -> %a5 }",
    ):
        text = DONATED.replace("  copy %a4 -> %a5\n  copy %a4 -> %a6\n", steps)
        check_breaks("P14", text, "%x0 is read, but %a5 may have taken it")


def test_p12_two_kernels_of_one_name():
    program = parse_program(TEXT)
    first = program.steps[0]
    assert isinstance(first, Run)
    other = replace(first, kernel=replace(first.kernel, source=("b.py:1",)))
    program = replace(program, steps=(first, other, *program.steps[1:]))
    with pytest.raises(VerifyError, match=r"P12 .* there are two kernels @f_k0"):
        verify_program(program)


def test_every_invariant_has_a_test():
    numbers = re.findall(r"^(P\d+) ", verifier.__doc__ or "", re.M)
    source = Path(__file__).read_text("utf-8")
    assert numbers == [f"P{i}" for i in range(1, len(numbers) + 1)]
    assert all(f'"{number}"' in source for number in numbers)


def test_error_shows_the_step_its_neighbours_and_the_line():
    error = check_breaks("P1", TEXT.replace("copy %t7", "copy %q"), "%q")
    assert str(error) == (
        "invariant P1 is broken in program @f: %q is not declared\n"
        "    extern sort(%v6) -> (%t7) {axis=0}  ; model.py:4\n"
        "  > copy %q -> %y2  ; model.py:5\n"
        "    loop 3 {\n"
        "  at model.py:5"
    )
    assert error.equation == 2


def test_error_shows_the_buffer():
    error = check_breaks("P3", TEXT.replace("%c4: f32[2]", "%c4: f32[3]"), "fit")
    assert str(error).endswith("\n  > %c4: constant")


@pytest.mark.parametrize(
    ("one", "two", "expected"),
    [
        (((2, 3), (3, 1)), ((6,), (1,)), True),
        (((2, 3), (3, 1)), ((3, 2), (1, 3)), True),  # transposed: the same elements
        (((2, 3), (4, 1)), ((6,), (1,)), False),
        (((2, 1, 3), (3, 9, 1)), ((2, 3), (3, 1)), True),
        (((2, 3), (-3, 1)), ((2, 3), (3, 1)), False),
        (((2, 3), (0, 1)), ((3,), (1,)), False),
        (((0, 3), (3, 1)), ((3, 0), (1, 1)), True),
        (((), ()), ((1,), (5,)), True),
    ],
)
def test_joined_axes(one: tuple, two: tuple, expected: bool):
    assert (joined_axes(*one) == joined_axes(*two)) is expected


def test_a_reshaped_place_is_written_where_the_place_is():
    text = """
program @f(%x0) -> (%y1) arena(64) {
  %x0: f32[2,3] = input 0
  %y1: f32[2,3] = output 0
  %t2: f32[2,3] = arena 0
  %x3: f32[3] = alias %x0 + 0 + 3*i0
  %t4: f32[3] = alias %t2 + 0 + 3*i0
  %t5: f32[3,1] = alias %t2 + 0 + 3*i0
  %y6: f32[3,1] = alias %y1 + 0 + 3*i0
  loop i0: 2 {
    extern sort(%x3) -> (%t4) {axis=0}
    copy %t5 -> %y6
  }
}
"""
    verify_program(parse_program(text))
    other = text.replace("%t4: f32[3] = alias %t2 + 0", "%t4: f32[2] = alias %t2 + 0")
    other = other.replace("%x3: f32[3]", "%x3: f32[2]")
    check_breaks("P7", other, "read before it is written")


def test_a_part_of_what_an_outer_loop_has_written_is_written():
    text = """
program @f(%x0) -> (%y1) arena(64) {
  %x0: f32[2,3] = input 0
  %y1: f32[2,3] = output 0
  %t2: f32[2,3] = arena 0
  %x3: f32[3] = alias %x0 + 0 + 3*i0
  %t4: f32[3] = alias %t2 + 0 + 3*i0
  %t5: f32[] = alias %t2 + 0 + 3*i0 + 1*i1
  %y6: f32[] = alias %y1 + 0 + 3*i0 + 1*i1
  loop i0: 2 {
    extern sort(%x3) -> (%t4) {axis=0}
    loop i1: 3 {
      copy %t5 -> %y6
    }
  }
}
"""
    verify_program(parse_program(text))
    shorter = text.replace("%t4: f32[3] = alias %t2 + 0", "%t4: f32[2] = alias %t2 + 0")
    shorter = shorter.replace("%x3: f32[3]", "%x3: f32[2]")
    check_breaks("P7", shorter, "%t5 is read before it is written")
    beside = text.replace("f32[2,3] = arena", "f32[3,3] = arena")
    beside = beside.replace("%t2 + 0 + 3*i0 + 1*i1", "%t2 + 1 + 3*i0 + 1*i1")
    check_breaks("P7", beside, "%t5 is read before it is written")
