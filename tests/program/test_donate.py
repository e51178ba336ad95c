"""Results in the memory of arguments: where they can lie there, and where not."""

import numpy as np
import pytest

import tracejit as tj
from tests.program.random_graphs import LOOP_SEEDS, SCATTER_SEEDS
from tests.program.test_random import PASSES, assert_close, references
from tracejit.codegen.llvm.target import host_target
from tracejit.errors import VerifyError
from tracejit.ir.graph import Graph
from tracejit.passes.manager import run_passes
from tracejit.program.carries import without_carry_copies
from tracejit.program.donate import Offer, with_donations, with_final_copies
from tracejit.program.horizontal import merge_alike
from tracejit.program.interp import run_program
from tracejit.program.lower import lower_graph
from tracejit.program.parser import parse_program
from tracejit.program.plan import plan_memory
from tracejit.program.printer import format_program
from tracejit.program.program import Copy, Program, Run
from tracejit.program.verify import verify_program
from tracejit.runtime.cpu.executable import CpuExecutable

TEXT = """\
program @f(%x0, %x1) -> (%y2, %y3) arena(0) {
  %x0: f32[6] = input 0
  %x1: f32[6] = input 1
  %y2: f32[6] = output 0
  %y3: f32[6] = output 1
  %a4: f32[3] = alias %x0 + 0
  %a5: f32[3] = alias %x0 + 3
  %a6: f32[3] = alias %y2 + 0
  %a7: f32[3] = alias %y2 + 3
STEPS
}

kernel @k(%in0: f32[6]) -> (%out0: f32[6]) axes(i: 6) {
  schedule i: vector
  %v0{i} = load %in0[i]
  store %out0[i] = %v0 * 2.0
}

kernel @shift(%in0: f32[6]) -> (%out0: f32[6]) axes(i: 6) {
  schedule i: vector
  %v0{i} = load %in0[i - 1] where 0 <= i - 1 < 6 else 0.0
  store %out0[i] = %v0 * 2.0
}

kernel @half(%in0: f32[3]) -> (%out0: f32[3]) axes(i: 3) {
  schedule i: vector
  %v0{i} = load %in0[i]
  store %out0[i] = %v0 * 2.0
}
"""
FREE = {
    "elementwise": "run @k(%x0) -> (%y2) copy %x1 -> %y3",
    "after all reads": "copy %x0 -> %y3 run @shift(%x1) -> (%y2)",
    "the same memory": "copy %x0 -> %y2 copy %x1 -> %y3",
    "halves, each elementwise": """
      run @half(%a4) -> (%a6) run @half(%a5) -> (%a7) copy %x1 -> %y3""",
    "halves, one left as it is": """
      copy %a4 -> %a6 run @half(%a5) -> (%a7) copy %x1 -> %y3""",
    "read in a part that is written later": """
      run @half(%a4) -> (%a6) copy %x1 -> %y3 run @half(%a5) -> (%a7)""",
    "read by both branches": """
      if %p8 { run @k(%x0) -> (%y3) } else { copy %x0 -> %y3 }
      run @k(%x1) -> (%y2)""",
}
TAKEN = {
    "read afterwards": "run @k(%x1) -> (%y2) copy %x0 -> %y3",
    "not elementwise": "run @shift(%x0) -> (%y2) copy %x1 -> %y3",
    "a part is read afterwards": """
      run @half(%a5) -> (%a6) copy %a4 -> %a7 copy %x1 -> %y3""",
    "read at the second turn": """
      loop 2 { run @k(%x0) -> (%y2) } copy %x1 -> %y3""",
    "written by one branch": """
      if %p8 { copy %x1 -> %y2 } else { run @k(%x1) -> (%y2) } copy %x0 -> %y3""",
}


def program_with(steps: str) -> Program:
    text = TEXT.replace("STEPS", steps)
    if "%p8" in steps:
        text = text.replace("(%x0, %x1) ->", "(%x0, %x1, %p8) ->")
        text = text.replace("  %y2:", "  %p8: bool[] = input 2\n  %y2:", 1)
    used = {"k", "shift", "half"} - {
        n for n in ("k", "shift", "half") if f"@{n}(" in steps
    }
    for name in used:
        head, _, rest = text.partition(f"\n\nkernel @{name}(")
        text = head + rest[rest.index("\n}") + 2 :]
    for name, base in (("a4", "x0"), ("a5", "x0"), ("a6", "y2"), ("a7", "y2")):
        if f"%{name}" not in steps:
            offset = {"a4": 0, "a5": 3, "a6": 0, "a7": 3}[name]
            text = text.replace(f"  %{name}: f32[3] = alias %{base} + {offset}\n", "")
    return parse_program(text)


def arguments(program: Program) -> list[np.ndarray]:
    args = [np.arange(1, 7, dtype=np.float32), -np.arange(1, 7, dtype=np.float32)]
    return [*args, np.array(True)][: len(program.inputs)]


