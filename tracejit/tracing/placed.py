"""Transformed functions that are called with arrays on a device, outside of `jit`.

Outside of `jit` a transformation computes with NumPy as it goes. Arrays on a device are
not NumPy's to compute with: there the transformed function is compiled, and runs where
its arrays are. Python's `if` on their values is an error then, as under `jit`.
"""

import functools
from collections.abc import Callable
from typing import Any

from ..errors import ArgumentError
from ..ir.placed import Placed
from .source import user_line
from .trace import current_trace
from .tree import flatten


def placed_in(*trees: Any) -> Placed | None:
    """Return the first array on a device, if there is one."""
    leaves, _ = flatten(trees)
    return next((x for x in leaves if isinstance(x, Placed)), None)


def compiled_where_placed(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Return `fn`, compiled where an argument is on a device."""

    @functools.wraps(fn)
    def call(*args: Any, **kwargs: Any) -> Any:
        found = placed_in(args, kwargs)
        if found is None:
            return fn(*args, **kwargs)
        return found.compute(fn, *args, **kwargs)

    return call


def inlined_where_placed(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Return `fn`, which returns functions, for arrays on a device inside of traces.

    Outside of them it raises `ArgumentError`: what it returned would be compiled code
    that nothing compiled yet.
    """

    @functools.wraps(fn)
    def call(*args: Any, **kwargs: Any) -> Any:
        found = placed_in(args, kwargs)
        if found is None:
            return fn(*args, **kwargs)
        if current_trace() is None:
            raise ArgumentError(
                f"{fn.__name__} outside of jit takes no arrays on a device, but one on "
                f"{found.place}",
                source=user_line(),
                hint=f"call {fn.__name__}, and what it returns, in one function under "
                "tj.jit",
            )
        return found.compute(fn, *args, **kwargs)

    return call
