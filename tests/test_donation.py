"""Donated arguments, and arguments that are written in place: `jit` on CPUs."""

import pickle
import warnings

import numpy as np
import pytest

import tracejit as tj
from tracejit.errors import ArgumentError, DonationWarning
from tracejit.program.donate import MOST_COPIED
from tracejit.program.program import Copy, Purpose, Run, Storage
from tracejit.runtime.cpu.entry import support

X = np.arange(12.0).reshape(3, 4)
NATIVE = [False] if support.why_not() else [False, True]


@pytest.fixture(params=NATIVE, ids=lambda x: "native" if x else "portable")
def calls(request, monkeypatch):
    """Calls by a guard in Python, or by machine code from the third one on."""
    monkeypatch.setattr(tj.api, "PATIENCE", tj.api.Patience(0))
    with tj.config.override(native_calls=request.param, verify=True):
        yield request.param


def direct(program):
    """Return the donors of results that no copy puts there at the end."""
    copied = {
        s.output
        for s in program.steps
        if isinstance(s, Copy) and program.buffer(s.input).storage is Storage.ARENA
    }
    donors = program.donors.items()
    return {k: i for k, i in donors if program.outputs[k] not in copied}


def descend(p, g):
    return {name: p[name] - 0.5 * g[name] for name in p}


def trees():
    return {"a": X.copy(), "b": X[0].copy()}, {"a": X + 1, "b": X[1].copy()}


def addresses(tree):
    return {name: x.ctypes.data for name, x in tree.items()}


@pytest.mark.parametrize("how", [{"donate_argnums": 0}, {"donate_argnames": "p"}])
def test_results_lie_in_donated_memory(calls, how):
    step, (p, g) = tj.jit(descend, **how), trees()
    wanted = p
    for turn in range(6):
        places = addresses(p)
        wanted = descend(wanted, g)
        p = step(p, g) if turn % 2 else step(g=g, p=p)
        assert addresses(p) == places
        for name in p:
            np.testing.assert_array_equal(p[name], wanted[name], strict=True)
            assert type(p[name]) is np.ndarray
            assert p[name].flags.writeable


def test_results_keep_one_array_alive_not_a_chain(calls):
    step = tj.jit(lambda x: x + 1, donate_argnums=0)
    x = first = np.zeros(6)
    for _ in range(10):
        x = step(x)
        assert x.base is first


def test_other_shapes_of_the_same_size():
    x = X.copy()
    y = tj.jit(lambda x: (x * 2).reshape(4, 3), donate_argnums=(0,))(x)
    assert np.shares_memory(x, y)
    np.testing.assert_array_equal(y, (X * 2).reshape(4, 3))


def test_the_program_has_no_buffer_of_its_own():
    p, g = trees()
    text = tj.jit(descend, donate_argnums=0).lower(p, g).as_text()
    assert text.startswith(
        "program @descend(%x0, %x1, %x2, %x3) -> (%y4, %y5) arena(0)"
    )
    assert "%y4: f64[3,4] = output 0 in %x0\n" in text
    assert "%y5: f64[4] = output 1 in %x1\n" in text


def test_an_argument_that_is_returned_keeps_its_values(calls):
    both = tj.jit(lambda x: (x, x + 1, x[1:]), donate_argnums=0)
    for _ in range(4):
        x = X.copy()
        same, y, part = both(x)
        assert same is x
        assert np.shares_memory(part, x)
        np.testing.assert_array_equal(x, X)
        np.testing.assert_array_equal(y, X + 1)


def test_a_donated_argument_may_be_lost_by_a_call_that_fails():
    """So that steps which fail may come after it is written."""

    def f(x, y, i):
        x += 1
        return y[i]

    args = X.copy(), X[0], np.array([1])
    assert direct(tj.jit(f).lower(*args).program) == {}
    assert direct(tj.jit(f, donate_argnums=0).lower(*args).program) == {1: 0}


# Arguments that are written to


def descend_in_place(p, g):
    for name in p:
        p[name] -= 0.5 * g[name]


def test_a_step_over_a_hundred_arrays(calls):
    p = {f"p{k}": np.full(3 + k % 5, float(k)) for k in range(100)}
    g = {name: np.ones_like(x) for name, x in p.items()}
    step = tj.jit(descend_in_place)
    lowered = step.lower(p, g)
    assert lowered.program.donors == {k: k for k in range(100)}
    assert len(lowered.program.steps) <= 2  # a kernel is of so many operations
    assert lowered.program.arena_bytes == 0
    wanted = {name: x.copy() for name, x in p.items()}
    for _ in range(4):
        assert step(p, g) is None
        descend_in_place(wanted, g)
        for name in p:
            np.testing.assert_array_equal(p[name], wanted[name])


def add_one(x):
    x += 1


