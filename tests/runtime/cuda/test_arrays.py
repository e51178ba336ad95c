"""Arrays on a device: NumPy's functions, operators, indexing and methods on them."""

import copy
import pickle
from unittest.mock import patch

import ml_dtypes
import numpy as np
import pytest

import tracejit as tj
from tracejit.runtime.cuda import array as arrays

ML_DTYPES = (ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2)
HOST = np.arange(12.0).reshape(3, 4)


@pytest.fixture
def x(device):
    return tj.to_device(HOST, device)


EXPRESSIONS = {
    "add": lambda x: x + 1,
    "reflected": lambda x: 2 * x - x,
    "with NumPy's": lambda x: np.ones((3, 4)) + x,
    "sum": lambda x: x.sum(axis=0),
    "sum of all": lambda x: np.sum(x),
    "mean": lambda x: x.mean(1, keepdims=True),
    "matmul": lambda x: x @ x.T,
    "einsum": lambda x: np.einsum("ij,ik->jk", x, x),
    "view": lambda x: x.T[1:, ::-1],
    "element": lambda x: x[1, 2],
    "new axes": lambda x: x[None, ..., 1:3],
    "rows by index": lambda x: x[np.array([0, 2])],
    "mask": lambda x: x[x > 5],
    "mask of rows": lambda x: x[np.array([True, False, True]), 1:],
    "where": lambda x: np.where(x > 5, x, 0),
    "concatenate": lambda x: np.concatenate([x, x]),
    "stack": lambda x: np.stack([x[0], x[1]]),
    "astype": lambda x: x.astype(np.float32),
    "reshape": lambda x: x.T.reshape(-1),
    "reshape of a view": lambda x: x.reshape(2, 6).reshape((4, 3)),
    "swapaxes": lambda x: x.swapaxes(0, 1).squeeze(),
    "reduce": lambda x: np.add.reduce(x, axis=1),
    "outer": lambda x: np.multiply.outer(x[0], x[1]),
    "divmod": lambda x: divmod(x, 2),
    "round": lambda x: (x / 7).round(2),
    "argmax": lambda x: x.argmax(axis=1),
    "compare": lambda x: (x == x).all(),
    "copy": copy.deepcopy,
    "no elements": lambda x: x[:0] + 1,
    "real part": lambda x: x.real,
    "python numbers": lambda x: [float(x[0, 1]), int(x[0, 2]), bool(x[1, 1]), len(x)],
    "rows": lambda x: [row.sum() for row in x],
    "in a list": lambda x: x.tolist(),
}


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_expressions_are_numpys(name, x):
    found, want = EXPRESSIONS[name](x), EXPRESSIONS[name](HOST)
    rows = [(found, want)]
    if isinstance(want, list | tuple):
        rows = zip(found, want, strict=True)
    for a, b in rows:
        assert np.shape(a) == np.shape(b)
        assert np.asarray(a).dtype == np.asarray(b).dtype
        np.testing.assert_allclose(np.asarray(a), b, rtol=1e-12)


def add_to_view(y):
    y[:, ::2] += 1


def shift(y):
    y[1:] = y[:-1]


def shift_by_ufunc(y):
    np.add(y[:-1], 1, out=y[1:])


def set_masked(y):
    y[y > 5] = 0


def set_rows(y):
    y[1] = 7
    y[2, 1:3] = np.array([1.5, 2.5])


def set_by_index(y):
    y[np.array([2, 0])] = -1


def through_transpose(y):
    y.T[1] = y[:, 0]


def add_in_place(y):
    y += y
    np.multiply(y, 2, out=y)


def by_methods(y):
    y[0].fill(3)
    y[1:, ::-1].sort(axis=0)


WRITES = (
    *(add_to_view, shift, shift_by_ufunc, set_masked, set_rows),
    *(set_by_index, through_transpose, add_in_place, by_methods),
)


@pytest.mark.filterwarnings("ignore::tracejit.errors.HostFallbackWarning")
@pytest.mark.parametrize("write", WRITES)
def test_writes_are_numpys(write, x):
    want = HOST.copy()
    write(x)
    write(want)
    np.testing.assert_array_equal(x.numpy(), want)


def test_a_view_shares_memory_and_keeps_it(x):
    view = x[1:].T
    x[2] = -1.0
    assert x.device.pool.live_bytes == 512
    del x
    np.testing.assert_array_equal(view.numpy()[:, 1], [-1.0] * 4)


def test_what_is_let_go_of_is_used_again(fake, device):
    first = tj.to_device(HOST, device).shadow.__array_interface__["data"]
    count = fake.names().count("cuMemAllocAsync")
    again = tj.to_device(HOST + 1, device)
    assert again.shadow.__array_interface__["data"] == first
    assert fake.names().count("cuMemAllocAsync") == count


def test_arrays_say_what_they_are(x):
    assert repr(x[0]) == "Array([0., 1., 2., 3.], device=cuda:0)"
    assert repr(x[0].astype(np.float32)) == (
        "Array([0., 1., 2., 3.], dtype=float32, device=cuda:0)"
    )
    assert (x.ndim, x.size, x.itemsize, x.nbytes, x.strides) == (2, 12, 8, 96, (32, 8))
    with pytest.raises(TypeError, match="unhashable"):
        hash(x)
    with pytest.raises(TypeError, match="len"):
        len(x[0, 0])
    with pytest.raises(AttributeError, match="no attribute 'summ'"):
        _ = x.summ
    with pytest.raises(ValueError, match="is copied"):
        np.array(x, copy=False)


def test_the_cuda_array_interface(x, device):
    interface = x[:, 1:].__cuda_array_interface__
    assert interface["shape"] == (3, 3)
    assert interface["strides"] == (32, 8)
    assert interface["data"][0] == x.shadow.__array_interface__["data"][0] + 8
    for dtype in ML_DTYPES:
        narrow = tj.to_device(np.ones(2, dtype), device)
        with pytest.raises(tj.errors.ArgumentError, match="DLPack"):
            _ = narrow.__cuda_array_interface__


def test_pickles_name_their_device(x, device):
    data = pickle.dumps(x)
    with patch.object(arrays, "cuda_device", lambda ordinal: device):
        np.testing.assert_array_equal(pickle.loads(data).numpy(), HOST)


@pytest.mark.parametrize("dtype", ["i1", "u2", "i4", "i8", "f2", "f4", "?", *ML_DTYPES])
def test_dtypes(dtype, device):
    host = np.array([0, 1, 1, 0], dtype)
    found = tj.to_device(host, device)
    total = found + found
    assert total.dtype == (host + host).dtype
    np.testing.assert_array_equal(total.numpy(), host + host)


def test_no_room_says_what_is_live(fake, x):
    fake.capacity = fake.used + (1 << 20)
    with pytest.raises(MemoryError, match="no room for 8,000,000 bytes") as error:
        tj.to_device(np.zeros(1_000_000), x.device)
    assert "96 bytes: array" in str(error.value)
    np.testing.assert_array_equal(x.numpy(), HOST)


def test_free_blocks_are_given_back_before_there_is_no_room(fake, device):
    fake.capacity = 1 << 20
    tj.to_device(np.zeros(80_000), device)
    assert device.pool.kept_bytes > 600_000
    assert tj.to_device(np.zeros(100_000), device).size == 100_000
    assert fake.names().count("cuMemFreeAsync") == 1
