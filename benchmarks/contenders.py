"""The ways of running a row: each peer's idiom, imported only when asked for.

Establishes `Contender`: a function and the arguments to call it with, in the form
a user of that library would hold them (device arrays for JAX, tensors for torch).
A call returns only when its result is there.
"""

import importlib
import weakref
from collections.abc import Callable
from contextvars import copy_context
from dataclasses import dataclass, replace
from types import ModuleType

import ml_dtypes
import numpy as np

from .row import OURS, Builder, Function, Row
from .trees import leaves, map_arrays

ONE_THREAD = "one-thread"
ONLY_FLOAT32 = ("numba", "drjit")


class NoTwinError(Exception):
    """The row has no program for this contender."""


@dataclass(frozen=True, slots=True)
class Contender:
    """`function(*args)` is one whole call; `read` makes NumPy of a leaf it returns.

    `is_flat` says that arrays of several axes come as arrays of one.
    """

    name: str
    function: Function
    args: tuple
    read: Callable[[object], np.ndarray] = np.asarray
    is_flat: bool = False


def _twin(row: Row, name: str, build: Builder | None) -> Builder:
    """The builder of a twin, if the row has it and does not leave it out."""
    if name in row.without:
        raise NoTwinError(row.without[name])
    if build is None or (name in ONLY_FLOAT32 and row.dtype != "float32"):
        raise NoTwinError("no twin")
    return build


def _each(function: Callable, inputs: tuple) -> tuple:
    """Every array in `inputs` converted; each contender has memory of its own."""
    return tuple(map_arrays(function, argument) for argument in inputs)


def _numpy(row: Row, inputs: tuple) -> Contender:
    numpy_fn = row.numpy_fn
    function = _twin(row, "numpy", numpy_fn and (lambda module: numpy_fn))(np)
    return Contender("numpy", function, _each(np.copy, inputs))


def _tracejit(row: Row, inputs: tuple) -> Contender:
    tj = importlib.import_module("tracejit")
    function = row.tracejit_fn(tj) if row.tracejit_fn else row.numpy_fn
    return Contender(OURS, tj.jit(function), _each(np.copy, inputs))


def _one_thread(row: Row, inputs: tuple) -> Contender:
    """Ours without threads: in a context in which the switch says so."""
    tj = importlib.import_module("tracejit")
    ours = _tracejit(row, inputs)
    context, setting = copy_context(), tj.config.override(threads=1)
    context.run(setting.__enter__)

    def call(*args: object) -> object:
        return context.run(ours.function, *args)

    weakref.finalize(call, context.run, setting.__exit__, None, None, None)
    return replace(ours, name=ONE_THREAD, function=call)


def _jax(row: Row, inputs: tuple) -> Contender:
    build = _twin(row, "jax", row.jax_fn)
    jax = importlib.import_module("jax")
    jax.config.update("jax_platforms", "cpu")
    jitted = jax.jit(build(jax))
    args = jax.block_until_ready(_each(jax.device_put, inputs))
    if isinstance(jax.eval_shape(jitted, *args), jax.ShapeDtypeStruct):
        # The array's own method is the cheapest wait there is.
        return Contender("jax", lambda *args: jitted(*args).block_until_ready(), args)
    return Contender("jax", lambda *args: jax.block_until_ready(jitted(*args)), args)


def to_tensor(torch: ModuleType, array: np.ndarray) -> object:
    """A tensor of its own memory; NumPy's bfloat16 is unknown to torch."""
    if array.dtype == ml_dtypes.bfloat16:
        return torch.from_numpy(array.view(np.int16).copy()).view(torch.bfloat16)
    return torch.from_numpy(array.copy())


def from_tensor(torch: ModuleType, tensor: object) -> np.ndarray:
    """The array of a tensor on the host."""
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return tensor.numpy()


def _torch(row: Row, inputs: tuple) -> Contender:
    build = _twin(row, "torch", row.torch_fn)
    torch = importlib.import_module("torch")
    args = _each(lambda a: to_tensor(torch, a), inputs)
    read = lambda t: from_tensor(torch, t)  # noqa: E731
    return Contender("torch", build(torch), args, read)


def trace_autograd(torch: ModuleType) -> None:
    """Have train steps compiled whole, where this torch can.

    Without it they are cut in three at their call of autograd.
    """
    if hasattr(torch._dynamo.config, "trace_autograd_ops"):
        torch._dynamo.config.trace_autograd_ops = True


def _inductor(row: Row, inputs: tuple) -> Contender:
    build = _twin(row, "inductor", row.torch_fn)
    torch = importlib.import_module("torch")
    torch.compiler.reset()
    trace_autograd(torch)
    compiled = torch.compile(build(torch))
    args = _each(lambda a: to_tensor(torch, a), inputs)
    return Contender("inductor", compiled, args, lambda t: from_tensor(torch, t))


def _numba(row: Row, inputs: tuple) -> Contender:
    build = _twin(row, "numba", row.numba_fn)
    numba = importlib.import_module("numba")
    # Numba gives Python floats for scalars of either precision.
    read = lambda x: np.float32(x) if isinstance(x, float) else np.asarray(x)  # noqa: E731
    return Contender("numba", build(numba), _each(np.copy, inputs), read)


def _drjit(row: Row, inputs: tuple) -> Contender:
    build = _twin(row, "drjit", row.drjit_fn)
    dr = importlib.import_module("drjit")
    llvm = importlib.import_module("drjit.llvm")
    kinds = {"f": llvm.Float, "i": llvm.Int, "u": llvm.UInt}
    function = build(dr)

    def call(*args: object) -> object:
        result = function(*args)
        dr.eval(*leaves(result))
        dr.sync_thread()
        return result

    args = _each(lambda a: kinds[a.dtype.kind](a.ravel()), inputs)
    dr.eval(*args)
    return Contender("drjit", call, args, np.array, is_flat=True)


BUILDERS: dict[str, Callable[[Row, tuple], Contender]] = {
    "numpy": _numpy,
    "jax": _jax,
    "torch": _torch,
    "inductor": _inductor,
    "numba": _numba,
    "drjit": _drjit,
    OURS: _tracejit,
    ONE_THREAD: _one_thread,
}
PACKAGES = {name: name for name in BUILDERS} | {"inductor": "torch", ONE_THREAD: OURS}
PEERS = tuple(name for name in BUILDERS if name not in (OURS, ONE_THREAD))


def is_missing(error: Exception, name: str) -> bool:
    """Does `error` say that the contender's own package is not installed?"""
    package = PACKAGES.get(name, name)
    return isinstance(error, ModuleNotFoundError) and error.name == package