def clear_part(x):
    x[1:3] = 0


def smooth(x):
    x[1:-1] = (x[2:] + x[:-2]) * 0.5


def shift(x):
    x[1:] = x[:-1] * 2


def returned(x):
    x *= 2
    return x, x.copy(), x.T


def scaled(x, y):
    np.multiply(x, y, out=x)
    y[...] = x


def swapped(x, y):
    old = x.copy()
    x[...] = y
    y[...] = old


LAYOUTS = {
    "contiguous": lambda: np.arange(12.0).reshape(4, 3),
    "transposed": lambda: np.arange(12.0).reshape(3, 4).T,
    "every other": lambda: np.arange(24.0).reshape(8, 3)[::2],
    "backwards": lambda: np.arange(12.0).reshape(4, 3)[::-1, ::-1],
    "odd address": lambda: np.frombuffer(bytearray(97), "f8", 12, 1).reshape(4, 3),
}
IN_PLACE = {
    add_one: {0: 0},
    clear_part: {0: 0},
    smooth: {},
    shift: {},
    returned: {1: 0},
    scaled: {0: 0, 1: 1},
    swapped: {1: 1},
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("fn", IN_PLACE, ids=lambda f: f.__name__)
def test_what_is_written_in_place(calls, fn, layout):
    count = fn.__code__.co_argcount
    compiled = tj.jit(fn)
    args = [LAYOUTS[layout]() for _ in range(count)]
    program = compiled.lower(*args).program
    assert direct(program) == IN_PLACE[fn]
    first = len(program.outputs) - count
    assert program.donors == {first + k: k for k in range(count)}
    for turn in range(4):
        args, expected = ([LAYOUTS[layout]() for _ in range(count)] for _ in range(2))
        for x in (*args, *expected):
            x += turn
        got, want = compiled(*args), fn(*expected)
        np.testing.assert_array_equal(args, expected)
        if want is not None:
            assert got[0] is args[0]
            assert np.shares_memory(got[2], args[0])
            for one, two in zip(got, want, strict=True):
                np.testing.assert_array_equal(one, two, strict=True)


def test_without_donation_arguments_are_copied_back():
    with tj.config.override(donation="off"):
        x, compiled = X.copy(), tj.jit(add_one)
        assert compiled.lower(x).program.donors == {}
        compiled(x)
        np.testing.assert_array_equal(x, X + 1)
        y = tj.jit(lambda x: x + 1, donate_argnums=0)(x)
        assert not np.shares_memory(x, y)


@pytest.mark.parametrize("size", [1, 15, 16, 17, 63, 1000, 70_001])
@pytest.mark.parametrize("dtype", ["f4", "f8", "i2", "?"])
def test_sizes_that_fill_no_vectors(size, dtype):
    """No element is computed twice, the last vector's neither."""

    def f(x, y):
        x[...] = x * y + x

    def fresh():
        return (np.arange(size) % 7 + 1).astype(dtype)

    x, y, wanted = fresh(), fresh(), fresh()
    f(wanted, y)
    compiled = tj.jit(f)
    assert compiled.lower(x, y).program.donors == {0: 0}
    compiled(x, y)
    np.testing.assert_array_equal(x, wanted)


def put(x, v):
    x[1:4] = np.sqrt(v)


def fill(x, v):
    x[::3] = 1.5


def add_to_part(x, v):
    x[2:5] += v * 2


def add_to_row(x, v):
    x[1] *= x[1] + 1


def put_reversed(x, v):
    x[4:1:-1] = v


def put_twice(x, v):
    x[:3] = v
    x[3:6] = v + 1


def put_and_sum(x, v):
    before = x.sum()
    x[:3] = v
    return before, x[4:] * 2


def put_shifted(x, v):
    x[1:4] = x[2:5] + v


def put_mean(x, v):
    x[1:4] = v - x[:3].mean()


def turn_part(x, v):
    x[1:4] = x[1:4][::-1] + v


PARTS = {
    put: (3, True),
    fill: (2, True),
    add_to_part: (3, True),
    add_to_row: (1, True),
    put_reversed: (3, True),
    put_twice: (6, False),
    put_and_sum: (6, False),
    put_shifted: (6, False),
    put_mean: (6, False),
    turn_part: (6, False),
}


@pytest.mark.parametrize("columns", [(), (4,)])
@pytest.mark.parametrize("fn", PARTS, ids=lambda f: f.__name__)
def test_writes_to_a_part_touch_that_part(calls, fn, columns):
    """In place, a kernel or copy has the rows that are written, and no others."""
    rows, is_part = PARTS[fn]
    x = np.arange(6.0 * max(1, *columns, 0)).reshape(6, *columns)
    v = x[1:4] + 0.5
    compiled = tj.jit(fn)
    program = compiled.lower(x, v).program
    if is_part:
        assert program.donors == {0: 0}
        start, step = program.steps
        assert (start.input, start.output) == (program.inputs[0], program.outputs[0])
        written = {Run: lambda: step.outputs[0], Copy: lambda: step.output}
        shape = program.buffer(written[type(step)]()).shape
        assert np.prod(shape) == rows * np.prod(columns)
    for _ in range(4):
        got, wanted = x.copy(), x.copy()
        one, two = compiled(got, v), fn(wanted, v)
        np.testing.assert_array_equal(got, wanted)
        assert (one is None) == (two is None)
        for a, b in zip(one or (), two or (), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12)


def test_a_part_that_is_turned_is_written_with_the_rest():
    """To write it alone, a kernel would need a copy of the array."""
    program = tj.jit(turn_part).lower(np.arange(6.0), np.ones(3)).program
    copies = (step for step in program.steps if isinstance(step, Copy))
    assert all(step.purpose is not Purpose.WHOLE for step in copies)


def descend_rows(table, i, g):
    table[i] -= 0.5 * g
    return table


def count(table, i, g):
    np.add.at(table, i, g)
    return table


def shifted_rows(table, i, g):
    table[i] = table[:3] * 2
    return table


@pytest.mark.parametrize("dtype", ["f4", "f8", "c16"])
@pytest.mark.parametrize("fn", [descend_rows, count, shifted_rows])
def test_donated_tables_are_updated_in_place(calls, fn, dtype):
    """A call that is not given its table leaves that alone when an index is wrong."""
    table = np.arange(40).reshape(10, 4).astype(dtype)
    i, g = np.array([7, 0, 3]), np.arange(12).reshape(3, 4).astype(dtype)
    compiled = tj.jit(fn, donate_argnums=0)
    assert direct(compiled.lower(table, i, g).program) == {0: 0}
    assert direct(tj.jit(fn).lower(table, i, g).program) == {}
    for _ in range(4):
        got, wanted = table.copy(), table.copy()
        assert compiled(got, i, g) is got
        fn(wanted, i, g)
        np.testing.assert_array_equal(got, wanted)
    with pytest.raises(IndexError):
        tj.jit(fn)(table, i + 7, g)
    np.testing.assert_array_equal(table, np.arange(40).reshape(10, 4))


@pytest.mark.parametrize("rows", [100, 1 << 15])
def test_what_is_copied_at_the_end(calls, rows):
    """By the program, unless that would keep much memory."""
    x = np.arange(16.0 * rows).reshape(rows, 16)
    compiled, wanted = tj.jit(shift), x.copy()
    program = compiled.lower(x).program
    is_small = x.nbytes <= MOST_COPIED
    assert program.donors == ({0: 0} if is_small else {})
    assert isinstance(program.steps[-1], Copy) == is_small
    for _ in range(4):
        compiled(x)
        shift(wanted)
        np.testing.assert_array_equal(x, wanted)


def test_a_part_of_a_row_of_a_large_array():
    """One number of a million: nothing but it is read or written."""
    x = np.zeros((1000, 1000))
    put_one = tj.jit(lambda x, v: x.__setitem__((7, 5), v))
    program = put_one.lower(x, 2.5).program
    assert program.donors == {0: 0}
    put_one(x, 2.5)
    assert x[7, 5] == 2.5
    assert np.count_nonzero(x) == 1


# Errors and warnings


def test_errors_name_argument_line_and_remedy(calls):
    step = tj.jit(lambda p, g: p - g, donate_argnums=0)
    step(X.copy(), X)  # errors are the same in later calls
    step(X.copy(), X)
    step(X.copy(), X)
    x, frozen = X.copy(), X.copy()
    frozen.flags.writeable = False
    whole = np.zeros((6, 4))
    for args, message in (
        ((x, x), "the argument p is donated, but g is the same array"),
        ((whole[:3], whole[1:4]), "the argument p is donated, but g shares memory"),
        ((frozen, X), "the donated argument p is read-only"),
        ((1.5, X), "donated arguments are arrays, but p is a float"),
    ):
        with pytest.raises(ArgumentError, match=message) as raised:
            step(*args)
        assert "test_donation.py:" in raised.value.source
        assert raised.value.hint.startswith("donate ")
    np.testing.assert_array_equal(x, X)


def test_a_donated_array_that_is_captured():
    weights = X.copy()
    step = tj.jit(lambda x: x * weights, donate_argnums=0)
    with pytest.raises(ArgumentError, match="the captured array weights shares memory"):
        step(weights)
    np.testing.assert_array_equal(weights, X)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"donate_argnums": 2}, r"donate_argnums 2 is out of range: descend takes 2 p"),
        ({"donate_argnums": -1}, r"donate_argnums -1 is out of range"),
        ({"donate_argnames": "q"}, r"donate_argnames \['q'\] are not parameters of de"),
    ],
)
def test_parameters_that_are_not_there(how, message):
    with pytest.raises(TypeError, match=message):
        tj.jit(descend, **how)


