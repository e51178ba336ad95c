"""The programs on a device: results, changed arguments, shared memory."""

import itertools
import warnings

import numpy as np
import pytest

import tracejit as tj
from tests.programs.compare import leaves, relative_error
from tests.programs.registry import PROGRAMS
from tests.sampling import sampled
from tracejit.errors import HostFallbackWarning

F32 = np.dtype(np.float32)


def on_device(tree, device):
    """Return arguments with their arrays on a device; equal objects stay equal."""
    moved = {}

    def move(x):
        if isinstance(x, np.ndarray):
            if id(x) not in moved:
                moved[id(x)] = tj.to_device(x, device)
            return moved[id(x)]
        if isinstance(x, dict):
            return {k: move(v) for k, v in x.items()}
        if type(x) in (list, tuple):
            return type(x)(move(v) for v in x)
        return x

    return move(tree)


def on_host(x):
    return x.numpy() if isinstance(x, tj.Array) else x


def values(tree):
    """Return paths without types, and values on the host."""
    return [(path, on_host(x)) for path, x in leaves(tree)]


def check(program, device, moved, dtype=F32):
    """Compare a program on a device with NumPy; its arrays start there if `moved`."""
    host, call = program.fresh_args(dtype), program.fresh_args(dtype)
    want = program.fn(*host.args, **host.kwargs)
    args, kwargs = call.args, call.kwargs
    if moved:
        args, kwargs = on_device((args, kwargs), device)
    jitted = tj.jit(program.fn, static_argnames=program.static_argnames, device=device)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", HostFallbackWarning)
        got = jitted(*args, **kwargs)
    device.synchronize()
    pairs = [(got, want), (args, host.args), (kwargs, host.kwargs)]
    for found, expected in pairs:
        rows = zip(values(found), values(expected), strict=True)
        for (path, x), (other, y) in rows:
            assert path == other
            assert np.shape(x) == np.shape(y), path
            assert relative_error(x, y) <= 4 * program.rtol(dtype), path


CALLS = itertools.product(PROGRAMS, (False, True))


@pytest.mark.parametrize(("name", "moved"), sampled(CALLS, 9))
def test_programs_give_what_numpy_gives(name, moved, device):
    check(PROGRAMS[name], device, moved)