@pytest.mark.parametrize("case", FREE)
def test_memory_that_can_be_taken(case: str):
    program = program_with(FREE[case])
    want = run_program(verify_program(program), arguments(program))
    placed = verify_program(with_donations(program, [Offer(0, (0,))]))
    assert placed.donors == {0: 0}
    text = format_program(placed)
    assert "%y2: f32[6] = output 0 in %x0" in text
    assert format_program(parse_program(text)) == text
    for one, two in zip(run_program(placed, arguments(program)), want, strict=True):
        np.testing.assert_array_equal(one, two)
    executable = CpuExecutable(plan_memory(placed), host_target("auto"))
    given = [x.copy() for x in arguments(program)]
    outs = executable.run(given)
    assert np.shares_memory(outs[0], given[0])
    for one, two in zip(outs, want, strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("case", TAKEN)
def test_memory_that_is_still_read(case: str):
    """The pass leaves it alone, and the verifier finds out if it did not."""
    program = program_with(TAKEN[case])
    assert with_donations(program, [Offer(0, (0,))]) is program
    text = format_program(program).replace("output 0", "output 0 in %x0")
    with pytest.raises(VerifyError, match=r"P10|P14"):
        verify_program(parse_program(text))


def test_the_first_that_can_is_taken_once():
    program = program_with("run @k(%x0) -> (%y2) run @k(%x1) -> (%y3)")
    placed = with_donations(program, [Offer(1, (0, 1), True), Offer(0, (0, 1), True)])
    assert placed.donors == {0: 0, 1: 1}
    assert (
        with_donations(program, [Offer(1, (0,), True)]) is program
    )  # x0 is read first


def stepping(x, i, y):
    x += 1
    return y[i]


def failing_first(x, i, y):
    z = np.sort(y)[i]
    x += z.sum()
    return z


@pytest.mark.parametrize(
    ("fn", "is_direct"), [(stepping, False), (failing_first, True)]
)
def test_a_step_that_may_fail_comes_before_the_first_write(fn, is_direct):
    """Else the write is the last step, a copy."""
    x, y = np.zeros(3), np.arange(4.0)
    program = tj.jit(fn).lower(x, np.array([1, 2]), y).program
    assert program.donors == {1: 0}
    last = program.steps[-1]
    assert isinstance(last, Run if is_direct else Copy)


def test_a_failing_call_leaves_arguments_as_they_were():
    x, y = np.zeros(3), np.arange(4.0)
    compiled = tj.jit(stepping)
    for i in (1, 9):
        if i == 9:
            with pytest.raises(IndexError):
                compiled(x, np.array([i]), y)
        else:
            compiled(x, np.array([i]), y)
        np.testing.assert_array_equal(x, 1)


# Random programs: whatever is taken, results are the same


def offered(graph: Graph) -> list[Offer]:
    outs = tuple(range(len(graph.outvars)))
    return [Offer(k, outs, True) for k in range(len(graph.invars))]


def written(graph: Graph) -> list[Offer]:
    """Offers of inputs that are to hold a result of their aval afterwards."""
    free, offers = set(range(len(graph.invars))), []
    for out, x in enumerate(graph.outvars):
        k = next((k for k in sorted(free) if graph.invars[k].aval == x.aval), None)
        if k is not None:
            free.remove(k)
            offers.append(Offer(k, (out,), is_written=True))
    return offers


def placed_program(seed: int, is_written: bool = False) -> Program:
    graph, _, _ = references(seed)
    fused = run_passes(graph, PASSES)
    lowered = merge_alike(lower_graph(fused, [None] * len(graph.invars)))
    lowered = without_carry_copies(lowered)
    offers = written(graph) if is_written else offered(graph)
    placed = with_final_copies(with_donations(lowered, offers), offers)
    if is_written:
        assert len(placed.donors) == len(offers)
    return verify_program(plan_memory(placed))


@pytest.mark.parametrize("start", [0, LOOP_SEEDS, SCATTER_SEEDS])
def test_random_programs_interpreted(start: int):
    found = 0
    for seed in range(start, start + 100):
        _, args, want = references(seed)
        for is_written in (False, True):
            program = placed_program(seed, is_written)
            found += len(program.donors)
            assert_close(seed, run_program(program, args), want)
    assert found > 20


def test_random_programs_compiled():
    found = 0
    for seed in (*range(40), *range(LOOP_SEEDS, LOOP_SEEDS + 20)):
        _, args, want = references(seed)
        program = placed_program(seed, bool(seed % 2))
        found += len(program.donors)
        executable = CpuExecutable(program, host_target("auto"))
        given = [np.array(x) for x in args]
        assert_close(seed, executable.run(given), want)
    assert found > 10
