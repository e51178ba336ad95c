"""Built kernels on disk: found again without Triton, built by several processes."""

from unittest.mock import patch

import numpy as np
import pytest

from tracejit.codegen.triton import store
from tracejit.codegen.triton.externs.text import fill_code
from tracejit.disk import DiskCache
from tracejit.kernels.kernel import Buffer

ALIGNED = ("out_ptr",)


def code(value=1):
    return fill_code("fill", Buffer("out", np.dtype("f4"), (64,), (1,)), f"{value}.0")


@pytest.fixture
def disk(tmp_path):
    return DiskCache(tmp_path, 1 << 24)


def refuse(*arguments, **keywords):
    raise AssertionError("built again")


def test_a_kernel_on_disk_is_not_built_again(disk):
    built = store.stored_build(code(), "sm_90", ALIGNED, disk)
    with patch.object(store, "build", refuse):
        again = store.stored_build(code(), "sm_90", ALIGNED, disk)
    assert again == built
    assert again.cubin and "fill" in again.ptx


def test_what_its_code_depends_on_is_in_the_key(disk):
    keys = {
        store.key(code(), "sm_90", ALIGNED),
        store.key(code(2), "sm_90", ALIGNED),
        store.key(code(), "sm_80", ALIGNED),
        store.key(code(), "sm_90", ()),
    }
    assert len(keys) == 4


def test_workers_put_kernels_on_disk(disk):
    wanted = [(code(k), ALIGNED) for k in range(4)]
    store.build_together(wanted, "sm_90", disk)
    with patch.object(store, "build", refuse):
        for one, aligned in wanted:
            assert store.stored_build(one, "sm_90", aligned, disk).name == "fill"
        store.build_together(wanted, "sm_90", disk)  # nothing is missing


def test_few_kernels_are_left_to_whoever_asks(disk):
    with patch.object(store, "_start", refuse):
        store.build_together([(code(), ALIGNED)], "sm_90", disk)
    assert disk.get(store.key(code(), "sm_90", ALIGNED)) is None


def test_without_a_cache_kernels_are_built():
    store.build_together([(code(k), ALIGNED) for k in range(9)], "sm_90", None)
    assert store.stored_build(code(), "sm_90", ALIGNED, None).name == "fill"