def test_one_of_many_positional_arguments():
    @tj.jit(donate_argnums=[1])
    def f(*args):
        return sum(args)

    x, y = X.copy(), X.copy()
    z = f(x, y, X)
    assert np.shares_memory(y, z)
    assert not np.shares_memory(x, z)


@pytest.mark.parametrize(
    ("fn", "x", "reason"),
    [
        (np.sum, X, "has the dtype and size of no result"),
        (lambda x: x + 1j, X, "has the dtype and size of no result"),
        (lambda x: x + 1, X.T, "is not C-contiguous, its strides are [1, 4] elements"),
        (lambda x: x @ x, X[:3, :3].copy(), "is still read when each such result"),
    ],
)
def test_memory_of_no_use_is_warned_of_once(fn, x, reason):
    compiled = tj.jit(fn, donate_argnums=0)
    with pytest.warns(DonationWarning) as caught:
        compiled(x)
    assert reason in str(caught[0].message)
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            np.testing.assert_array_equal(compiled(x), fn(x))


def test_numbers_beside_arrays_are_donated_silently(calls):
    """A step counter in the state of an optimiser, say."""

    def step(state):
        return {"x": state["x"] + state["n"], "n": state["n"] + 1}

    compiled, state = tj.jit(step, donate_argnums=0), {"x": X.copy(), "n": 1}
    for turn in range(1, 6):
        before = state["x"]
        state = compiled(state)
        assert np.shares_memory(before, state["x"])
        assert state["n"] == turn + 1


