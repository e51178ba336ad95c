"""Small programs, each with the codes that their explanation has, and no others.

A case returns an `Explanation`. What it says, line by line, is in explained.txt;
lines of this file are counted there from the first line of the case.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

import tracejit as tj
from tracejit.codegen.llvm.limits import LLVM
from tracejit.codegen.triton.limits import TRITON
from tracejit.debug.explanation import Explanation, explain


@dataclass(frozen=True)
class Case:
    """A program, and the codes of its findings."""

    run: Callable[[], Explanation]
    codes: frozenset[str]
    line: int


CASES: dict[str, Case] = {}


def case(*codes: str) -> Callable[[Callable[[], Explanation]], object]:
    """Enter a case under the name of its function."""

    def enter(run: Callable[[], Explanation]) -> Callable[[], Explanation]:
        line = run.__code__.co_firstlineno
        CASES[run.__name__] = Case(run, frozenset(codes), line)
        return run

    return enter


def lowered(fn, *args, **options):
    """Explain a function at these arguments, without compiling it."""
    return explain(tj.jit(fn, **options).lower(*args))


def called(fn, *calls, run=False, **options):
    """Explain the retraces of a function that is compiled for calls in a row."""
    f = tj.jit(fn, **options)
    for args in calls:
        (f if run else f.prepare)(*args)
    return retraces(f)


def retraces(f):
    """Explain a function's calls alone."""
    found = f.explain()
    return replace(found, findings=found.of("retrace", "call"))


X = np.linspace(-1.0, 2.0, 48, dtype=np.float32).reshape(4, 12)
S = np.linspace(0.5, 1.5, 16, dtype=np.float32).reshape(4, 4)
D = np.linspace(0.0, 1.0, 8)
STORED = "MEMORY_INTERMEDIATE"

# --- fusion -----------------------------------------------------------------------


@case("SPACE", STORED)
def another_shape():
    def f(x):
        rows = np.exp(x).sum(1)
        return (rows[:, None, None] * x[None]).sum(2)

    return lowered(f, X)


@case("VIEW", STORED)
def other_positions():
    def f(x):
        y = x / np.exp(x).sum(1, keepdims=True)
        return y + y[::-1]

    return lowered(f, X)


@case("EXTERN", "CYCLE", STORED)
def through_a_third():
    def f(x):
        y = x / np.exp(x).sum(1, keepdims=True)
        return np.exp(np.sort(y, axis=1)) + y

    return lowered(f, X)


@case("AXES", STORED)
def two_directions():
    def f(x):
        y = np.exp(np.sin(x)) * np.cos(x)
        return y.sum(0), y.sum(1)

    return lowered(f, X)


@case("BACK", STORED)
def sums_used_again():
    def f(x):
        y = np.exp(np.sin(x)) * np.cos(x)
        return y - y.sum(0)

    return lowered(f, X)


@case("SHARED")
def read_twice():
    def f(x):
        y = np.exp(x)
        return y, np.pad(y, 1)

    return lowered(f, X)


@case("COST", STORED)
def many_times():
    def f(x):
        y = np.exp(np.exp(np.sin(np.cos(x[0]))))
        big = np.broadcast_to(y, (64, 8, 12)).swapaxes(1, 2).reshape(64, 96)
        return big * 2.0

    return lowered(f, X)


@case("SIZE", STORED)
def full_kernel():
    def f(x):
        return np.exp(np.exp(np.exp(np.exp(np.exp(np.exp(x))))))

    return explain(tj.jit(f).trace(X).lower(replace(LLVM, max_equations=4)))


@case("PRODUCT", STORED)
def two_products():
    def f(x):
        return (x @ x) @ x

    return lowered(f, S)


@case("MEMORY", "CAPTURE_ARRAY", STORED)
def gathered():
    rows = np.array([2, 0, 3])

    def f(x):
        return np.exp(np.exp(x))[rows]

    return lowered(f, X)


@case("THREADS", STORED)
def loss_of_a_large_product():
    def f(x):
        return ((x @ x.T - 1) ** 2).mean()

    return lowered(f, np.ones((160, 160), np.float32))


@case("TURNS", STORED)
def loop_of_elements():
    def f(x):
        return tj.fori_loop(0, 9, lambda i, s: s * 0.5 + x, x).sum(1)

    return lowered(f, X)


