"""What the runtime asks of the driver: devices, kernels, memory, order, errors."""

import gc
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest

import tracejit as tj
from tracejit.errors import DeviceError, NoDeviceError
from tracejit.runtime.cuda import device as device_module
from tracejit.runtime.cuda import driver as driver_module
from tracejit.runtime.cuda.device import Device

X = np.arange(12.0, dtype=np.float32)


def called(fake, name):
    return [arguments for function, arguments in fake.calls if function == name]


def with_shared(fake, shared):
    """Return a device whose kernels need so much shared memory."""

    def build(code, arch, aligned):
        built = fake.build(code, arch, aligned)
        return replace(built, facts=replace(built.facts, shared=shared))

    return Device(0, fake.driver, build)


def test_a_device_is_its_primary_context_and_streams(fake):
    device = fake.device()
    assert repr(device) == "<device cuda:0: Fake H200, sm_90>"
    assert len(called(fake, "cuDevicePrimaryCtxRetain")) == 1
    # They wait for the default stream.
    assert [flags for _, flags in called(fake, "cuStreamCreate")] == [0, 0, 0]
    assert called(fake, "cuMemAllocAsync") == []  # nothing before it is asked for


def test_little_shared_memory_is_there_without_asking(fake):
    tj.jit(lambda x: x * 2, device=with_shared(fake, 48 << 10))(X)
    assert called(fake, "cuFuncSetAttribute") == []
    assert called(fake, "cuLaunchKernel")[0][7] == 48 << 10


def test_much_shared_memory_is_asked_for(fake):
    tj.jit(lambda x: x * 2, device=with_shared(fake, 100_000))(X)
    ((function, attribute, value),) = called(fake, "cuFuncSetAttribute")
    assert (attribute, value) == (8, 232448)
    assert called(fake, "cuLaunchKernel")[0][0] == function


def test_more_shared_memory_than_there_is_names_the_kernel(fake):
    with pytest.raises(
        DeviceError, match=r"double_k0_mul needs 300000 bytes .* 232448"
    ):

        def double(x):
            return x * 2

        tj.jit(double, device=with_shared(fake, 300_000))(X)


def test_equal_kernels_are_loaded_once(fake, device):
    for _ in range(2):
        tj.jit(lambda x: x * 3, device=device)(X)
    assert len(called(fake, "cuModuleLoadData")) == 1


def test_words_of_the_host_go_back(fake, device):
    words = device.host_words(4)
    assert words.values.tolist() == [0, 0, 0, 0]
    del words
    gc.collect()
    assert len(called(fake, "cuMemFreeHost")) == 1


def test_recordings_are_destroyed_with_their_function(fake, device):
    x = tj.to_device(X.reshape(3, 4), device)
    two = tj.jit(lambda x: np.exp(x @ x.T).sum(axis=1) @ (x @ x.T))
    for _ in range(4):
        two(x)
    assert fake.graphs
    del two
    gc.collect()
    assert not fake.graphs


def test_a_recording_that_fails_leaves_the_stream_usable(fake, device):
    x = tj.to_device(X.reshape(3, 4), device)
    two = tj.jit(lambda x: np.exp(x @ x.T).sum(axis=1) @ (x @ x.T))
    want = two(x).numpy()
    fake.failing["cuLaunchKernel"] = 1
    for _ in range(2):
        with pytest.raises(DeviceError, match="running a kernel failed"):
            two(x)
    assert not fake.recording
    fake.failing.clear()
    np.testing.assert_array_equal(two(x).numpy(), want)


def test_errors_say_what_failed(fake, device):
    fake.failing["cuStreamSynchronize"] = 700
    with pytest.raises(
        DeviceError,
        match=r"cuStreamSynchronize failed: CUDA_ERROR_ILLEGAL_ADDRESS \(700\): said",
    ) as error:
        device.synchronize()
    assert error.value.code == 700
    fake.failing.clear()


def test_a_driver_that_does_not_start_is_no_device(fake):
    fake.failing["cuInit"] = 100
    with (
        patch.object(driver_module, "_library", lambda: None),
        patch.object(driver_module, "_addresses", lambda library: fake.addresses),
        pytest.raises(NoDeviceError, match="there is no CUDA device: cuInit failed"),
    ):
        driver_module.system_driver.__wrapped__()


def test_there_are_no_devices_without_a_driver():
    def missing():
        raise NoDeviceError("no driver")

    with patch.object(device_module, "system_driver", missing):
        assert device_module.device_count.__wrapped__() == 0


def test_recording_is_on_a_stream_of_its_own(fake, device):
    x = tj.to_device(X.reshape(3, 4), device)
    two = tj.jit(lambda x: np.exp(x @ x.T).sum(axis=1) @ (x @ x.T))
    for _ in range(3):
        two(x)
    ((stream, mode),) = called(fake, "cuStreamBeginCapture")
    assert (stream, mode) == (device.recording_stream, 1)
    flags = {flag for _, flag in called(fake, "cuStreamCreate")}
    assert flags == {0, 1}
    replays = called(fake, "cuGraphLaunch")
    assert replays and all(on == device.stream for _, on in replays)


def test_one_thread_records_at_a_time(fake, device):
    x = tj.to_device(X.reshape(3, 4), device)
    two = tj.jit(lambda x: np.exp(x @ x.T).sum(axis=1) @ (x @ x.T))
    want = two(x).numpy()
    with ThreadPoolExecutor(1) as pool:
        with device.recording:
            calls = [pool.submit(two, x) for _ in range(3)]
            wait(calls, timeout=0.5)
            assert not calls[-1].done() and not called(fake, "cuStreamBeginCapture")
        for call in calls:
            np.testing.assert_array_equal(call.result().numpy(), want)
    assert called(fake, "cuStreamBeginCapture")


def test_calls_from_several_threads(device):
    double = tj.jit(lambda x, k: x * 2 + k)
    arrays = [tj.to_device(X + k, device) for k in range(8)]
    double(arrays[0], 1.0)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda k: double(arrays[k], float(k)), range(8)))
    for k, y in enumerate(found):
        np.testing.assert_array_equal(y.numpy(), (X + k) * 2 + k)
