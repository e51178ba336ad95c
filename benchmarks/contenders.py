"""The ways of running a row: each peer's idiom, imported only when asked for.

Establishes `Contender`: a function and the arguments to call it with, in the form
a user of that library would hold them (device arrays for JAX, tensors for torch).
A call returns only when its result is there.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

import numpy as np

from .row import Function, Row
from .trees import map_arrays

OURS = "tracejit"


@dataclass(frozen=True, slots=True)
class Contender:
    """`function(*args)` is one whole call; NumPy can read every leaf it returns."""

    name: str
    function: Function
    args: tuple


def _each(function: Callable, inputs: tuple) -> tuple:
    """Every array in `inputs` converted; each contender has memory of its own."""
    return tuple(map_arrays(function, argument) for argument in inputs)


def _numpy(row: Row, inputs: tuple) -> Contender:
    return Contender("numpy", row.numpy_fn, _each(np.copy, inputs))


def _tracejit(row: Row, inputs: tuple) -> Contender:
    tj = importlib.import_module("tracejit")
    function = row.tracejit_fn(tj) if row.tracejit_fn else row.numpy_fn
    return Contender(OURS, tj.jit(function), _each(np.copy, inputs))


def _jax(row: Row, inputs: tuple) -> Contender:
    jax = importlib.import_module("jax")
    jax.config.update("jax_platforms", "cpu")
    jitted = jax.jit(row.jax_fn(jax))
    args = jax.block_until_ready(_each(jax.device_put, inputs))
    if isinstance(jax.eval_shape(jitted, *args), jax.ShapeDtypeStruct):
        # The array's own method is the cheapest wait there is.
        return Contender("jax", lambda *args: jitted(*args).block_until_ready(), args)
    return Contender("jax", lambda *args: jax.block_until_ready(jitted(*args)), args)


def _to_torch(torch: ModuleType, inputs: tuple) -> tuple:
    return _each(lambda a: torch.from_numpy(a.copy()), inputs)


def _torch(row: Row, inputs: tuple) -> Contender:
    torch = importlib.import_module("torch")
    return Contender("torch", row.torch_fn(torch), _to_torch(torch, inputs))


def _inductor(row: Row, inputs: tuple) -> Contender:
    torch = importlib.import_module("torch")
    torch.compiler.reset()
    # Without it a train step is cut in three at its call of autograd.
    torch._dynamo.config.trace_autograd_ops = True
    compiled = torch.compile(row.torch_fn(torch))
    return Contender("inductor", compiled, _to_torch(torch, inputs))


BUILDERS: dict[str, Callable[[Row, tuple], Contender]] = {
    "numpy": _numpy,
    "jax": _jax,
    "torch": _torch,
    "inductor": _inductor,
    OURS: _tracejit,
}
PACKAGES = {"numpy": "numpy", "jax": "jax", "torch": "torch", "inductor": "torch"}
PEERS = tuple(PACKAGES)


def is_missing(error: Exception, name: str) -> bool:
    """Does `error` say that the contender's own package is not installed?"""
    package = PACKAGES.get(name, name)
    return isinstance(error, ModuleNotFoundError) and error.name == package
