"""The namespace in traces, under transformations and on devices."""

import numpy as np
import pytest

import tracejit as tj
import tracejit.numpy as tnp
from tests.codegen.triton.conftest import interpreter  # noqa: F401
from tests.runtime.cuda.conftest import device, fake  # noqa: F401
from tracejit.errors import TracejitError, UnsupportedError
from tracejit.tracing.tracer import Tracer

from .comparing import assert_same
from .samples import ARRAYS, evaluated
from .standard import ATTRIBUTES, DTYPES, METHODS

X = np.array([3.0, 0.0, 1.0, 3.0])
NO_MEMORY_YET = {"__dlpack__", "__dlpack_device__"}


def in_trace(fn, *args):
    """Return what `fn` returns in a trace, which nothing compiles."""
    found = []

    def run(*xs):
        found.append(fn(*xs))

    tj.jit(run).trace(*args)
    return found[0]


# --- the array object -------------------------------------------------------------


def test_arrays_have_what_the_standard_names():
    names = {*ATTRIBUTES, *METHODS.split()}
    assert {n for n in names if not hasattr(Tracer, n)} == NO_MEMORY_YET
    assert {n for n in names if not hasattr(tj.Array, n)} <= {"device"}


def test_arrays_know_their_namespace():
    def spaces(x):
        return x.__array_namespace__(), x.__array_namespace__(api_version="2023.12")

    assert in_trace(spaces, X) == (tnp, tnp)
    assert tj.numpy is tnp
    with pytest.raises(ValueError, match=r"follows the Array API 2024\.12, not"):
        in_trace(lambda x: x.__array_namespace__(api_version="2030.1"), X)


def test_traced_arrays_are_on_the_cpu():
    assert in_trace(lambda x: x.device, X) == "cpu"
    assert in_trace(lambda x: x.to_device("cpu") is x, X)
    with pytest.raises(UnsupportedError, match="cannot go from cpu to cuda:0"):
        in_trace(lambda x: x.to_device("cuda:0"), X)
    with pytest.raises(UnsupportedError, match="an array on cuda:0 inside of a func"):
        in_trace(lambda x: tnp.zeros(3, device="cuda:0"), X)


# --- dtypes -----------------------------------------------------------------------


@pytest.mark.parametrize("name", DTYPES)
def test_promotion_is_the_same_in_traces(name):
    others = [np.ones(2, d) for d in DTYPES]
    one = np.ones(2, name)

    def sums(one, others):
        return [tnp.add(one, x) for x in others]

    want = [x.dtype for x in sums(one, others)]
    traced = in_trace(lambda a, b: [x.dtype for x in sums(a, b)], one, others)
    assert traced == want
    assert (
        in_trace(lambda a, b: [tnp.result_type(a, x) for x in b], one, others) == want
    )


@pytest.mark.parametrize("scalar", [True, 2, 0.5, 1j])
def test_python_numbers_are_weak(scalar):
    arrays = [np.ones(2, d) for d in DTYPES if d != "bool"]
    want = [np.multiply(x, scalar).dtype for x in arrays]
    assert in_trace(lambda a: [(x * scalar).dtype for x in a], arrays) == want
    found = in_trace(lambda a: [tnp.result_type(x, scalar) for x in a], arrays)
    assert found == want


def test_questions_about_dtypes_have_pythons_answers():
    def ask(x, n):
        return (
            tnp.can_cast(x, tnp.float32),
            tnp.can_cast(x, tnp.complex64),
            tnp.result_type(n, tnp.float32),
            tnp.finfo(x).bits,
            tnp.isdtype(x.dtype, "real floating"),
        )

    want = (True, True, np.dtype(np.float32), 32, True)
    assert in_trace(ask, X.astype(np.float32), 1.5) == want


# --- creation ---------------------------------------------------------------------


def test_new_arrays_take_traced_writes():
    @tj.jit
    def f(x):
        out = tnp.zeros_like(KEPT)
        out[1] = x[0]
        rows = tnp.ones((2, 4), dtype=x.dtype, device=x.device)
        rows[0] += x
        return out, rows, tnp.asarray([x[0], 1.0]), tnp.full(2, x[2])

    rows = np.array([X + 1, np.ones(4)])
    want = [0.0, 3.0, 0.0, 0.0], rows, [3.0, 1.0], [1.0, 1.0]
    for found, expected in zip(f(X), want, strict=True):
        np.testing.assert_array_equal(found, expected)


KEPT = np.zeros(4)


def test_asarray_copies_as_it_is_told():
    assert tnp.asarray(X) is X
    assert tnp.asarray(X, copy=True) is not X
    assert tnp.asarray(X, device="cpu") is X
    with pytest.raises(ValueError, match="copy"):
        tnp.asarray(X, dtype=tnp.int8, copy=False)
    assert in_trace(lambda x: tnp.asarray(x) is x, X)
    assert in_trace(lambda x: tnp.asarray(x, copy=True) is x, X) is False


def test_asarray_in_a_trace_refuses_copies():
    with pytest.raises(ValueError, match="copy"):
        in_trace(lambda x: tnp.asarray(x, dtype=tnp.int8, copy=False), X)


