"""Random loops of elements: compiled for each instruction set, against interpreting."""

import numpy as np
import pytest

import tracejit as tj
from tracejit import config
from tracejit.errors import TracejitError
from tracejit.ir.interp import evaluate
from tracejit.kernels.kernel import Repeat
from tracejit.program.interp import run_program
from tracejit.program.parser import parse_program
from tracejit.program.printer import format_program
from tracejit.program.verify import verify_program

ISAS = ("avx512", "avx2", "baseline")
SHAPES = ((), (1,), (7,), (3, 5), (70,), (2, 33))
DTYPES = ("float32", "float64", "float16", "int32", "int8", "bool")


def floats(rng, values):
    """Return values that are numbers, not conditions."""
    found = [v for v in values if v.dtype != bool]
    return found[rng.integers(len(found))] if found else values[0] * 1.0


def step(rng, values, count):
    """Return one more value of some others."""
    a, b = floats(rng, values), floats(rng, values)
    kind = rng.integers(9)
    if kind == 0:
        return np.where(a > b, a, b)
    if kind == 1:
        return a * 0.5 + b
    if kind == 2:
        return a - b
    if kind == 3:
        return np.minimum(abs(a), 3) + (b > a)
    if kind == 4:
        return np.sin(a * 1.0)
    if kind == 5:
        return a + count
    if kind == 6:
        return a * 0.25 * b
    if kind == 7:
        return (a > 0) | (b < a)
    return np.tanh(a * 1.0) + 1


def random_function(seed):
    """Return a function with a loop, and arguments; the same at each call."""
    rng = np.random.default_rng(seed)
    shape = SHAPES[rng.integers(len(SHAPES))]
    dtypes = [DTYPES[i] for i in rng.integers(0, len(DTYPES), 4)]
    args = [np.asarray(rng.uniform(-2, 2, shape)).astype(d) for d in dtypes]
    args[3] = np.asarray(rng.uniform(-1, 1, shape[-1:])).astype("float32")
    args.append(rng.uniform(-1, 1, 6).astype("float32"))
    plan, is_reverse = int(rng.integers(1 << 30)), bool(rng.integers(2))
    has_count, nested = bool(rng.integers(2)), bool(rng.integers(4) == 0)

    def function(a, b, fixed, row, numbers):
        def turn(state, count):
            mine = np.random.Generator(np.random.PCG64(plan))
            known = [*state, fixed, row]
            for _ in range(mine.integers(1, 6)):
                known.append(step(mine, known, count))
            if nested:
                known.append(
                    tj.fori_loop(0, 3, lambda i, s: s * 0.5 + i, known[-1] * 1.0)
                )
            new = [known[-1], known[-2], state[-1] * 0.5 + count][: len(state)]
            pairs = zip(new, state, strict=True)
            return tuple(
                np.broadcast_to(x, s.shape).astype(s.dtype) for x, s in pairs
            ), None

        start = (a, b) if not has_count else (a, b, np.float32(0.5))
        out = tj.scan(turn, start, numbers, reverse=is_reverse)[0]
        return (*out[:2], out[0] * 2) if has_count else out

    return function, args


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("first", range(0, 30, 10))
def test_random_loops(first: int):
    loops = 0
    for seed in range(first, first + 10):
        function, args = random_function(seed)
        lowered = tj.jit(function).lower(*args)
        program = verify_program(lowered.program)
        loops += sum(isinstance(op, Repeat) for k in program.kernels for op in k.body)
        text = format_program(program)
        again = verify_program(parse_program(text))
        assert format_program(again) == text
        graph = lowered.recording.graph
        want = evaluate(graph, args)
        for found in (run_program(again, args), *compiled(function, args, seed)):
            for x, y in zip(found, want, strict=True):
                assert_close(x, y, f"seed {seed}")
    assert loops > 3


def compiled(function, args, seed):
    with config.override(isa=ISAS[seed % 3]):
        try:
            yield tj.jit(lambda *a: function(*a))(*args)
        except TracejitError as error:
            if "instruction" not in str(error) and "processor" not in str(error):
                raise


def assert_close(x, y, what):
    x, y = np.asarray(x), np.asarray(y)
    assert x.dtype == y.dtype
    if x.dtype.kind != "f":
        np.testing.assert_array_equal(x, y, err_msg=what)
        return
    tolerance = 3e-2 if x.dtype.itemsize == 2 else 1e-4  # some operands are float32
    np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance, err_msg=what)
