"""Products by cuBLASLt: what is asked of it, and when it is taken."""

import json
from dataclasses import replace
from unittest.mock import patch

import ml_dtypes
import numpy as np
import pytest

import tracejit as tj
from tests.codegen.triton.running import runs_of
from tracejit import config
from tracejit.codegen.triton.choice import LIBRARY, Choice
from tracejit.codegen.triton.code import Tuning
from tracejit.codegen.triton.emit import sites_of
from tracejit.codegen.triton.lockfile import LockFile, Measured
from tracejit.codegen.triton.products import plain
from tracejit.codegen.triton.store import triton_version
from tracejit.errors import DeviceError
from tracejit.runtime.cuda import cublaslt_library
from tracejit.runtime.cuda.cublaslt import library_choices
from tracejit.runtime.cuda.cublaslt_library import CublasLt

from .fake_cublaslt import FakeCublasLt
from .test_tuner import quick  # noqa: F401

F32, F64, F16, BF16 = np.float32, np.float64, np.float16, ml_dtypes.bfloat16


@pytest.fixture
def library(fake):
    return FakeCublasLt(fake)


@pytest.fixture
def device(fake, library):
    made = fake.device()
    made.products = CublasLt(library.addresses)
    return made


def site_of(function, *args, odd=()):
    (run,) = runs_of(function, *args)
    (site,) = sites_of(*run, Tuning(), odd)
    return site


def by_library(device, path, function, *args, algorithm=0):
    """Return what a function gives whose product the library computes."""
    site = replace(site_of(function, *args), tuning=device.tuning)
    choice = Choice({}, 0, 0, form=LIBRARY, algorithm=algorithm)
    file = LockFile(path, triton_version())
    file.record(site, choice, [Measured(choice, 1.0)])
    file.write()
    with config.override(tuning_file=str(path)):
        return tj.jit(function, device=device)(*args).numpy()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "tuning.json"


def numbers(*shape, dtype=F32):
    return np.random.default_rng(1).standard_normal(shape).astype(dtype)


CASES = {
    "rows": (np.matmul, [(5, 7), (7, 3)]),
    "left columns": (lambda x, w: x.T @ w, [(7, 5), (7, 3)]),
    "right columns": (lambda x, w: x @ w.T, [(5, 7), (3, 7)]),
    "columns": (lambda x, w: x.T @ w.T, [(7, 5), (3, 7)]),
    "part": (lambda x, w: x[1:, 2:] @ w[2:, 1:], [(6, 9), (9, 4)]),
    "stack": (np.matmul, [(4, 5, 7), (4, 7, 3)]),
    "shared": (np.matmul, [(4, 5, 7), (7, 3)]),
}


@pytest.mark.parametrize("name", CASES)
def test_operands_of_all_layouts(fake, library, device, path, name):
    function, shapes = CASES[name]
    args = [numbers(*shape) for shape in shapes]
    y = by_library(device, path, function, *args)
    np.testing.assert_allclose(y, function(*args), rtol=1e-5, atol=1e-5)
    assert len(library.products) == 1 and not fake.launches


@pytest.mark.parametrize(
    ("dtype", "about", "tolerance"),
    [
        (F32, (68, 0), 1e-5),
        (F64, (70, 1), 1e-12),
        (F16, (68, 0), 2e-2),
        (BF16, (68, 0), 0.1),
    ],
)
def test_dtypes(library, device, path, dtype, about, tolerance):
    args = numbers(6, 16, dtype=dtype), numbers(16, 8, dtype=dtype)
    y = by_library(device, path, np.matmul, *args)
    wide = [x.astype(np.float64) for x in args]
    close = {"rtol": tolerance, "atol": tolerance}
    np.testing.assert_allclose(y.astype(np.float64), wide[0] @ wide[1], **close)
    (product,) = library.products
    assert (product["compute"], product["scale"]) == about


def test_tf32_is_asked_for(library, device, path):
    with config.override(tf32=True):
        by_library(device, path, np.matmul, numbers(6, 16), numbers(16, 8))
    assert library.products[0]["compute"] == 77


def test_workspaces_are_its_own(library, device, path):
    args = numbers(6, 16), numbers(16, 8)
    y = by_library(device, path, np.matmul, *args, algorithm=1)
    np.testing.assert_allclose(y, args[0] @ args[1], rtol=1e-5, atol=1e-5)
    assert library.products[0]["algorithm"] == 2


