"""How random functions run: compiled outside of a trace, recorded inside of one.

A formula is NumPy code on a key, operands, and a static shape and dtype. Outside of any
trace it is compiled for them, so that numbers have the same bits as inside `jit`; in a
trace it becomes part of that, and so of the kernels that use the numbers.
"""

import functools
from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from ..api import jit
from ..ir.aval import Shape
from ..ir.ops.elementwise import fma_p
from ..ir.ops.shape import iota_p
from ..tracing.functions.registry import dispatch, implements, lift, wrap
from ..tracing.trace import current_trace
from ..tracing.tracer import Tracer
from .threefry import threefry2x32

UINT32 = np.dtype(np.uint32)
WORD = 2**32


def drawn(formula: Callable[..., Any]) -> Callable[..., Any]:
    """Return `formula`, compiled where no trace runs.

    Its keyword arguments are constants: ints, tuples of ints, strings and bools.
    """
    code = formula.__code__
    first = code.co_argcount
    static = code.co_varnames[first : first + code.co_kwonlyargcount]
    compiled = jit(formula, static_argnames=static)

    @functools.wraps(formula)
    def run(*operands: Any, **constants: Any) -> Any:
        trace = current_trace()
        if trace is None:
            # Whole numbers are parameters as others are: one compilation for all.
            floats = [float(x) if type(x) is int else x for x in operands]
            return compiled(*floats, **constants)
        traced = [trace.lift(x) if isinstance(x, np.ndarray) else x for x in operands]
        return formula(*traced, **constants)

    return run


def counted(size: int) -> tuple[Any, Any]:
    """Return the high and the low words of 0, 1, ..., as a count and not as data."""
    if size <= WORD:
        return np.uint32(0), _count(size, UINT32)
    count = _count(size, np.dtype(np.uint64))
    return (count >> np.uint64(32)).astype(UINT32), count.astype(UINT32)


def _count(size: int, dtype: np.dtype) -> Any:
    trace = current_trace()
    assert trace is not None, "formulas run in traces"
    if trace.may_know(size):
        return trace.constant(np.arange(size, dtype=dtype), born_here=True)
    return wrap(trace, trace.emit(iota_p, shape=(size,), axis=0, dtype=dtype))


def words(key: Any, shape: Shape, stream: Any = 0) -> tuple[Any, Any]:
    """Return 64 random bits for each element, as two uint32 arrays of `shape`.

    The counter is the element's place in row-major order; its upper 16 bits are the
    number of the stream, for functions that need more bits of a key.
    """
    high, low = counted(prod(shape))
    if isinstance(high, Tracer):
        high = high.reshape(shape)
    number = np.uint32(stream) if isinstance(stream, int) else stream
    high = high + (number << np.uint32(16))
    return threefry2x32(key[0], key[1], high, low.reshape(shape))


def fma(x: Any, y: Any, z: Any) -> Any:
    """Return ``x * y + z`` rounded once, on every machine, in the dtype of x.

    Formulas that say where a product and a sum are one rounding have the same bits
    compiled and interpreted.
    """
    if isinstance(x, Tracer):
        return dispatch(fma, (x, y, z), {})
    return fma_p.impl(x, *(np.asarray(v, x.dtype) for v in (y, z)))


@implements(fma)
def _traced_fma(x: Any, y: Any, z: Any) -> Any:
    trace, values = lift(x, y, z)
    operands = [v.convert(x.dtype) for v in values]
    return wrap(trace, trace.emit(fma_p, *operands))