@case("PIECES", STORED, "LOOP_UNROLLED")
def sixteen_pieces():
    def f(x):
        return np.exp(
            np.concatenate([np.sin(x.astype("f8") * k) for k in range(16)])
        ).sum()

    return lowered(f, X)


@case("EXTERN", STORED)
def sorted_first():
    def f(x):
        return np.exp(np.sort(x, axis=1))

    return lowered(f, X)


@case()
def one_kernel():
    def f(x):
        e = np.exp(x - x.max(1, keepdims=True))
        return e / e.sum(1, keepdims=True)

    return lowered(f, X)


@case("STEPS", "COPY_BRANCH", STORED)
def after_a_branch():
    def f(x):
        y = tj.cond(x[0, 0] > 0, lambda: np.sort(x, axis=1), lambda: x)
        return np.exp(y)

    return lowered(f, X)


# --- copies and layouts -----------------------------------------------------------


@case("COPY_RESULT", "LAYOUT_RESHAPE", STORED, "HOST_NUMPY")
def result_is_a_view():
    def f(x):
        y = np.linalg.inv(x)[::-1]
        return y, y.reshape(-1)

    return lowered(f, S)


@case("COPY_RESULT")
def result_is_an_argument():
    def f(x):
        return x.copy()

    return lowered(f, X)


@case("COPY_PIECE")
def pieces_from_outside():
    def f(*xs):
        return np.concatenate(xs)

    return lowered(f, *[np.full((4, 12), k, float) for k in range(16)])


@case("COPY_PART", "EXTERN")
def parts_of_two_arrays():
    def f(x):
        ordered = np.sort(x)
        z = np.empty(x.shape, complex)
        z.real, z.imag = ordered, ordered
        return z

    return explain(tj.jit(f).trace(D).lower(TRITON))


@case("COPY_WHOLE", "WRITE_COPIED", "HOST_NUMPY", STORED)
def writes_a_part_before_what_may_fail():
    def f(x, y):
        x[1:3] = y[1:3] * 2
        return np.linalg.inv(y)

    return lowered(f, S.copy(), S)


@case("COPY_BRANCH", STORED)
def branch_of_what_is_given():
    def f(x, y):
        return tj.cond(x[0, 0] > 0, lambda: x, lambda: y)

    return lowered(f, X, X + 1)


@case("COPY_SLICE", "COPY_START", STORED)
def stacked_carry():
    def f(x, steps):
        def turn(c, t):
            return np.roll(c, 1) * t, c

        return tj.scan(turn, x, steps)[1]

    return lowered(f, X, D.astype(np.float32))


@case("COPY_START", "COPY_CARRY", STORED)
def neighbours_in_a_while_loop():
    def f(x):
        return tj.while_loop(lambda c: c[0] < 100.0, lambda c: np.roll(c, 1) + 1.0, x)

    return lowered(f, D)


@case("COPY_OPERAND", "CAPTURE_ARRAY")
def scattered():
    places = np.array([1, 1, 3])

    def f(x):
        y = x.copy()
        np.add.at(y, places, 1.0)
        return y

    return lowered(f, D)


@case("LAYOUT_STRIDED")
def transposed_argument():
    def f(x):
        return x + 1

    return lowered(f, X.T)


@case("LAYOUT_RESHAPE", "EXTERN", STORED)
def reshape_of_a_view():
    def f(x):
        return np.sort(np.sort(x, axis=1).T.reshape(-1))

    return lowered(f, X)


@case("LAYOUT_PACKED", "LAYOUT_RESHAPE", STORED, "COPY_START")
def weights_of_a_loop():
    def f(h, w):
        return tj.fori_loop(0, 20, lambda i, h: np.tanh(h @ w.T), h)

    return lowered(f, np.ones((8, 64), np.float32), np.ones((64, 64), np.float32))


@case("LAYOUT_APART", "LAYOUT_RESHAPE", "SPACE", STORED)
def pairs_of_points():
    def f(x, mass):
        away = x[None, :, :] - x[:, None, :]
        pull = mass / ((away * away).sum(-1) + 0.05) ** 1.5
        return (away * pull[:, :, None]).sum(1)

    return lowered(f, np.ones((64, 3)), np.ones(64))


