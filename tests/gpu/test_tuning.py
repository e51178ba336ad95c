"""Choices of kernels on the machine's device: built, run, compared, timed, kept."""

import json

import ml_dtypes
import numpy as np
import pytest

import tracejit as tj
from tests.codegen.triton.running import runs_of
from tracejit import config
from tracejit.codegen.triton.choice import DESCRIPTOR, LIBRARY, VECTOR
from tracejit.codegen.triton.emit import emit_site, sites_of
from tracejit.codegen.triton.ranking import candidates
from tracejit.runtime.cuda.bench import Bench
from tracejit.runtime.cuda.cublaslt import library_choices
from tracejit.runtime.cuda.tuner import Tuner

E4M3 = ml_dtypes.float8_e4m3fn
BF16, F16, F32, F64 = ml_dtypes.bfloat16, np.float16, np.float32, np.float64


def site_of(device, function, *args):
    (run,) = runs_of(function, *args)
    (site,) = sites_of(*run, device.tuning)
    return site


def zeros(*shape, dtype=BF16):
    return np.zeros(shape, dtype)


def layer(x, w, b):
    return np.maximum(x @ w + b, 0)


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def attention(q, k, v):
    return softmax(q @ k.swapaxes(-1, -2) * q.dtype.type(0.125)) @ v


SITES = {
    "square": (np.matmul, [zeros(2048, 2048), zeros(2048, 2048)]),
    "tails": (layer, [zeros(1000, 520), zeros(520, 760), zeros(760)]),
    "right turned": (lambda x, w: x @ w.T, [zeros(1024, 512), zeros(768, 512)]),
    "long sum": (np.matmul, [zeros(64, 32768), zeros(32768, 64)]),
    "stack": (np.matmul, [zeros(8, 256, 64), zeros(8, 64, 512)]),
    "float16": (np.matmul, [zeros(512, 512, dtype=F16), zeros(512, 512, dtype=F16)]),
    "float32": (np.matmul, [zeros(512, 512, dtype=F32), zeros(512, 512, dtype=F32)]),
    "float64": (np.matmul, [zeros(256, 256, dtype=F64), zeros(256, 256, dtype=F64)]),
    "stored as float8": (
        lambda x, w: x.astype(BF16) @ w.astype(BF16),
        [zeros(1024, 512, dtype=E4M3), zeros(512, 768, dtype=E4M3)],
    ),
    "few rows": (np.matmul, [zeros(4, 2048, dtype=F32), zeros(2048, 2048, dtype=F32)]),
    "rows": (softmax, [zeros(4096, 1000)]),
    "long rows": (softmax, [zeros(64, 50000, dtype=F32)]),
    "columns": (lambda x: x.sum(axis=0), [zeros(8192, 300, dtype=F32)]),
    "all": (lambda x: x.sum(), [zeros(1 << 22, dtype=F32)]),
    "pointwise": (np.exp, [zeros(3000, 1000, dtype=F32)]),
    "transpose": (lambda x: x.T + 1, [zeros(2000, 3000, dtype=F32)]),
    "attention": (attention, [zeros(4, 512, 64) for _ in range(3)]),
}


@pytest.mark.parametrize("name", SITES)
def test_all_choices_give_the_same(device, name):
    """Not the tuner's silence, but each choice: it builds, runs, and is right."""
    function, args = SITES[name]
    site = site_of(device, function, *args)
    choices = candidates(site, emit_site(site).codes)
    with Bench(device, site) as bench:
        trials = {choice: bench.trial(choice) for choice in choices}
        expected = bench.results(trials[choices[0]])
        wrong = [
            c for c, t in trials.items() if t is None or not bench.agrees(t, expected)
        ]
    assert not wrong, "\n".join(map(str, wrong))


def test_forms_are_among_them(device):
    def forms(name):
        site = site_of(device, *[SITES[name][0], *SITES[name][1]])
        return {c.form for c in candidates(site, emit_site(site).codes)}

    has_descriptors = int(device.arch.removeprefix("sm_")) in (90, 100, 103)
    assert (DESCRIPTOR in forms("square")) is has_descriptors
    assert VECTOR in forms("few rows")


def test_times_are_of_the_device(device):
    site = site_of(device, *[SITES["square"][0], *SITES["square"][1]])
    measured = Tuner(device).measure(site)
    assert len(measured) >= 2
    rates = [2 * 2048**3 / m.time_us / 1e6 for m in measured]  # TFLOP/s
    assert 1 < max(rates) < 5000


def test_tuned_products_are_kept(device, tmp_path):
    path = tmp_path / "tuning.json"
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal(s).astype(F32) for s in ((300, 400), (400, 200)))
    with config.override(tune="on", tuning_file=str(path)):
        first = tj.jit(np.matmul, device=device)(x, w).numpy()
    with config.override(tuning_file=str(path)):
        again = tj.jit(np.matmul, device=device)(x, w).numpy()
    np.testing.assert_allclose(first, x @ w, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(first, again)
    (entry,) = json.loads(path.read_text())["sites"].values()
    (about,) = entry["targets"].values()
    assert min(about["times_us"].values()) <= about["default_us"]


def test_the_library_agrees(device):
    if device.products is None:
        pytest.skip("there is no cuBLASLt")
    site = site_of(device, *[SITES["square"][0], *SITES["square"][1]])
    found = library_choices(device, site)
    assert found and all(c.form == LIBRARY for c in found)
    with Bench(device, site) as bench:
        (default, *_) = candidates(site, emit_site(site).codes)
        expected = bench.results(bench.trial(default))
        assert all(bench.agrees(bench.trial(choice), expected) for choice in found)


@pytest.mark.parametrize("dtype", [BF16, F32])
def test_tf32_and_halves_are_close(device, dtype):
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal((256, 256)).astype(dtype) for _ in range(2))
    want = x.astype(F64) @ w.astype(F64)
    with config.override(tf32=True):
        y = tj.jit(np.matmul, device=device)(x, w).numpy().astype(F64)
    assert np.abs(y - want).max() < (0.2 if dtype is BF16 else 0.1)
