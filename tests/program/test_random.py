"""Random graphs as programs: verified, printed and parsed, interpreted, compiled.

Results of compiled ones lie between guards, which nothing may write to.

`make test` takes 250 seeds, `make slow` as many, 100 of graphs with loops and 100 with
scatters, each with one pass left out and one instruction set in turn; `make fuzz`
100,000 from a random one on, half of them with loops, a quarter with scatters, in
pieces that workers share. What fails says the seed that repeats it.
"""

import os
import secrets
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.codegen.building import check_guards, guarded
from tests.sampling import sampled
from tracejit.codegen.llvm.limits import LLVM
from tracejit.codegen.llvm.target import host_target
from tracejit.errors import TracejitError
from tracejit.ir.graph import Graph
from tracejit.ir.interp import evaluate
from tracejit.passes.manager import PassContext, run_passes
from tracejit.passes.pipelines import pipeline
from tracejit.program.carries import without_carry_copies
from tracejit.program.horizontal import merge_alike
from tracejit.program.interp import run_program
from tracejit.program.lower import lower_graph
from tracejit.program.parser import parse_program
from tracejit.program.plan import plan_memory
from tracejit.program.printer import format_program
from tracejit.program.program import Loop, Program, Step
from tracejit.program.verify import verify_program
from tracejit.runtime.cpu.executable import CpuExecutable

from .random_graphs import LOOP_SEEDS, SCATTER_SEEDS, random_graph

SEEDS = range(500)
LOOPS = range(LOOP_SEEDS, LOOP_SEEDS + 100)
SCATTERS = range(SCATTER_SEEDS, SCATTER_SEEDS + 100)
PIECE = 50  # programs in a test
FOUND = (  # what failed once
    *(402, 589, 1011, 1092, 1606, 1003614, 1021632),
    *(7003919, 7012269, 7039952, 7040159, 7087101),
    *(9009687, 1099520631904, 1099520662946),
)
PIECES = 1000  # of `make fuzz`
EACH = int(os.environ.get("FUZZ_EACH", "100"))  # programs in a piece
PASSES = pipeline(LLVM)


def program_of(graph: Graph, seed: int, without: str = "") -> Program:
    """Return a graph as a program, some of its steps in loops.

    A step reads nothing that it has written, and what it does twice comes out the same.
    """
    rng = np.random.default_rng(seed)
    passes = [p for p in PASSES if p.name != without]
    lowered = lower_graph(
        run_passes(graph, passes, PassContext(verify=True)), strides(graph, rng)
    )
    lowered = merge_alike(lowered) if rng.random() < 0.5 else lowered
    is_looped = seed >= LOOP_SEEDS  # its loops start where steps before them end
    steps = lowered.steps if is_looped else looped(rng, lowered.steps)
    program = replace(lowered, steps=steps)
    program = without_carry_copies(program) if seed % 4 else program
    return verify_program(plan_memory(program))


def strides(graph: Graph, rng: np.random.Generator) -> list[tuple[int, ...] | None]:
    """Return strides for each argument: C-contiguous, or of its transpose."""
    out: list[tuple[int, ...] | None] = []
    for var in graph.invars:
        turned = np.empty(var.aval.shape[::-1], np.int8).T
        out.append(turned.strides if rng.random() < 0.3 and var.aval.size else None)
    return out


def looped(rng: np.random.Generator, steps: tuple[Step, ...]) -> tuple[Step, ...]:
    if len(steps) < 2 or rng.random() < 0.5:
        return steps
    a, z = sorted(int(i) for i in rng.integers(0, len(steps) + 1, 2))
    inner = looped(rng, steps[a:z])
    return (*steps[:a], Loop(int(rng.integers(1, 4)), inner), *steps[z:])


def assert_close(
    seed: int, got: Sequence[np.ndarray], want: Sequence[np.ndarray]
) -> None:
    """Compare results of two ways of rounding; see `random_graphs`.

    What a rounding of the arguments changes may differ by some times as much: the sine
    of a sum of large terms, say.
    """
    for k, (x, y) in enumerate(zip(got, want, strict=True)):
        if y.dtype.kind != "f":
            np.testing.assert_array_equal(x, y, strict=True)
            continue
        rough = y.dtype.itemsize < 8
        scale = float(np.max(np.abs(y), initial=1.0, where=np.isfinite(y)))
        tolerance = (2e-4 if rough else 1e-11) * scale
        if not np.allclose(x, y, rtol=0, atol=tolerance, equal_nan=True):
            tolerance += 16 * sensitivity(seed)[k]
        if tolerance == np.inf:
            continue  # the last bit of an argument decides whether it overflows
        np.testing.assert_allclose(x, y, rtol=0, atol=tolerance, strict=True)