@case("MEMORY_AGAIN", "PRODUCT", "AXES", STORED)
def gradient_of_a_hidden_layer():
    def f(x, w, v):
        y = x @ w
        cube = y * y * y
        inner = y + 0.04 * cube
        outer = 1 + np.tanh(inner)
        hidden = 0.5 * y * outer
        return np.sum(hidden @ v)

    args = (np.ones(s, np.float32) for s in ((64, 32), (32, 48), (48, 16)))
    return lowered(tj.grad(f, argnums=(1, 2)), *args)


# --- the host ---------------------------------------------------------------------


@case("HOST_NUMPY")
def inverse():
    def f(x):
        return np.linalg.inv(x)

    return lowered(f, S)


@case("HOST_NUMPY")
def fourier():
    def f(x):
        return np.fft.rfft(x)

    return lowered(f, D)


@case("HOST_PYTHON", "EXTERN", STORED)
def eigenvalues():
    def f(x):
        return np.linalg.eigvals(x)

    return lowered(f, S)


@case("HOST_CALLBACK")
def prints():
    def f(x):
        tj.debug.print("x is {}", x)
        return x + 1

    return lowered(f, D)


@case("HOST_COPIED")
def on_a_device():
    class Device:
        libraries = None

    def f(x):
        return np.linalg.inv(x)

    stage = tj.jit(f).trace(S).lower(TRITON)
    return explain(replace(stage, device=Device()))


# --- arguments that are written or given away -------------------------------------


@case("WRITE_IN_PLACE")
def written_in_place():
    def f(x):
        x += 1

    return lowered(f, X.copy())


@case("WRITE_COPIED", STORED)
def written_by_a_copy():
    def f(x):
        x[:] = x[::-1] * 2

    return lowered(f, X.copy())


@case("WRITE_CONTAINER")
def stores_in_a_dict():
    def f(state, x):
        state["last"] = x + 1

    return lowered(f, {"last": D}, X)


@case("DONATION_USED")
def donation_that_is_used():
    return lowered(lambda x: x + 1, X.copy(), donate_argnums=0)


@case("DONATION_SIZE")
def donation_of_another_size():
    return lowered(lambda x: x[:2] + 1, X.copy(), donate_argnums=0)


@case("DONATION_STRIDES", "LAYOUT_STRIDED")
def donation_with_strides():
    return lowered(lambda x: x + 1, X.copy().T, donate_argnums=0)


@case("DONATION_READ")
def donation_still_read():
    return lowered(lambda x: x + x[::-1], X.copy(), donate_argnums=0)


# --- captures and constants -------------------------------------------------------

TABLE = np.arange(12.0)
FACTOR = 3.0


def helper(x):
    return x + 1


@case("CAPTURE_ARRAY")
def captures_a_global():
    return lowered(lambda x: x * TABLE, np.ones(12))


@case("CAPTURE_ARRAY")
def captures_an_attribute():
    class Model:
        def __init__(self):
            self.w = np.ones(8)

        def apply(self, x):
            return x * self.w

    return lowered(Model().apply, D)


@case("CAPTURE_DATA")
def bakes_an_array_in():
    return lowered(lambda x: x + np.array([1.0, 5.0, 2.0, 0.0]), np.ones(4))


@case("CAPTURE_VALUE")
def names_a_number():
    return lowered(lambda x: x * FACTOR, D)


@case("CAPTURE_FUNCTION")
def names_a_function():
    return lowered(lambda x: helper(x), D)


@case("SPECIAL_INT")
def takes_an_int():
    return lowered(lambda x, n: x * n, D, 3)


@case("SPECIAL_ASKED")
def decides_by_a_float():
    def f(x, slope):
        if slope > 0:
            return x * slope
        return x

    return lowered(f, D, 0.5)


@case("SPECIAL_VALUE")
def takes_a_flag():
    return lowered(lambda x, up, name: x + 1 if up else x, D, True, "a")


@case("SPECIAL_VALUE")
def takes_a_static_float():
    return lowered(lambda x, rate: x * rate, D, 0.5, static_argnames="rate")


class Model:
    factor = 2.0


@case("SPECIAL_OBJECT", "CAPTURE_VALUE")
def takes_an_object():
    return lowered(lambda model, x: x * model.factor, Model(), D)


@case("SPECIAL_ALIASES")
def takes_one_array_twice():
    return lowered(lambda x, y: x + y, D, D)