# Checking


@pytest.mark.parametrize("dtype", ["f4", "c8", "i4", "u1", "?"])
def test_checked_arrays_are_overwritten(calls, dtype):
    lost = {"i4": -(2**31), "u1": 255, "?": True}.get(dtype, np.nan)
    with tj.config.override(donation="check"):
        step = tj.jit(lambda x, y: (x * 2, y), donate_argnums=(0, 1))
        for _ in range(4):
            x, y = np.ones(3, dtype), np.ones(3, dtype)
            doubled, same = step(x, y)
            assert not np.shares_memory(x, doubled)
            assert same is y
            np.testing.assert_array_equal(doubled, np.ones(3, dtype) * 2)
            np.testing.assert_array_equal(y, np.ones(3, dtype))
            np.testing.assert_array_equal(x, np.full(3, lost, dtype))


@tj.jit(donate_argnums=(0,), donate_argnames=("g",))
def pickled(p, g):
    return p - g


def test_inside_of_another_trace_it_means_nothing():
    outer = tj.jit(lambda x: pickled(x, x * 2) + x)
    x = X.copy()
    np.testing.assert_array_equal(outer(x), -X + X)
    np.testing.assert_array_equal(x, X)


def test_pickles_and_remade_functions_donate_too():
    assert pickle.loads(pickle.dumps(pickled)) is pickled
    remake, args = tj.jit(descend, donate_argnums=0).__reduce__()
    p, g = trees()
    made = remake(*args)(p, g)
    assert np.shares_memory(made["a"], p["a"])


# Products, whose epilogues write over what they read


def descend_by_product(w, x, y):
    w -= 0.1 * (x.T @ y)


def gradient_too(w, x, y):
    g = x.T @ y
    w -= 0.1 * g
    return g


def by_its_own_product(w, x, y):
    w -= (w @ w) * 0.5


def into_the_product(w, x, y):
    w[...] = x.T @ y


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("shape", [(5, 3, 5), (64, 700, 64), (131, 1500, 131)])
@pytest.mark.parametrize(
    ("fn", "donors"),
    [
        (descend_by_product, {0: 0}),
        (gradient_too, {1: 0}),
        (by_its_own_product, {}),
        (into_the_product, {0: 0}),
    ],
)
def test_epilogues_of_products(fn, donors, shape, dtype):
    m, k, n = shape
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((k, m)), rng.standard_normal((k, n))
    args = [rng.standard_normal((m, n)), x, y]
    args = [a.astype(dtype) for a in args]
    wanted = [args[0].copy(), *args[1:]]
    compiled = tj.jit(fn)
    assert direct(compiled.lower(*args).program) == donors
    got, want = compiled(*args), fn(*wanted)
    scale = np.abs(wanted[0]).max() * np.finfo(dtype).eps * 64
    np.testing.assert_allclose(args[0], wanted[0], rtol=0, atol=scale)
    if want is not None:
        np.testing.assert_allclose(got, want, rtol=0, atol=scale * 10)
