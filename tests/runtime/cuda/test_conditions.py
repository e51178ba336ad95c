"""Loops with tests, and branches, inside of recordings."""

import ctypes
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import tracejit as tj
from tracejit.runtime.cuda import conditions
from tracejit.runtime.cuda.conditions import ConditionalNode

X = np.arange(12.0).reshape(3, 4)


def doubled(x):
    return tj.while_loop(lambda c: c.sum() < 1000, lambda c: c * 2 + 1, x)


def chosen(x):
    return tj.cond(x.sum() > 100, lambda x: x - 1, lambda x: x * 10, x) + 1


def nested(x):
    def body(c):
        c = tj.cond(c[0, 0] > 3, lambda c: c * 2, lambda c: c + 1, c)
        return tj.while_loop(lambda d: d[0, 1] < 5, lambda d: d + 2, c)

    return tj.while_loop(lambda c: c.sum() < 500, body, x)


def in_scan(x):
    def step(c, row):
        return tj.cond(row[0] > 3, lambda c: c + row, lambda c: c - row, c), c

    return tj.scan(step, np.zeros(4), x)


FUNCTIONS = {
    "while": doubled,
    "cond": chosen,
    "nested": nested,
    "in a scan": in_scan,
}


def results(found):
    return found if isinstance(found, tuple) else (found,)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_recorded_once_they_run_without_the_host(name, fake, device):
    fn = FUNCTIONS[name]
    compiled, x = tj.jit(fn), tj.to_device(X, device)
    y = None
    for turn in range(5):
        host = x.numpy()
        del fake.calls[:], y
        y = compiled(x)
        names = fake.names()
        is_replayed = "cuGraphLaunch" in names
        assert is_replayed == (turn > 0)
        if turn > 1:
            assert not [n for n in names if "DtoH" in n or "Synchronize" in n]
            assert names.count("cuLaunchKernel") == 0
        for a, b in zip(results(y), results(fn(host)), strict=True):
            np.testing.assert_allclose(a.numpy(), b, rtol=1e-12)
        del a
        x += 10


def test_an_index_in_a_loop_is_reported_with_its_line(device):
    def walk(x, i):
        def test(s):
            place, turns = s
            return (place < 9) & (turns < 6)

        return tj.while_loop(test, lambda s: (x[s[0]], s[1] + 1), (i, 0))[0]

    jump, x = tj.jit(walk), tj.to_device(np.array([1, 2, 99, 50]), device)
    i = tj.to_device(np.array(0), device)
    for _ in range(3):
        y = jump(x, i)
        assert int(y) == 99
    x[2] = 5
    y = jump(x, i)
    with pytest.raises(IndexError, match=r"(?s)index 5 .* at .*\.py:\d+"):
        y.numpy()


def test_drivers_without_conditions_are_asked_by_the_host(fake):
    fake.version = 12030
    device = fake.device()
    compiled, x = tj.jit(doubled), tj.to_device(X, device)
    for _ in range(3):
        np.testing.assert_array_equal(compiled(x).numpy(), doubled(X))
    assert "cuStreamBeginCapture" not in fake.names()


def test_what_the_driver_refuses_is_launched(fake, device):
    fake.failing["cuGraphAddNode"] = 801
    compiled, x = tj.jit(nested), tj.to_device(X, device)
    for _ in range(4):
        np.testing.assert_array_equal(compiled(x).numpy(), nested(X))
    assert fake.names().count("cuStreamBeginCapture") == 1
    assert not fake.recording and "cuGraphLaunch" not in fake.names()


def test_a_driver_that_does_not_link_the_kernel_is_asked_by_the_host(fake, device):
    compiled, x = tj.jit(doubled), tj.to_device(X, device)
    compiled(x)
    fake.failing["cuModuleLoadData"] = 218
    for _ in range(2):
        np.testing.assert_array_equal(compiled(x).numpy(), doubled(X))
    assert "cuStreamBeginCapture" not in fake.names()


def test_a_node_is_laid_out_as_the_driver_has_it():
    assert ctypes.sizeof(ConditionalNode) == 256
    places = {
        name: getattr(ConditionalNode, name).offset for name in ("handle", "size")
    }
    assert places == {"handle": 16, "size": 28}
    assert ConditionalNode.bodies.offset == 32 and ConditionalNode.context.offset == 40


def test_the_kernel_that_sets_conditions_assembles(tmp_path):
    triton = pytest.importorskip("triton")
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "ptxas"
    if not tool.exists() and shutil.which("ptxas") is None:
        pytest.skip("there is no ptxas")
    source = tmp_path / "set.ptx"
    source.write_text(conditions._PTX)
    command = [tool if tool.exists() else "ptxas", "--compile-only", "-arch=sm_90"]
    done = subprocess.run(
        [*command, source, "-o", tmp_path / "set.o"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