@case("LOOP_UNROLLED")
def short_python_loop():
    def f(x):
        for _ in range(10):
            x = np.sin(x) * 0.5
        return x

    return lowered(f, D)


@case()
def function_called_often():
    def f(x):
        def wave(x):
            return np.sin(x) * 0.5

        x = wave(wave(wave(wave(x))))
        return wave(wave(wave(wave(wave(x)))))

    return lowered(f, D)


@case("LOOP_UNROLLED")
def function_called_in_a_loop():
    def f(x):
        def wave(x):
            return np.sin(x) * 0.5

        for _ in range(9):
            x = wave(x)
        return x

    return lowered(f, D)


@case("LOOP_UNROLLED")
def loop_in_a_gradient():
    def f(x):
        for _ in range(9):
            x = np.sin(x)
        return x.sum()

    return lowered(tj.grad(f), D)


@case()
def gradient_of_a_function_called_often():
    def f(x):
        def wave(x):
            return np.sin(x) * 0.5

        x = wave(wave(wave(wave(x))))
        return wave(wave(wave(wave(wave(x))))).sum()

    return lowered(tj.grad(f), D)


@case("LOOP_UNROLLED")
def jitted_function_in_a_loop():
    inner = tj.jit(lambda x: np.sin(x) * 0.5)

    def f(x):
        for _ in range(9):
            x = inner(x)
        return x

    return lowered(f, D)


@case("LOOP_REROLLED")
def long_python_loop():
    def f(x):
        for _ in range(300):
            x = np.sin(x) * 0.5
        return x

    return lowered(f, D)


# --- calls ------------------------------------------------------------------------


@case("CALL_UNALIGNED")
def field_of_a_record():
    record = np.zeros(5, np.dtype([("flag", "i1"), ("x", "f8")]))
    return lowered(lambda x: x + 1, record["x"])


@case("CALL_OVERLAP")
def overlapping():
    def f(a, b):
        a[:] = b * 2

    memory = np.ones(9)
    calls = [(np.ones(8), np.ones(8)), (memory[1:], memory[:-1])]
    return called(f, *calls, run=True)


@case("CALL_PYTHON")
def recognised_in_python():
    @dataclass
    class Pair:
        x: np.ndarray

        def __getattribute__(self, name):
            return super().__getattribute__(name)

    f = tj.jit(lambda pair: pair.x + 1)
    f(Pair(D))
    (guard,) = f._guards
    f._make_native(guard)
    return retraces(f)


@case("CAPTURE_ARRAY", "LAYOUT_STRIDED", "CALL_UNALIGNED")
def captures_odd_memory():
    record = np.zeros(5, np.dtype([("flag", "i1"), ("x", "f8")]))["x"]
    every_other = np.ones(10)[::2]
    return lowered(lambda x: x + record + every_other, np.ones(5))


# --- retraces ---------------------------------------------------------------------


@case("RETRACE_SHAPE")
def another_length():
    return called(lambda x: x + 1, (D,), (D[:3],))


@case("RETRACE_SHAPE")
def another_rank_of_a_leaf():
    def f(params):
        return params["layers"][0]["w"] + 1

    return called(f, *(({"layers": [{"w": w}]},) for w in (D, D[None])))


@case("RETRACE_SHAPE")
def closest_of_three():
    def f(x, y):
        return x.sum() + y.sum()

    return called(f, (D, D[1:]), (D[2:], D[3:]), (D[2:], D[1:]))


@case("RETRACE_DTYPE")
def another_dtype():
    return called(lambda x: x + 1, (D,), (D.astype(np.float32),))


@case("RETRACE_STRIDES")
def other_strides():
    return called(lambda x: x + 1, (X,), (np.asfortranarray(X),))


@case("RETRACE_KIND")
def float_then_int():
    return called(lambda x, r: x * r, (D, 0.5), (D, 2))


@case("RETRACE_KIND")
def python_then_numpy():
    return called(lambda x, r: x * r, (D, 0.5), (D, np.float64(0.5)))


@case("RETRACE_KIND")
def number_then_array():
    return called(lambda x, r: x * r, (D, 0.5), (D, np.array(0.5)))


@case("RETRACE_TREE")
def another_key():
    return called(lambda p: p["w"] + 1, ({"w": D},), ({"w": D, "b": D},))


