"""`tracejit.numpy` with every call compiled: a module for suites of other projects.

Each function compiles itself for the call: arrays and NumPy scalars among its arguments
are arguments of a function under `jit`, all else is constant in it. Arrays are NumPy's.
"""

import struct
import types
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

import numpy as np

import tracejit as tj
import tracejit.numpy as tnp

_compiled: dict[object, Callable[..., Any]] = {}


def _arrays(tree: Any) -> Iterator[Any]:
    """Yield the arrays in nested arguments."""
    if isinstance(tree, np.ndarray | np.generic):
        yield tree
    elif isinstance(tree, list | tuple):
        for x in tree:
            yield from _arrays(x)


def _filled(tree: Any, arrays: Iterator[Any]) -> Any:
    """Return nested arguments with the next of `arrays` in place of each."""
    if isinstance(tree, np.ndarray | np.generic):
        return next(arrays)
    if isinstance(tree, list | tuple):
        filled = [_filled(x, arrays) for x in tree]
        return type(tree)(filled)
    return tree


def _key(tree: Any) -> str:
    """Return what is constant in nested arguments, as text."""
    if isinstance(tree, np.ndarray | np.generic):
        return "array"
    if isinstance(tree, list | tuple):
        return f"{type(tree).__name__}({','.join(map(_key, tree))})"
    if isinstance(tree, float):
        return f"float:{struct.pack('d', tree).hex()}"  # NaN has a sign too
    return f"{type(tree).__name__}:{tree!r}"


def call_compiled(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a function of arrays through `jit`."""
    tree = (list(args), list(kwargs.values()))
    key = fn, tuple(kwargs), _key(tree)
    if key not in _compiled:

        def body(*arrays: Any) -> Any:
            positional, named = _filled(tree, iter(arrays))
            return fn(*positional, **dict(zip(kwargs, named, strict=True)))

        body.__name__ = getattr(fn, "__name__", "call")
        _compiled[key] = tj.jit(body)
    return _compiled[key](*_arrays(tree))


def _wrapped(fn: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(fn)
    def call(*args: Any, **kwargs: Any) -> Any:
        return call_compiled(fn, *args, **kwargs)

    return call


def _module(name: str, source: types.ModuleType) -> types.ModuleType:
    out = types.ModuleType(name)
    for key in source.__all__:
        value = getattr(source, key)
        if isinstance(value, types.ModuleType):
            value = _module(f"{name}.{key}", value)
        elif callable(value) and not isinstance(value, type):
            value = _wrapped(value)
        setattr(out, key, value)
    return out


_made = _module(__name__, tnp)
for _name in tnp.__all__:
    globals()[_name] = getattr(_made, _name)


def _with_size(name: str, size_of: Callable[[Any], int]) -> Callable[..., Any]:
    """Return a function that is told how long its results are, as `jit` needs it."""
    fn = getattr(tnp, name)

    @wraps(fn)
    def call(x: Any, /) -> Any:
        return call_compiled(fn, x, size=int(size_of(x)))

    return call


nonzero = _with_size("nonzero", np.count_nonzero)
for _name in ("all", "counts", "inverse", "values"):
    globals()[f"unique_{_name}"] = _with_size(
        f"unique_{_name}", lambda x: np.unique_values(x).size
    )


@wraps(tnp.repeat)
def repeat(x: Any, repeats: Any, /, *, axis: int | None = None) -> Any:
    """Repeat as often as is known when the call is compiled."""
    return call_compiled(lambda v: tnp.repeat(v, repeats, axis=axis), x)


# These take no array to compute with.
__array_namespace_info__ = tnp.__array_namespace_info__
from_dlpack = tnp.from_dlpack
__version__ = tj.__version__