def test_products_are_recorded_with_kernels(fake, library, device, path):
    def chain(x, w):
        return (np.exp(x) @ w).sum(axis=0)

    args = [tj.to_device(numbers(40, 16), device), tj.to_device(numbers(16, 8), device)]
    kernels = runs_of(chain, *(a.numpy() for a in args))
    file = LockFile(path, triton_version())
    choice = Choice({}, 0, 0, form=LIBRARY)
    for run in kernels:
        for site in sites_of(*run, device.tuning):
            if site.product is not None and plain(site.piece) is not None:
                file.record(site, choice, [Measured(choice, 1.0)])
    file.write()
    with config.override(tuning_file=str(path)):
        f = tj.jit(chain)
        found = [f(*args).numpy() for _ in range(4)]
    for y in found:
        np.testing.assert_allclose(y, chain(*(a.numpy() for a in args)), rtol=1e-4)


def test_it_is_a_candidate_and_taken_if_faster(fake, library, device, path, quick):  # noqa: F811
    fake.cost = lambda code: 0.5 if code is None else 1.0
    args = numbers(20, 16), numbers(16, 24)
    with config.override(tune="on", tuning_file=str(path)):
        y = tj.jit(np.matmul, device=device)(*args).numpy()
    np.testing.assert_allclose(y, args[0] @ args[1], rtol=1e-4, atol=1e-4)
    (entry,) = json.loads(path.read_text())["sites"].values()
    (about,) = entry["targets"].values()
    assert about["choice"]["form"] == LIBRARY
    assert library.products[-1]["stream"] == device.stream


def test_it_is_not_taken_if_slower_or_wrong(fake, library, device, quick):  # noqa: F811
    fake.cost = lambda code: 1.5 if code is None else 1.0
    args = numbers(20, 16), numbers(16, 24)
    with config.override(tune="on"):
        tj.jit(np.matmul, device=device)(*args)
    assert library.products and fake.launches[-1].form == "matmul"


def test_it_is_never_taken_unmeasured(fake, library, device):
    tj.jit(np.matmul, device=device)(numbers(20, 16), numbers(16, 24))
    assert library.calls == [library.calls[0]]  # it was started by this test
    assert len(fake.launches) == 1


def test_without_the_library_its_choice_is_the_default(fake, path):
    args = numbers(6, 16), numbers(16, 8)
    y = by_library(fake.device(), path, np.matmul, *args)
    np.testing.assert_allclose(y, args[0] @ args[1], rtol=1e-5, atol=1e-5)
    assert len(fake.launches) == 1


def test_only_plain_products_are_its(device):
    x, w, b = numbers(6, 16), numbers(16, 8), numbers(8)
    assert len(library_choices(device, site_of(np.matmul, x, w))) == 2
    assert library_choices(device, site_of(lambda x, w, b: x @ w + b, x, w, b)) == []
    assert library_choices(device, site_of(lambda x, w: 2 * x @ w, x, w)) == []
    assert library_choices(device, site_of(lambda x: np.exp(x), x)) == []
    assert library_choices(device, site_of(lambda x, w: x[:, ::2] @ w[::2], x, w)) == []
    stack = numbers(4, 16, 8)  # columns along two axes are those of no matrix
    assert library_choices(device, site_of(np.matmul, x, stack)) == []


@pytest.mark.parametrize(
    ("function", "shapes", "odd", "bytes_"),
    [
        (np.matmul, [(6, 16), (16, 8)], (), 16),
        (np.matmul, [(6, 16), (16, 8)], {"x2"}, 4),
        (lambda x, w: x[:, 1:] @ w, [(6, 17), (16, 8)], (), 4),
        (np.matmul, [(3, 5, 7), (3, 7, 3)], (), 4),
    ],
)
def test_the_heuristic_is_told_alignments(
    device, library, function, shapes, odd, bytes_
):
    site = site_of(function, *(numbers(*s) for s in shapes), odd=odd)
    assert library_choices(device, site)
    assert library.alignment == {bytes_}


def test_what_it_does_not_support_is_no_candidate(device, library):
    library.failing["cublasLtMatmulAlgoGetHeuristic"] = 15
    assert (
        library_choices(device, site_of(np.matmul, numbers(6, 16), numbers(16, 8)))
        == []
    )


def test_its_failures_are_errors(device, library, path):
    library.failing["cublasLtMatmul"] = 13
    with pytest.raises(DeviceError, match="library's product failed with status 13"):
        by_library(device, path, np.matmul, numbers(6, 16), numbers(16, 8))


def test_a_library_that_does_not_start(fake, library):
    library.failing["cublasLtCreate"] = 1
    with pytest.raises(DeviceError, match="cublasLtCreate failed with status 1"):
        CublasLt(library.addresses)


def test_a_machine_without_it():
    with patch.object(cublaslt_library, "library_named", lambda name: None):
        assert cublaslt_library.product_addresses.__wrapped__() is None