@case("RETRACE_TREE")
def longer_list():
    return called(lambda xs: sum(xs), ([D],), ([D, D + 1],))


@case("RETRACE_TREE")
def none_then_array():
    def f(x, mask=None):
        return x if mask is None else x * mask

    return called(f, (D,), (D, D))


@case("RETRACE_TREE")
def more_arguments():
    return called(lambda *xs: sum(xs), (D,), (D, D + 1))


@case("RETRACE_TREE")
def tuple_then_list():
    return called(lambda xs: xs[0] + 1, ((D,),), ([D],))


@case("RETRACE_VALUE")
def another_flag():
    return called(lambda x, up: x + 1 if up else x - 1, (D, True), (D, False))


@case("RETRACE_VALUE")
def another_mode():
    return called(lambda x, mode: x + len(mode), (D, "up"), (D, "down"))


@case("RETRACE_VALUE")
def another_static_value():
    fn, calls = (lambda x, rate: x * rate), ((D, 0.5), (D, 0.25))
    return called(fn, *calls, static_argnames="rate")


@case("RETRACE_OBJECT")
def another_object():
    return called(lambda m, x: x * m.factor, (Model(), D), (Model(), D))


@case("RETRACE_INT")
def changing_int():
    return called(lambda x, n: x * n, (D, 1), (D, 2), (D, 3))


@case("RETRACE_INT", "RETRACE_ASKED")
def int_that_decides():
    def f(x, n):
        for _ in range(n):
            x = x * 2
        return x

    return called(f, (D, 1), (D, 2), (D, 3))


@case("RETRACE_ASKED")
def float_that_decides():
    def f(x, slope):
        return x * slope if slope > 0 else x

    return called(f, (D, 0.5), (D, -0.5))


@case("RETRACE_SWITCH")
def another_switch():
    f = tj.jit(lambda x: x * 2 + 1)
    f.prepare(D)
    with tj.config.override(fma=False):
        f.prepare(D)
    return retraces(f)


@case("RETRACE_DEVICE")
def another_device():
    f = tj.jit(lambda x: x + 1)
    compiled = f.prepare(D)
    f.history.begin(compiled.recording.call, "cuda:0", frozenset())
    return retraces(f)


@case("RETRACE_CAPTURE")
def replaced_capture():
    state = {"w": np.ones(8)}
    f = tj.jit(lambda x: x * state["w"])
    f.prepare(D)
    state["w"] = np.zeros(8)
    f.prepare(D)
    state["w"] = np.zeros(1)
    f.prepare(D)
    return retraces(f)


@case("RETRACE_CONSTANT")
def changed_constant():
    factor = 2.0
    f = tj.jit(lambda x: x * factor)
    f.prepare(D)
    factor = 3.0
    f.prepare(D)
    return retraces(f)


@case("RETRACE_CONSTANT")
def removed_constant():
    options = {"scale": 2.0, "shift": 1.0}
    f = tj.jit(lambda x: x * options["scale"] + options.get("shift", 0))
    f.prepare(D)
    del options["shift"]
    f.prepare(D)
    return retraces(f)


@case("RETRACE_ALIASES")
def one_array_twice():
    return called(lambda x, y: x + y, (D, D + 1), (D, D))


@case("RETRACE_SHAPE", "RETRACE_EVICTED")
def forgotten():
    f = tj.jit(lambda x: x + 1)
    with tj.config.override(max_specializations=1), warnings.catch_warnings():
        warnings.simplefilter("ignore", tj.errors.RetraceWarning)
        for x in (D, D[:3], D):
            f.prepare(x)
    return retraces(f)


@case("RETRACE_CLEARED")
def cleared():
    f = tj.jit(lambda x: x + 1)
    f.prepare(D)
    f.clear_cache()
    f.prepare(D)
    return retraces(f)


@case("RETRACE_REPLACED")
def replaced():
    """The trie of what traces ask for is written anew when they ask in two orders."""
    f = tj.jit(lambda x: x + 1)
    f.prepare(D)
    (entry,) = f._cache.values()
    entry.tries.clear()
    f.prepare(D)
    return retraces(f)


@case("RETRACE_SHAPE", "RETRACE_DTYPE")
def two_changes_at_once():
    return called(lambda x, y: x.sum() + y, (D, X), (D[1:], X.astype("f8")))
