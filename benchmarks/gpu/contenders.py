"""The ways of running a row on a device.

A contender asks the device for one run and returns what it gives, with a way to wait
for the device and to read a result. Modules of other libraries are imported when a
contender of theirs is built. All of them compute products of float32 in float32: ours
does, and what the others do by default (TF32) is another computation.
"""

import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

import numpy as np

import tracejit as tj

from ..contenders import NoTwinError, from_tensor, to_tensor, trace_autograd
from ..measure import reference_of
from ..row import Row
from ..trees import as_float64, map_arrays, map_leaves

MAX = "inductor-max"
DEVICE = "cuda"


@dataclass(frozen=True)
class Contender:
    """One way of running one row.

    Parameters
    ----------
    run : callable
        Asks for a run, and gives its result.
    wait : callable
        Waits for the device.
    read : callable
        Makes an array of the host of a result's leaf.
    """

    run: Callable[[], object]
    wait: Callable[[], None]
    read: Callable[[object], np.ndarray]


def _each(function: Callable, inputs: tuple) -> tuple:
    return tuple(map_arrays(function, argument) for argument in inputs)


def ours(row: Row, inputs: tuple, device: tj.Device) -> Contender:
    """Run a row by tracejit."""
    args = _each(lambda a: tj.to_device(a, device), inputs)
    function = tj.jit(row.tracejit_fn(tj) if row.tracejit_fn else row.numpy_fn)
    return Contender(lambda: function(*args), device.synchronize, np.asarray)


def _tensors(torch: ModuleType, row: Row, inputs: tuple) -> tuple:
    """The inputs on the device; images with channels last, as torch prefers them."""

    def send(array: np.ndarray) -> object:
        tensor = to_tensor(torch, array).to(DEVICE)
        if row.has_images and tensor.ndim == 4:
            return tensor.contiguous(memory_format=torch.channels_last)
        return tensor

    return _each(send, inputs)


def _imported_torch() -> ModuleType:
    torch = importlib.import_module("torch")
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True
    return torch


def _torch(row: Row, inputs: tuple, mode: str | None = None) -> Contender:
    """Run a row by torch, compiled if a mode of `torch.compile` is given."""
    if row.torch_fn is None:
        raise NoTwinError("no twin")
    torch = _imported_torch()
    args, function = _tensors(torch, row, inputs), row.torch_fn(torch)
    if mode is not None:
        torch._dynamo.reset()
        trace_autograd(torch)
        function = torch.compile(function, mode=mode, dynamic=False)
    mark = torch.compiler.cudagraph_mark_step_begin

    def run() -> object:
        if mode is not None:
            mark()  # results of the call before are not needed any more
        return function(*args)

    return Contender(
        run,
        torch.cuda.synchronize,
        lambda t: from_tensor(torch, t.detach().cpu().contiguous()),
    )


def _jax(row: Row, inputs: tuple) -> Contender:
    if row.jax_fn is None:
        raise NoTwinError("no twin")
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    jax = importlib.import_module("jax")
    jax.config.update("jax_default_matmul_precision", "float32")
    args = _each(jax.device_put, inputs)
    function = jax.jit(row.jax_fn(jax))
    last: list[object] = []

    def run() -> object:
        last[:] = [function(*args)]
        return last[0]

    return Contender(run, lambda: jax.block_until_ready(last), np.asarray)


PEERS: dict[str, Callable[[Row, tuple], Contender]] = {
    "torch": _torch,
    "inductor": lambda row, inputs: _torch(row, inputs, "default"),
    MAX: lambda row, inputs: _torch(row, inputs, "max-autotune"),
    "jax": _jax,
}


def reference(row: Row, inputs: tuple) -> object:
    """What a row gives in float64: by torch on the device, or by NumPy without it."""
    build = row.torch_reference or row.torch_fn
    if build is None or not has_torch_device():
        return reference_of(row, inputs)
    torch = _imported_torch()
    args = _tensors(torch, row, tuple(map(as_float64, inputs)))
    result = map_leaves(lambda t: t.detach().cpu().numpy(), build(torch)(*args))
    del args
    torch.cuda.empty_cache()
    return result


def has_torch_device() -> bool:
    """Whether torch is there and sees a device."""
    try:
        return importlib.import_module("torch").cuda.is_available()
    except ImportError:
        return False


def release() -> None:
    """Give back what torch keeps, so that the next row finds the device's memory."""
    if has_torch_device():
        importlib.import_module("torch").cuda.empty_cache()
