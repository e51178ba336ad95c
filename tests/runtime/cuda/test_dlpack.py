"""Arrays that are handed to other libraries and taken from them, without copies.

What the struct says is read back by the code that takes arrays; NumPy's and PyTorch's
own readers see an array of the host once its device is put back.
"""

import gc

import ml_dtypes
import numpy as np
import pytest

import tracejit as tj
from tracejit.runtime.cuda import dlpack

from .fake import FakeDriver

HOST = np.arange(12.0).reshape(3, 4)


class Other:
    """An array of another library: what it gives is ours, or NumPy's struct."""

    def __init__(self, x, ordinal=0, old=False):
        self.x, self.ordinal, self.old = x, ordinal, old

    def __dlpack_device__(self):
        return 2, self.ordinal

    def __dlpack__(self, **kwargs):
        if self.old:
            if "max_version" in kwargs:
                raise TypeError("unexpected keyword argument 'max_version'")
            kwargs["max_version"] = None
        return self.x.__dlpack__(**kwargs)


DTYPES = ["f4", "f8", "f2", "i1", "i8", "u2", "?", "c8", ml_dtypes.bfloat16]
DTYPES += [ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2]


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_round_trips_share_memory(dtype, old, device):
    x = tj.to_device(np.arange(6).reshape(2, 3).astype(dtype), device)
    for one in (x, x.T[1:], x[0, 1]):
        again = tj.to_device(Other(one, old=old), device)
        assert (again.dtype, again.shape) == (one.dtype, one.shape)
        assert again.shadow.__array_interface__ == one.shadow.__array_interface__
        np.testing.assert_array_equal(again.numpy(), one.numpy())


def test_borrowed_memory_goes_back_with_its_last_view(device):
    x = tj.to_device(HOST, device)
    view = tj.to_device(Other(x), device)[1:]
    del x
    gc.collect()
    assert device.pool.live_bytes == 512
    np.testing.assert_array_equal(view.numpy(), HOST[1:])
    del view
    gc.collect()
    assert device.pool.live_bytes == 0


def test_the_consumers_stream_waits(fake, device):
    x = tj.to_device(HOST, device)
    del fake.calls[:]
    for stream in (None, 1, -1):
        x.__dlpack__(stream=stream)
    assert fake.names() == []
    x.__dlpack__(stream=77)
    waits = [arguments for name, arguments in fake.calls if name == "cuStreamWaitEvent"]
    assert [stream for stream, _, _ in waits] == [77]


def test_other_readers_agree():
    x = tj.to_device(HOST, FakeDriver(None, visible=True).device())
    capsule = x[:, ::2].__dlpack__(max_version=(1, 0))
    _, managed = dlpack._managed(capsule)
    assert (managed.tensor.device_type, managed.tensor.device_id) == (2, 0)
    managed.tensor.device_type = 1  # the fake's memory is the host's

    class OnHost:
        def __dlpack_device__(self):
            return 1, 0

        def __dlpack__(self, **kwargs):
            return capsule

    np.testing.assert_array_equal(np.from_dlpack(OnHost()), HOST[:, ::2])


def test_arrays_of_another_device_are_not_taken(fake, device):
    with pytest.raises(BufferError, match="on cuda:0"):
        tj.to_device(HOST, device).__dlpack__(dl_device=(1, 0))
    x = tj.to_device(HOST, device)
    assert not dlpack.is_on(Other(x, ordinal=1), device)


def test_a_capsule_is_taken_once(device):
    capsule = tj.to_device(HOST, device).__dlpack__()

    class Same(Other):
        def __dlpack__(self, **kwargs):
            return capsule

    tj.to_device(Same(None), device)
    with pytest.raises(tj.errors.ArgumentError, match="used before"):
        tj.to_device(Same(None), device)
