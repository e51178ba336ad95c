"""Arguments of random functions: checked, and spelled out.

Establishes a shape of ints and a dtype from what the user wrote; errors carry the
user's line and what to write instead.
"""

from collections.abc import Sequence
from operator import index
from typing import Any

import numpy as np

from ..errors import ArgumentError, DTypeError, ShapeError
from ..ir import dtypes as dt
from ..ir.aval import Shape
from ..tracing.source import user_line
from ..tracing.trace import current_trace
from ..tracing.tracer import Tracer

ShapeLike = int | Sequence[int]
REAL_FLOATS = (dt.BFLOAT16, dt.FLOAT16, dt.FLOAT32, dt.FLOAT64)
MAKE_A_KEY = "key = tj.random.key(0), then tj.random.split(key) for one key per use"


def checked_key(name: str, key: Any) -> Any:
    """Return a key as an array or traced array: uint32[2].

    Raises
    ------
    ArgumentError, DTypeError, ShapeError
    """
    if isinstance(key, int | float | tuple) or not hasattr(key, "dtype"):
        raise ArgumentError(
            f"{name}: the first argument is a key, not {_shown(key)}",
            source=user_line(),
            hint=MAKE_A_KEY,
        )
    if key.dtype != np.uint32:
        raise DTypeError(
            f"{name}: a key is uint32[2], not {_shown(key)}",
            source=user_line(),
            hint=MAKE_A_KEY,
        )
    if key.shape != (2,):
        raise ShapeError(
            f"{name}: a key is uint32[2], not {_shown(key)}",
            source=user_line(),
            hint="for many keys: tj.vmap over them, or a scan",
        )
    trace = current_trace()
    return key if trace is None or isinstance(key, Tracer) else trace.lift(key)


def _shown(x: Any) -> str:
    if hasattr(x, "dtype") and hasattr(x, "shape"):
        return f"{x.dtype}{list(x.shape)}"
    text = repr(x)
    return f"{text if len(text) < 40 else type(x).__name__}"


def checked_shape(name: str, shape: Any) -> Shape:
    """Return a shape as a tuple of ints; one int is a shape of one axis.

    Raises
    ------
    ShapeError
    """
    values = shape if isinstance(shape, list | tuple) else (shape,)
    try:
        out = tuple(index(n) for n in values)
    except TypeError as error:
        if any(isinstance(n, Tracer) for n in values):
            raise
        raise ShapeError(
            f"{name}: the shape is {shape!r}; expected an int or a tuple of ints",
            source=user_line(),
            hint=f"tj.random.{name}(key, (3, 4))",
        ) from error
    if min(out, default=0) < 0:
        raise ShapeError(
            f"{name}: the shape {out} has a negative extent", source=user_line()
        )
    return out


def checked_dtype(name: str, dtype: Any, allowed: Sequence[np.dtype]) -> np.dtype:
    """Return a dtype that is one of `allowed`.

    Raises
    ------
    DTypeError
    """
    try:
        out = np.dtype(dtype)
    except TypeError:
        out = None
    if out is None or out not in allowed:
        names = ", ".join(dt.dtype_name(d) for d in allowed)
        raise DTypeError(
            f"{name}: the dtype is {dtype!r}; expected one of {names}",
            source=user_line(),
        )
    return out


def common_shape(name: str, shape: Any, *operands: Any) -> Shape:
    """Return `shape`, or that of the operands broadcast where it is None.

    Raises
    ------
    ShapeError
        When the operands do not broadcast to it.
    """
    return fitted_shape(name, shape, *(np.shape(x) for x in operands))


def fitted_shape(name: str, shape: Any, *shapes: Shape) -> Shape:
    """Return `shape`, or what `shapes` broadcast to where it is None.

    Raises
    ------
    ShapeError
    """
    wanted = None if shape is None else checked_shape(name, shape)
    try:
        natural = np.broadcast_shapes(*shapes)
        if wanted is None or np.broadcast_shapes(natural, wanted) == wanted:
            return natural if wanted is None else wanted
    except ValueError:
        pass
    goal = "each other" if wanted is None else f"the shape {wanted}"
    raise ShapeError(
        f"{name}: parameters of shapes {', '.join(map(str, shapes))} do not broadcast "
        f"to {goal}",
        source=user_line(),
    )


def split_last(name: str, what: str, x: Any) -> tuple[Shape, int]:
    """Return the shape of an array without its last axis, and that axis.

    Raises
    ------
    ShapeError
        For scalars.
    """
    shape = np.shape(x)
    if not shape:
        raise ShapeError(
            f"{name}: {what} is one number, not a vector", source=user_line()
        )
    return shape[:-1], shape[-1]
