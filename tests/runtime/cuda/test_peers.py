"""Copies between devices: in order, and without the host."""

from unittest.mock import patch

import numpy as np
import pytest

import tracejit as tj
from tracejit.runtime.cuda.order import Arrivals, Marks

X = np.arange(12.0).reshape(3, 4)


@pytest.fixture
def pair(fake):
    fake.count = 2
    return fake.device(0), fake.device(1)


def double_then_move(pair):
    x = tj.jit(lambda x: x * 2)(tj.to_device(X, pair[0]))
    return x, tj.to_device(x, pair[1])


def test_the_host_takes_no_part(fake, pair):
    x, y = double_then_move(pair)
    assert (x.place, y.place) == ("cuda:0", "cuda:1")
    names = fake.names()
    assert names.count("cuMemcpyPeerAsync") == 1
    assert not [n for n in names if "DtoH" in n or n.endswith("Synchronize")]
    np.testing.assert_array_equal(y.numpy(), 2 * X)


def test_what_is_computed_there_waits_for_it_and_what_is_here_is_kept(pair):
    x, y = double_then_move(pair)
    found = tj.jit(lambda y: y + 1)(y)
    x += 100  # after it was copied
    np.testing.assert_array_equal(found.numpy(), 2 * X + 1)
    np.testing.assert_array_equal(x.numpy(), 2 * X + 100)
    back = tj.to_device(found, pair[0])
    np.testing.assert_array_equal((back + x).numpy(), 4 * X + 101)


def test_memory_that_is_copied_from_is_not_used_again_before(pair):
    for k in range(3):
        x = tj.jit(lambda x, k: x * 2 + k)(tj.to_device(X, pair[0]), k)
        y = tj.to_device(x, pair[1])
        del x
        z = tj.jit(lambda x: x - 1)(tj.to_device(X, pair[0]))
        np.testing.assert_array_equal(y.numpy(), 2 * X + k)
        np.testing.assert_array_equal(z.numpy(), X - 1)


def test_views_and_uploads_are_copied_too(pair):
    x = tj.to_device(X, pair[0])
    np.testing.assert_array_equal(tj.to_device(x, pair[1]).numpy(), X)
    np.testing.assert_array_equal(tj.to_device(x.T[1:], pair[1]).numpy(), X.T[1:])
    empty = tj.to_device(x[:0], pair[1])
    assert (empty.shape, empty.place) == ((0, 4), "cuda:1")


def test_devices_are_let_see_each_other_once(fake, pair):
    for _ in range(3):
        double_then_move(pair)
    assert fake.names().count("cuMemPoolSetAccess") == 2


@pytest.mark.parametrize(("owner", "name"), [(Arrivals, "_settle"), (Marks, "wait")])
def test_a_wait_that_is_missing_is_found(owner, name, fake, pair):
    with patch.object(owner, name, lambda *arguments: None):
        _, y = double_then_move(pair)
        tj.jit(lambda y: y + 1)(y)
    assert fake.order.faults
    del fake.order.faults[:]