def test_limits_take_arrays():
    assert tnp.iinfo(np.ones(2, np.int16)).bits == 16
    assert tnp.finfo(np.ones(2, np.complex64)).dtype == np.float32


# --- transformations --------------------------------------------------------------


def test_functions_are_differentiated():
    def f(x):
        return tnp.sum(tnp.sort(x, descending=True) * tnp.linspace(0.0, 1.0, 3)) + (
            tnp.vecdot(tnp.diff(x), tnp.diff(x))
        )

    x = np.array([0.3, 0.7, 0.1])
    tj.testing.check_grads(f, (x,))


def test_functions_are_batched():
    x = np.array([[3.0, 1.0, 2.0], [4.0, 4.0, 0.0]])
    found = tj.jit(tj.vmap(lambda v: tnp.argsort(v, descending=True)))(x)
    np.testing.assert_array_equal(found, tnp.argsort(x, descending=True))
    found = tj.vmap(lambda v: tnp.unique_values(v, size=3, fill_value=-1))(x)
    np.testing.assert_array_equal(found, [[1, 2, 3], [0, 4, -1]])


# --- shapes that depend on values -------------------------------------------------


def test_sizes_fill_up_and_cut_off():
    mask = np.array([[0, 7, 0], [1, 0, 2]])
    for run in (lambda f: f, tj.jit):
        rows, cols = run(lambda m: tnp.nonzero(m, size=4, fill_value=9))(mask)
        assert (rows.tolist(), cols.tolist()) == ([0, 1, 1, 9], [1, 0, 2, 9])
        rows, cols = run(lambda m: tnp.nonzero(m, size=2))(mask)
        assert (rows.tolist(), cols.tolist()) == ([0, 1], [1, 0])
        found = run(lambda x: tnp.unique_all(x, size=4))(X)
        values, indices, inverse, counts = (part.tolist() for part in found)
        assert values == [0.0, 1.0, 3.0, 0.0]
        assert (indices, inverse, counts) == ([1, 2, 0, 0], [2, 0, 1, 2], [1, 1, 2, 0])
        assert run(lambda x: tnp.unique_counts(x, size=2))(X).counts.tolist() == [1, 1]


@pytest.mark.parametrize("shape", [(0,), (2, 0)])
def test_sizes_of_nothing(shape):
    for run in (lambda f: f, tj.jit):
        found = run(lambda x: tnp.unique_all(x, size=2, fill_value=7))(np.zeros(shape))
        assert found.values.tolist() == [7.0, 7.0]
        assert found.counts.tolist() == [0, 0]
        assert found.inverse_indices.shape == shape
        found = run(lambda x: tnp.nonzero(x, size=1, fill_value=-1))(np.zeros(shape))
        assert [part.tolist() for part in found] == [[-1]] * len(shape)
    with pytest.raises(ValueError, match="fill_value= must say what 2 values are"):
        tnp.unique_values(np.zeros(shape), size=2)


def test_each_nan_is_a_value():
    x = np.array([np.nan, 1.0, np.nan])
    found = tj.jit(lambda x: tnp.unique_counts(x, size=3))(x)
    np.testing.assert_array_equal(found.values, [1.0, np.nan, np.nan])
    assert found.counts.tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    "name",
    ["nonzero", "unique_all", "unique_counts", "unique_inverse", "unique_values"],
)
def test_without_sizes_values_must_be_known(name):
    function = getattr(tnp, name)
    hint = rf"tracejit\.numpy\.{name}\(x, size=n\)"
    with pytest.raises(UnsupportedError, match=hint) as caught:
        in_trace(lambda x: function(x), X)
    assert f"np.{name} of a traced f64[4] has a shape" in str(caught.value)
    assert "test_arrays.py:" in str(caught.value)
    known = tj.jit(lambda: function(tnp.asarray([3, 1, 3])))()
    assert_same(known, function(np.asarray([3, 1, 3])))


def test_repeats_must_be_known():
    with pytest.raises(UnsupportedError, match="counts has a shape that depends on"):
        in_trace(lambda x, n: tnp.repeat(x, n), X, np.array([1, 2, 0, 1]))


# --- devices ----------------------------------------------------------------------

ON_DEVICES = """
asarray(x, dtype=tnp.float32, copy=True)
zeros_like(x, dtype=tnp.int32)
full_like(x, 2)
astype(x, tnp.int32)
result_type(x, f)
can_cast(x, tnp.complex128)
exp(x)
add(1, f)
clip(x, 0.25, 0.5)
round(x * 9)
where(b, x, 0)
take(x, k, axis=1)
take_along_axis(x, j % 4)
matmul(s, x)
vecdot(x, y, axis=0)
tensordot(s, x, axes=1)
broadcast_arrays(x, v)
concat([x, y], axis=1)
permute_dims(t, (2, 0, 1))
reshape(x, (2, 6))
roll(x, (1, -1), axis=(0, 1))
repeat(x, 2, axis=1)
unstack(x, axis=1)
tril(x, k=1)
argmax(x, axis=1, keepdims=True)
count_nonzero(i > 3, axis=0)
count_nonzero(i)
nonzero(b)
nonzero(b, size=7)
unique_counts(j, size=12)
unique_values(v)
sort(x, descending=True)
argsort(j, axis=0, descending=True)
searchsorted(v, x)
cumulative_sum(x, axis=1, include_initial=True)
var(x, correction=1)
sum(f, axis=1, keepdims=True)
all(b, axis=0)
diff(x, axis=0, n=2)
linalg.trace(t)
linalg.vector_norm(x, axis=1, ord=1)
"""


