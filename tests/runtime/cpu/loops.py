"""Run a ufunc's compiled loop through ctypes, as the host program would."""

import ctypes
from collections.abc import Sequence

import numpy as np

from tracejit.runtime.cpu.ufuncs import UfuncLoop

LOOP = ctypes.CFUNCTYPE(
    None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p
)


def run_loop(loop: UfuncLoop, operands: Sequence[np.ndarray]) -> None:
    """Run a loop over the first axis of all operands; the rest are core dimensions."""
    count = operands[0].shape[0]
    cores = [len(names) for names in loop.core]
    for operand, core in zip(operands, cores, strict=True):
        assert operand.ndim == 1 + core
        assert operand.shape[0] == count
    sizes: dict[str, int] = {}  # of the core dimensions, in order of first appearance
    for operand, names in zip(operands, loop.core, strict=True):
        for name, size in zip(names, operand.shape[1:], strict=True):
            assert sizes.setdefault(name, size) == size
    steps = [operand.strides[0] for operand in operands]
    steps += [step for operand in operands for step in operand.strides[1:]]
    pointers = np.array([operand.ctypes.data for operand in operands], np.uintp)
    dimensions = np.array([count, *sizes.values()], np.intp)
    strides = np.array(steps, np.intp)
    LOOP(loop.function)(
        pointers.ctypes.data, dimensions.ctypes.data, strides.ctypes.data, loop.data
    )


def random_array(
    rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype
) -> np.ndarray:
    """Return numbers over the dtype's range; floats with a few special values."""
    size = int(np.prod(shape))
    if dtype.kind == "b":
        flat = rng.integers(0, 2, size).astype(dtype)
    elif dtype.kind in "iu":
        limits = np.iinfo(dtype)
        flat = rng.integers(limits.min, limits.max, size, dtype, endpoint=True)
        flat[::3] = rng.integers(0, 9, flat[::3].size).astype(dtype)
    elif dtype.kind == "c":
        parts = np.dtype(f"f{dtype.itemsize // 2}")
        flat = np.empty(size, dtype)
        flat.real = random_array(rng, (size,), parts)
        flat.imag = random_array(rng, (size,), parts)
    else:
        flat = (rng.standard_normal(size) * 4).astype(dtype)
        special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1.0]).astype(dtype)
        flat[1::5] = np.resize(special, flat[1::5].size)
    return flat.reshape(shape)


def strided(array: np.ndarray, step: int) -> np.ndarray:
    """Return equal contents with the first axis spread by `step`."""
    spread = np.zeros((array.shape[0] * step, *array.shape[1:]), array.dtype)
    view = spread[::step]
    view[...] = array
    return view


def strided_copy(array: np.ndarray) -> np.ndarray:
    """Return a copy with the very same strides."""
    extent = sum(
        (size - 1) * stride
        for size, stride in zip(array.shape, array.strides, strict=True)
    )
    memory = np.empty(extent + array.itemsize, np.uint8)
    copy = np.ndarray(array.shape, array.dtype, memory, strides=array.strides)
    copy[...] = array
    return copy


def assert_same_bits(actual: np.ndarray, expected: np.ndarray) -> None:
    """Check equal dtypes, shapes and bytes."""
    assert (actual.dtype, actual.shape) == (expected.dtype, expected.shape)
    if actual.tobytes() != expected.tobytes():
        np.testing.assert_array_equal(actual, expected)
        raise AssertionError("equal numbers with different bits")