def sensitivity(seed: int) -> list[float]:
    """Return how far each result moves when arguments move in their last bit."""
    graph, args, want = references(seed)
    rng = np.random.default_rng(seed)
    moved = [np.zeros(()) for _ in want]
    for _ in range(4):
        near = [
            np.nextafter(x, rng.choice([-np.inf, np.inf], x.shape).astype(x.dtype))
            if x.dtype.kind == "f"
            else x
            for x in args
        ]
        for k, (x, y) in enumerate(zip(evaluate(graph, near), want, strict=True)):
            if y.dtype.kind == "f":
                distance = np.max(np.abs(np.asarray(x) - y), initial=0.0)
                moved[k] = np.fmax(moved[k], distance)
    return [float(m) for m in moved]


@cache
def references(seed: int) -> tuple[Graph, list[np.ndarray], tuple[np.ndarray, ...]]:
    graph, args = random_graph(seed)
    args = [np.asarray(x) for x in args]
    return graph, args, tuple(map(np.asarray, evaluate(graph, args)))


def check_interpreted(seed: int, without: str = "") -> None:
    graph, args, want = references(seed)
    got = run_program(program_of(graph, seed, without), args)
    assert_close(seed, got, want)


def check_compiled(seed: int, isa: str) -> None:
    graph, args, want = references(seed)
    lowered = lower_graph(run_passes(graph, PASSES), [None] * len(args))
    program = verify_program(plan_memory(merge_alike(lowered)))
    executable = CpuExecutable(program, host_target(isa))
    executable._outputs = [replace(x, allocate=guarded) for x in executable.results]
    got = executable.run(args)
    for result in got:
        check_guards(result)
    assert_close(seed, got, want)


def available() -> list[str]:
    found = []
    for isa in ("avx512", "avx2", "baseline"):
        try:
            host_target(isa)
        except TracejitError:
            continue
        found.append(isa)
    return found


ISAS = available()


@given(st.integers(0, 2**32))
def test_text_round_trips(seed: int):
    graph, args, _ = references(seed)
    program = program_of(graph, seed)
    text = format_program(program)
    again = verify_program(parse_program(text))
    assert format_program(again) == text
    pairs = zip(run_program(program, args), run_program(again, args), strict=True)
    for x, y in pairs:
        np.testing.assert_array_equal(x, y, strict=True)


def left_out(seed: int) -> str:
    """Return the pass that a seed's program does without; none for some."""
    return ("", *(p.name for p in PASSES))[seed % (len(PASSES) + 1)]


def check(seed: int) -> None:
    """Check one program; a failure says how to repeat it."""
    try:
        check_interpreted(seed, left_out(seed))
        check_compiled(seed, ISAS[seed % len(ISAS)])
    except Exception as error:
        repeat = f"FUZZ_SEED={seed} FUZZ_EACH=1 make fuzz ARGS='-k fuzz[0]'"
        error.add_note(f"repeat with: {repeat}")
        raise
    finally:
        references.cache_clear()


@pytest.mark.parametrize("start", sampled(SEEDS[::PIECE], 2))
def test_programs_give_what_their_graphs_give(start: int):
    for seed in range(start, start + PIECE):
        check(seed)


@pytest.mark.parametrize("start", LOOPS[::PIECE])
def test_programs_with_loops_give_what_their_graphs_give(start: int):
    for seed in range(start, start + PIECE):
        check(seed)


@pytest.mark.parametrize("start", SCATTERS[::PIECE])
def test_programs_with_scatters_give_what_their_graphs_give(start: int):
    for seed in range(start, start + PIECE):
        check(seed)


@pytest.mark.parametrize("seed", FOUND)
@pytest.mark.parametrize("isa", ISAS)
def test_what_failed_once(seed: int, isa: str):
    for without in {"", left_out(seed)}:
        check_interpreted(seed, without)
    check_compiled(seed, isa)


@pytest.fixture(scope="session")
def first_seed() -> int:
    return int(os.environ.get("FUZZ_SEED") or secrets.randbelow(2**32))


@pytest.mark.fuzz
@pytest.mark.parametrize("piece", range(PIECES))
def test_fuzz(piece: int, first_seed: int):
    kind = (0, LOOP_SEEDS, SCATTER_SEEDS, LOOP_SEEDS)[piece % 4]
    kind = kind if first_seed < SCATTER_SEEDS else 0
    start = kind + first_seed + piece * EACH
    for seed in range(start, start + EACH):
        check(seed)
