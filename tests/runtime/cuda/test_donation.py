"""Arguments written in place on a device, and memory that calls give away."""

import numpy as np
import pytest

import tracejit as tj
from tracejit.errors import ArgumentError, DonationWarning

X = np.arange(12.0, dtype=np.float32).reshape(3, 4)


def descend(p, g):
    return {name: p[name] - 0.5 * g[name] for name in p}


def on_device(device, tree):
    return {name: tj.to_device(x, device) for name, x in tree.items()}


def test_a_result_lies_in_the_memory_of_a_donated_array(device):
    step = tj.jit(descend, donate_argnums=0)
    host = {"a": X, "b": X + 1}
    p, g = on_device(device, host), on_device(device, host)
    for _ in range(4):
        places = {name: x.shadow.ctypes.data for name, x in p.items()}
        live = device.pool.live_bytes
        p, host = step(p, g), {name: host[name] - 0.5 * g[name].numpy() for name in p}
        assert {name: x.shadow.ctypes.data for name, x in p.items()} == places
        assert device.pool.live_bytes == live
        for name, x in p.items():
            np.testing.assert_array_equal(x.numpy(), host[name])


def test_a_donated_array_is_lost(device):
    step = tj.jit(descend, donate_argnames="p")
    for _ in range(3):  # the first call, and those that a guard runs
        p, g = (on_device(device, {"a": X}) for _ in range(2))
        step(p, g)
        x = p["a"]
        for use, args in ((tj.Array.numpy, (x,)), (np.add, (x, 1)), (step, (p, g))):
            with pytest.raises(ArgumentError, match="was donated"):
                use(*args)
        np.testing.assert_array_equal(g["a"].numpy(), X)


def test_what_is_returned_is_not_lost(device):
    @tj.jit(donate_argnums=(0,))
    def both(x):
        return x, x + 1

    x = tj.to_device(X, device)
    same, y = both(x)
    assert same is x
    np.testing.assert_array_equal(x.numpy(), X)
    np.testing.assert_array_equal(y.numpy(), X + 1)


def test_an_argument_is_written_in_place(fake, device):
    def add(x, y):
        x += y

    compiled = tj.jit(add)
    x, y = tj.to_device(X, device), tj.to_device(X, device)
    assert compiled.lower(x, y).program.donors == {0: 0}
    for turn in range(3):
        del fake.calls[:]
        compiled(x, y)
        assert "cuMemcpyDtoDAsync" not in fake.names()
        np.testing.assert_array_equal(x.numpy(), X * (turn + 2))


def test_arrays_of_the_host_are_copied_back(device):
    def add(x, y):
        x += y

    x, compiled = X.copy(), tj.jit(add, device=device)
    for turn in range(3):
        compiled(x, X)
        np.testing.assert_array_equal(x, X * (turn + 2))


def test_odd_addresses_are_copied_back(device):
    def add(x, y):
        x += y

    whole, y = tj.to_device(X.ravel(), device), tj.to_device(X.ravel()[1:], device)
    for turn in range(3):
        tj.jit(add)(whole[1:], y)
        wanted = np.concatenate([X.ravel()[:1], X.ravel()[1:] * (turn + 2)])
        np.testing.assert_array_equal(whole.numpy(), wanted)


def test_a_donated_array_of_the_host_lends_its_copy(device):
    x = X.copy()
    y = tj.jit(lambda x: x * 2, device=device, donate_argnums=0)(x)
    np.testing.assert_array_equal(y.numpy(), 2 * X)
    np.testing.assert_array_equal(x, X)


def test_a_donated_array_of_no_use_is_lost_too(device):
    x = tj.to_device(X, device)
    with pytest.warns(DonationWarning, match="of no use: x: "):
        tj.jit(lambda x: x.sum(axis=0), donate_argnums=0)(x)
    with pytest.raises(ArgumentError, match="was donated"):
        x.numpy()


def test_the_same_array_twice(device):
    x = tj.to_device(X, device)
    with pytest.raises(ArgumentError, match="donated, but g is the same array"):
        tj.jit(lambda p, g: p - g, donate_argnums=0)(x, x)
    np.testing.assert_array_equal(x.numpy(), X)


def descend_by_product(w, x, y):
    w -= 0.1 * (x.T @ y)


@pytest.mark.parametrize("rows", [3, 70, 300])
def test_an_epilogue_of_a_product_in_place(device, rows):
    rng = np.random.default_rng(0)
    host = [rng.standard_normal(s) for s in ((17, 33), (rows, 17), (rows, 33))]
    host = [x.astype(np.float32) for x in host]
    w, x, y = (tj.to_device(a, device) for a in host)
    compiled = tj.jit(descend_by_product)
    assert compiled.lower(w, x, y).program.donors == {0: 0}
    for _ in range(2):
        compiled(w, x, y)
        descend_by_product(*host)
        np.testing.assert_allclose(w.numpy(), host[0], rtol=0, atol=1e-4)


def descend_rows(table, i, g):
    table[i] -= 0.5 * g


def test_a_donated_table_is_updated_in_place(device):
    table, g = np.arange(40.0).reshape(10, 4), np.arange(12.0).reshape(3, 4)
    i = np.array([7, 0, 3])
    placed = [tj.to_device(x, device) for x in (table, i, g)]
    compiled = tj.jit(descend_rows, donate_argnums=0)
    assert compiled.lower(*placed).program.donors == {0: 0}
    for _ in range(3):
        compiled(*placed)
        descend_rows(table, i, g)
        np.testing.assert_array_equal(placed[0].numpy(), table)