@pytest.mark.parametrize("sample", ON_DEVICES.split("\n")[1:-1])
def test_values_on_devices(sample, device):  # noqa: F811
    placed = {name: tj.to_device(x, device) for name, x in ARRAYS.items()}
    found = evaluated(sample, placed, np=np, tnp=tnp)
    assert_same(found, evaluated(sample, ARRAYS, np=np, tnp=tnp))
    parts = found if isinstance(found, tuple) else (found,)
    is_array = isinstance(parts[0], tj.Array)
    assert is_array or isinstance(found, bool | np.dtype)
    assert all(x.device is device for x in parts if is_array)


def test_arrays_are_made_on_devices(device):  # noqa: F811
    made = [
        tnp.zeros((2, 3), device=device),
        tnp.arange(3, device=device),
        tnp.asarray([1.0, 2.0], device=device),
        tnp.linspace(0.0, 1.0, 4, device=device, dtype=tnp.float32),
        tnp.fft.fftfreq(5, device=device),
        tnp.ones_like(X, device=device),
        tnp.astype(X, tnp.int8, device=device),
        *tnp.meshgrid(tnp.arange(2, device=device), tnp.arange(3, device=device)),
    ]
    assert all(isinstance(x, tj.Array) and x.device is device for x in made)
    assert all(x.device == "cuda:0" for x in made)
    np.testing.assert_array_equal(np.asarray(made[3]), np.linspace(0, 1, 4, dtype="f"))
    assert isinstance(tnp.zeros_like(made[0], device="cpu"), np.ndarray)
    assert tnp.asarray(made[0]) is made[0]
    assert tnp.asarray(made[0], copy=True) is not made[0]


def test_arrays_move_between_devices(device):  # noqa: F811
    x = tj.to_device(X, device)
    assert x.__array_namespace__() is tnp
    assert x.to_device(device) is x
    host = x.to_device("cpu")
    assert type(host) is np.ndarray
    np.testing.assert_array_equal(host, X)
    with pytest.raises(ValueError, match="is copied to be on cuda:0"):
        tnp.asarray(X, device=device, copy=False)
    with pytest.raises(ValueError, match="unable to avoid a copy"):
        tnp.asarray(x, dtype=tnp.float32, copy=False)


def test_traces_know_their_device(device):  # noqa: F811
    x = tj.to_device(X, device)
    seen = []

    @tj.jit
    def f(x):
        seen.append(x.device)
        return x + tnp.ones(4, device=x.device)

    out = f(x)
    assert seen == [device]
    np.testing.assert_array_equal(np.asarray(out), X + 1)
    with pytest.raises(TracejitError, match="an array on cpu inside of a function"):
        tj.jit(lambda x: x + tnp.ones(4, device="cpu"))(x)


def test_captured_arrays_tell_the_device(device):  # noqa: F811
    x = tj.to_device(X, device)

    @tj.jit
    def f():
        return (x + 1).device == device

    assert f()


# --- what there is ----------------------------------------------------------------


def test_the_namespace_says_what_there_is():
    info = tnp.__array_namespace_info__()
    assert info.devices() == tj.devices()
    assert info.default_device() == "cpu"
    assert set(info.dtypes()) == set(DTYPES)
    assert [*info.dtypes(kind="complex floating")] == ["complex64", "complex128"]
    assert len(info.dtypes(kind=("integral", "bool"))) == 9
    assert info.default_dtypes()["real floating"] == tnp.zeros(1).dtype
    assert info.capabilities()["max dimensions"] == np.ones((1,) * 64).ndim
    with pytest.raises(ValueError, match="no kind of dtypes: 'quaternion'"):
        info.dtypes(kind="quaternion")


def test_dlpack_is_taken():
    assert np.shares_memory(tnp.from_dlpack(X), X)
    assert not np.shares_memory(tnp.from_dlpack(X, copy=True), X)
    assert in_trace(lambda x: tnp.from_dlpack(x) is x, X)


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_directions_of_special_numbers_are_numpys(dtype):
    parts = [0.0, -0.0, 1.5, -2.0, np.inf, -np.inf, np.nan, 1e-40, 1e38]
    z = np.array([complex(a, b) for a in parts for b in parts], dtype)
    with np.errstate(all="ignore"):
        want = np.sign(z)
    found = tj.jit(tnp.sign)(z)
    for one, two in ((found.real, want.real), (found.imag, want.imag)):
        np.testing.assert_allclose(one, two, rtol=4 * np.finfo(one.dtype).eps)
        signed = ~np.isnan(two)
        np.testing.assert_array_equal(np.signbit(one[signed]), np.signbit(two[signed]))
