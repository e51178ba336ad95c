"""Arrays that PyTorch, CuPy and JAX share with us on the machine's device."""

import numpy as np
import pytest

import tracejit as tj

HOST = np.arange(12.0, dtype=np.float32).reshape(3, 4)


def test_torch_sees_our_arrays_and_we_see_its(device):
    torch = pytest.importorskip("torch")
    x = tj.to_device(HOST, device)
    tensor = torch.from_dlpack(x)
    assert tensor.data_ptr() == x.shadow.__array_interface__["data"][0]
    tensor += 1  # on PyTorch's stream, which ours waits for
    np.testing.assert_array_equal((x * 2).numpy(), (HOST + 1) * 2)
    theirs = torch.arange(6, device="cuda", dtype=torch.bfloat16).reshape(2, 3).T
    ours = tj.to_device(theirs, device)
    assert ours.shape == (3, 2)
    ours *= 2
    assert theirs.sum().item() == 30
    as_tensor = torch.as_tensor(x, device="cuda")
    np.testing.assert_array_equal(as_tensor.cpu().numpy(), HOST + 1)


def test_torch_on_a_stream_of_its_own(device):
    torch = pytest.importorskip("torch")
    with torch.cuda.stream(torch.cuda.Stream()):
        for turn in range(20):
            x = tj.to_device(np.full(1 << 20, turn, np.float32), device)
            total = torch.from_dlpack(x * 2).sum().item()
            assert total == 2 * turn * (1 << 20)


def test_cupy(device):
    cupy = pytest.importorskip("cupy")
    x = tj.to_device(HOST, device)
    np.testing.assert_array_equal(cupy.asarray(x).get(), HOST)
    back = tj.to_device(cupy.arange(4.0), device)
    np.testing.assert_array_equal(back.numpy(), np.arange(4.0))


def test_jax(device):
    jax = pytest.importorskip("jax")
    x = tj.to_device(HOST, device)
    np.testing.assert_array_equal(np.asarray(jax.dlpack.from_dlpack(x)), HOST)
    back = tj.to_device(jax.numpy.arange(4.0, dtype="float32"), device)
    np.testing.assert_array_equal(back.numpy(), np.arange(4.0))
