"""The ways of running a row on a device.

A contender is a function of no arguments that asks the device for one run and returns
what it gives, with a way to wait for the device and to read a result. Modules of other
libraries are imported when a contender of theirs is built.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

import tracejit as tj

from .rows import Row

OURS = "tracejit"
DTYPES = {"float32": np.dtype(np.float32), "bfloat16": np.dtype(ml_dtypes.bfloat16)}


@dataclass(frozen=True)
class Contender:
    """One way of running one row.

    Parameters
    ----------
    run : callable
    wait : callable
    to_numpy : callable
        A result's leaf as an array of the host.
    """

    run: Callable[[], Any]
    wait: Callable[[], None]
    to_numpy: Callable[[Any], np.ndarray]


def ours(row: Row, device: tj.Device) -> Contender:
    """Run a row by tracejit."""
    args = [tj.to_device(x.astype(DTYPES[row.dtype]), device) for x in row.inputs()]
    function = tj.jit(row.ours)
    return Contender(lambda: function(*args), device.synchronize, np.asarray)


def _torch(row: Row, mode: str | None, compile_: bool) -> Contender:
    torch = importlib.import_module("torch")
    dtype = getattr(torch, row.dtype)
    args = [torch.from_numpy(x).to("cuda", dtype) for x in row.inputs()]
    function = row.torch(torch)
    if compile_:
        torch._dynamo.reset()
        function = torch.compile(function, mode=mode, dynamic=False)
    return Contender(
        lambda: function(*args),
        torch.cuda.synchronize,
        lambda x: x.detach().double().cpu().numpy(),
    )


def _jax(row: Row) -> Contender:
    jax = importlib.import_module("jax")
    if row.jax is None:
        raise NotImplementedError("no twin in JAX")
    args = [jax.numpy.asarray(x, row.dtype) for x in row.inputs()]
    function = jax.jit(row.jax(jax))
    last: list[Any] = []

    def run() -> Any:
        last[:] = [function(*args)]
        return last[0]

    return Contender(
        run,
        lambda: jax.block_until_ready(last),
        lambda x: np.asarray(x).astype(np.float64),
    )


PEERS: dict[str, Callable[[Row], Contender]] = {
    "torch": lambda row: _torch(row, None, compile_=False),
    "inductor": lambda row: _torch(row, "default", compile_=True),
    "inductor-max": lambda row: _torch(
        row, "max-autotune-no-cudagraphs", compile_=True
    ),
    "jax": _jax,
}


def reference(row: Row) -> list[np.ndarray]:
    """Return what a row gives in float64: on the device by PyTorch, if it is there."""
    rounded = [x.astype(DTYPES[row.dtype]).astype(np.float64) for x in row.inputs()]
    try:
        torch = importlib.import_module("torch")
        on_device = torch.cuda.is_available()
    except ImportError:
        on_device = False
    if not on_device:
        return leaves(row.ours(*rounded))
    args = [torch.from_numpy(x).to("cuda") for x in rounded]
    return [x.detach().cpu().numpy() for x in leaves(row.torch(torch)(*args))]


def leaves(result: Any) -> list[Any]:
    """Return a result's arrays."""
    return list(result) if isinstance(result, tuple | list) else [result]
