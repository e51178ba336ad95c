"""Functions on a device: what they give, and what is asked of the driver."""

import re

import numpy as np
import pytest

import tracejit as tj
from tracejit.errors import HostFallbackWarning

X = np.arange(12.0).reshape(3, 4)


def softmax(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def test_one_kernel_for_one_softmax(fake, device):
    x = np.random.default_rng(0).standard_normal((4, 33)).astype(np.float32)
    y = tj.jit(softmax, device=device)(x)
    assert isinstance(y, tj.Array)
    assert len(fake.launches) == 1
    np.testing.assert_allclose(y.numpy(), softmax(x), rtol=1e-6)


def test_a_second_call_launches_and_makes_a_mark(fake, device):
    x = tj.to_device(X, device)
    compiled = tj.jit(softmax)
    compiled(x)
    del fake.calls[:]
    compiled(x)
    assert fake.names() == ["cuCtxSetCurrent", "cuLaunchKernel", "cuEventRecord"]


def three_kernels(x):
    return softmax(softmax(x @ x.T) @ x)


def test_programs_of_several_kernels_are_recorded_and_replayed(fake, device):
    x = tj.to_device(X, device)
    compiled = tj.jit(three_kernels)
    y, wanted = None, three_kernels(X)
    for turn in range(5):
        del fake.calls[:], fake.launches[:], y
        y = compiled(x)
        assert len(fake.launches) == 3
        np.testing.assert_allclose(y.numpy(), wanted, rtol=1e-12)
        names = fake.names()
        assert ("cuGraphLaunch" in names) == (turn > 0)
        assert ("cuLaunchKernel" in names) == (turn < 2)
        x += 1  # what is written is read by the next turn
        wanted = three_kernels(x.numpy())


def test_recordings_are_of_their_addresses(fake, device):
    compiled = tj.jit(three_kernels)
    kept = []
    for turn in range(40):
        host = X + turn
        x = tj.to_device(host, device)
        kept.append((x, compiled(x)) if turn % 3 == 0 else None)
        y = compiled(x)
        np.testing.assert_allclose(y.numpy(), three_kernels(host), rtol=1e-12)
    assert len(fake.graphs) <= 16


def test_calls_like_earlier_ones_do_not_take_the_long_way(fake, device):
    x, y = (tj.to_device(X + k, device) for k in range(2))
    compiled = tj.jit(lambda x, p, scale: {"a": x @ p["w"].T * scale})
    for turn in range(4):
        found = compiled(x, {"w": y}, 1.5 + turn)
        np.testing.assert_allclose(
            found["a"].numpy(), X @ (X + 1).T * (1.5 + turn), rtol=1e-12
        )
        if turn == 0:
            compiled._signature = None  # only the guard can answer now


def test_numbers_go_in_one_copy(fake, device):
    x = tj.to_device(X, device)
    scale = tj.jit(lambda x, a, b, c: x * a + b * c)
    scale(x, 2.0, 3.0, np.float32(4))
    del fake.calls[:]
    y = scale(x, 2.5, 3.0, np.float32(4))
    assert fake.names().count("cuMemcpyHtoDAsync") == 1
    np.testing.assert_array_equal(y.numpy(), X * 2.5 + 12)


def test_captured_arrays(device):
    weights = tj.to_device(np.ones((4, 2)), device)
    bias = np.array([1.0, 2.0])

    @tj.jit
    def layer(x):
        return np.tanh(x @ weights + bias) + np.sin(weights).sum()

    def expected():
        w = weights.numpy()
        return np.tanh(X @ w + bias) + np.sin(w).sum()

    np.testing.assert_allclose(layer(X).numpy(), expected(), rtol=1e-12)
    weights[0] = 3.0
    bias += 1
    np.testing.assert_allclose(layer(X).numpy(), expected(), rtol=1e-12)


def test_results_that_are_arguments_or_views_of_them(device):
    x = tj.to_device(X, device)
    assert tj.jit(lambda x: x)(x) is x
    view = tj.jit(lambda x: x[1:, ::2])(x)
    x[1, 0] = -5
    assert view.strides == (32, 16)
    np.testing.assert_array_equal(view.numpy(), x.numpy()[1:, ::2])
    found = tj.jit(lambda x: [x, 3, None, "k"])(x)
    assert found == [x, 3, None, "k"]


def test_numpys_arguments_are_written_back(device):
    def step(x, y):
        x[1:] += y

    host = X.copy()
    tj.jit(step, device=device)(host, 2.0)
    want = X.copy()
    step(want, 2.0)
    np.testing.assert_array_equal(host, want)


def test_arguments_that_overlap(device):
    def smooth(x, y):
        x[1:-1] = (y[:-2] + y[2:]) / 2
        return x.sum()

    x, want = tj.to_device(np.arange(9.0) ** 2, device), np.arange(9.0) ** 2
    total = tj.jit(smooth)(x[:6], x[3:])
    assert float(total) == smooth(want[:6], want[3:])
    np.testing.assert_array_equal(x.numpy(), want)


def test_an_odd_address_is_copied(device):
    x = tj.to_device(np.arange(9.0, dtype=np.float32), device)
    y = tj.jit(lambda x: x * 2)(x[1:])
    np.testing.assert_array_equal(y.numpy(), np.arange(1.0, 9.0) * 2)


# --- control flow, host steps, errors ---------------------------------------------


def test_loops_run_between_launches_without_python(fake, device):
    run = tj.jit(lambda x: tj.fori_loop(0, 5, lambda i, c: c * 1.5 + i, x))
    y = run(tj.to_device(X, device))
    want = X
    for i in range(5):
        want = want * 1.5 + i
    np.testing.assert_allclose(y.numpy(), want, rtol=1e-12)


def test_scans_move_over_rows(device):
    def cumulative(x):
        return tj.scan(lambda c, row: (c + row, c * row), np.zeros(4), x)

    found = tj.jit(cumulative)(tj.to_device(X, device))
    want = cumulative(X)
    for a, b in zip(found, want, strict=True):
        np.testing.assert_allclose(a.numpy(), b, rtol=1e-12)


def test_a_while_loop_reads_one_byte_a_turn(fake, device):
    double = tj.jit(
        lambda x: tj.while_loop(lambda c: c.sum() < 1000, lambda c: c * 2, x)
    )
    y = double(tj.to_device(X, device))
    np.testing.assert_array_equal(y.numpy(), X * 16)
    reads = [a for name, a in fake.calls if name == "cuMemcpyDtoHAsync" and a[2] == 1]
    assert len(reads) == 5


@pytest.mark.parametrize("sign", [1, -1])
def test_branches(sign, device):
    choose = tj.jit(
        lambda x: tj.cond(x.sum() > 0, lambda x: x + 1, lambda x: x * 10, x)
    )
    y = choose(tj.to_device(sign * X, device))
    np.testing.assert_array_equal(y.numpy(), X + 1 if sign > 0 else -10 * X)


def test_gradients(device):
    def loss(w, x):
        return np.sum(np.tanh(x @ w) ** 2)

    w = np.linspace(-1, 1, 8).reshape(4, 2)
    found = tj.jit(tj.grad(loss))(tj.to_device(w, device), X)
    np.testing.assert_allclose(found.numpy(), tj.grad(loss)(w, X), rtol=1e-11)


TRANSFORMED = {
    "grad": lambda f, x: tj.grad(lambda x: f(x).sum())(x),
    "value_and_grad": lambda f, x: tj.value_and_grad(lambda x: f(x).sum())(x),
    "vmap": lambda f, x: tj.vmap(f)(x),
    "vmap of grad": lambda f, x: tj.vmap(tj.grad(lambda x: f(x).sum()))(x),
    "jvp": lambda f, x: tj.jvp(f, (x,), (2 * x,)),
    "jacfwd": lambda f, x: tj.jacfwd(f)(x[0]),
    "jacrev": lambda f, x: tj.jacrev(f)(x[0]),
    "hessian": lambda f, x: tj.hessian(lambda x: f(x).sum())(x[0]),
    "vjp under jit": lambda f, x: tj.jit(lambda x: tj.vjp(f, x)[1](x))(x),
}


@pytest.mark.parametrize("name", TRANSFORMED)
def test_transformations_outside_of_jit(name, device):
    def f(x):
        return np.tanh(x) * x[..., :1]

    x = X / 10
    found = TRANSFORMED[name](f, tj.to_device(x, device))
    want = TRANSFORMED[name](f, x)
    rows = zip(found, want, strict=True) if isinstance(want, tuple) else [(found, want)]
    for a, b in rows:
        assert isinstance(a, tj.Array)
        np.testing.assert_allclose(a.numpy(), b, rtol=1e-11, atol=1e-12)


def test_functions_of_captured_arrays_inside_of_a_trace(device):
    w = tj.to_device(X / 10, device)

    @tj.jit
    def pulled(x):
        value, pull = tj.vjp(np.tanh, w)
        return pull(x)[0] + tj.grad(lambda v: (v * v).sum())(w) + value + np.exp(w)

    host = X / 10
    want = (1 - np.tanh(host) ** 2) * X + 2 * host + np.tanh(host) + np.exp(host)
    np.testing.assert_allclose(pulled(X).numpy(), want, rtol=1e-12)


def test_what_returns_functions_outside_of_jit_says_what_to_do(device):
    x = tj.to_device(X, device)
    for transform in (tj.vjp, tj.linearize):
        with pytest.raises(tj.errors.ArgumentError, match=r"(?s)on cuda:0.*tj\.jit"):
            transform(np.tanh, x)


@pytest.mark.filterwarnings("error")
def test_scatters_scans_and_sorts_run_on_the_device(fake, device):
    def pick(x, i, v):
        x[i] = v
        np.add.at(x, i, v)
        return np.sort(x, axis=1), np.cumsum(x, axis=0), np.argsort(x, axis=0)

    x, i = X.astype(np.float32), np.array([2, 0, 2])
    v = np.linspace(-3, 3, 12, dtype=np.float32).reshape(3, 4)
    host = x.copy()
    want = pick(host, i, v)
    moved = tj.to_device(x, device)
    found = tj.jit(pick)(moved, i, v)
    for a, b in zip((*found, moved), (*want, host), strict=True):
        np.testing.assert_allclose(a.numpy(), b, rtol=1e-6)
    with pytest.raises(IndexError, match="index 5 is out of bounds for axis 0"):
        tj.jit(pick)(moved, np.array([2, 5, 2]), v)[0].numpy()


def test_one_array_may_be_all_indices_of_a_scatter(device):
    def diagonal(x, i):
        x[i, i] = x.sum() + i
        return x

    i = np.array([2, 0, 1])
    found = tj.jit(diagonal)(tj.to_device(X, device), i)
    np.testing.assert_array_equal(found.numpy(), diagonal(X.copy(), i))


def test_steps_of_the_host_say_so(device):
    spectrum = tj.jit(lambda x: np.fft.rfft(x).imag * 2)
    with pytest.warns(HostFallbackWarning, match=r"(?s)fft in .* at .*\.py:\d+"):
        y = spectrum(tj.to_device(X, device))
    np.testing.assert_allclose(y.numpy(), 2 * np.fft.rfft(X).imag)


@pytest.mark.filterwarnings("ignore::tracejit.errors.HostFallbackWarning")
def test_errors_of_host_steps_are_raised(device):
    with pytest.raises(np.linalg.LinAlgError, match="infs or NaNs"):
        tj.jit(np.linalg.eigvals)(tj.to_device(np.full((2, 2), np.nan), device))


def test_prints_and_checks(device, capsys):
    @tj.jit
    def checked(x):
        tj.debug.print("sum {}", x.sum())
        tj.debug.check((x >= 0).all(), "negative")
        return x + 1

    checked(tj.to_device(X, device))
    assert capsys.readouterr().out == "sum 66.0\n"
    with pytest.raises(tj.errors.CheckError, match=r"negative\n  at .*\.py:\d+"):
        checked(tj.to_device(-X, device))


def test_an_index_out_of_range_is_reported_when_the_host_waits(device):
    pick = tj.jit(lambda x, i: x[i])
    x = tj.to_device(X, device)
    for i in (1, 2):  # a constant first, then a run-time value
        np.testing.assert_array_equal(pick(x, i).numpy(), X[i])
    y = pick(x, 7)
    with pytest.raises(IndexError, match=r"index 7 is out of bounds for axis 0"):
        y.numpy()
    np.testing.assert_array_equal(pick(x, 0).numpy(), X[0])
    pick(x, -9)
    with pytest.raises(IndexError, match=r"(?s)index -9 .* at .*\.py:\d+"):
        device.synchronize()


def test_a_launch_that_fails_says_the_line(fake, device):
    double = tj.jit(lambda x: x * 2)
    x = tj.to_device(X, device)
    double(x)
    fake.failing["cuLaunchKernel"] = 700
    with pytest.raises(tj.errors.DeviceError, match=r"(?s)ILLEGAL_ADDRESS.* at .*:\d+"):
        double(x)
    fake.failing.clear()
    np.testing.assert_array_equal(double(x).numpy(), X * 2)


def test_stages_are_those_of_the_device(device):
    lowered = tj.jit(softmax, device=device).trace(X).lower()
    assert lowered.device is device
    compiled = lowered.compile()
    (source,) = compiled.executable.kernels.values()
    assert "tl.program_id" in source
    np.testing.assert_allclose(compiled([X]).numpy(), softmax(X), rtol=1e-12)


# --- which device -----------------------------------------------------------------


def test_arguments_on_another_device(fake, device):
    fake.count = 2
    other = tj.to_device(np.ones(4), fake.device(1))
    x = tj.to_device(X, device)
    for fn in (tj.jit(lambda x, y: x + y), np.add):
        with pytest.raises(tj.errors.ArgumentError, match=r"cuda:0, .* on cuda:1"):
            fn(x, other)
    with pytest.raises(tj.errors.ArgumentError, match="compiled for cpu"):
        tj.jit(lambda x: x, device="cpu")(x)


def test_captured_arrays_of_another_device(fake, device):
    fake.count = 2
    weights = tj.to_device(np.ones(4), fake.device(1))
    with pytest.raises(
        tj.errors.ArgumentError, match=r"weights is on cuda:1, but .*:0"
    ):
        tj.jit(lambda x: x * weights)(tj.to_device(X, device))
    found = tj.jit(lambda x: x * weights)(X)  # NumPy's arrays go where the others are
    assert found.place == "cuda:1"


def test_what_is_no_device():
    with pytest.raises(tj.errors.ArgumentError, match="'gpu' is no device"):
        tj.to_device(X, "gpu")
    with pytest.raises(tj.errors.ArgumentError, match="no device"):
        tj.jit(lambda x: x, device="cuda:x")(X)


@pytest.mark.skipif(len(tj.devices()) > 1, reason="there is a device here")
def test_without_a_driver_there_is_one_clear_error():
    for ask in (
        lambda: tj.jit(lambda x: x, device="cuda")(X),
        lambda: tj.to_device(X),
        lambda: tj.device("cuda:0"),
    ):
        with pytest.raises(tj.errors.NoDeviceError) as error:
            ask()
        assert re.search(r"CUDA (driver|device)", str(error.value))


def test_a_device_that_is_not_there(fake):
    with pytest.raises(tj.errors.NoDeviceError, match="no device cuda:3"):
        fake.device(3)


def test_arrays_of_the_host_are_given_back_as_they_are():
    x = np.ones(3)
    assert tj.to_device(x, "cpu") is x
    assert tj.devices()[0] == "cpu"


@pytest.mark.filterwarnings("error")
def test_scatters_are_in_order_if_that_is_asked_for(fake, device):
    def add(x, i, v):
        np.add.at(x, i, v)
        np.multiply.at(x, i, v)
        return x

    x, i = X.astype(np.float32), np.array([2, 0, 2])
    v = np.linspace(-3, 3, 12, dtype=np.float32).reshape(3, 4)
    compiled = tj.jit(add)
    for deterministic in (False, True):
        del fake.launches[:]
        with tj.config.override(deterministic=deterministic):
            found = compiled(tj.to_device(x, device), i, v)
        text = "".join(code.source for code in fake.launches)
        assert ("tl.atomic_add" in text) != deterministic
        np.testing.assert_array_equal(found.numpy(), add(x.copy(), i, v))
