"""Calls of Python functions while a graph runs: prints, checks, values from outside.

A `callback` has no derivative: in forward mode it runs on the values once, and results
of float dtype must come from a custom function. What it gives is checked each time
against what was promised.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...errors import DTypeError, ShapeError, UnsupportedError
from .. import dtypes as dt
from ..aval import ShapedArray
from ..primitive import (
    Array,
    Avals,
    Effect,
    HostFunction,
    ParamKind,
    Params,
    Primitive,
    register,
)
from .reduce import reduce_and_p
from .shape import spread

if TYPE_CHECKING:
    from ..builder import Builder
    from ..graph import Atom

# How a callback may be moved: not at all past others that are ordered; anywhere, but
# once; dropped and repeated like arithmetic.
EFFECTS: Mapping[str, frozenset[Effect]] = {
    "ordered": frozenset({Effect.ORDERED}),
    "io": frozenset({Effect.IO}),
    "pure": frozenset(),
}


def _callback_eval(
    *avals: ShapedArray, fn: HostFunction, results: Avals, effect: str
) -> Avals:
    if effect not in EFFECTS:
        raise ShapeError(f"a callback is one of {[*EFFECTS]}, not {effect!r}")
    return results


def _callback(
    *xs: Array, fn: HostFunction, results: Avals, effect: str
) -> tuple[Array, ...]:
    """Call with copies: the memory of operands is used again."""
    outs = tuple(np.asarray(x) for x in fn.call(*(np.array(x) for x in xs)))
    got = [f"{x.dtype}{list(x.shape)}" for x in outs]
    fits = len(outs) == len(results) and all(
        (x.shape, x.dtype) == (a.shape, a.dtype)
        for x, a in zip(outs, results, strict=False)
    )
    if not fits:
        want = [f"{a.dtype}{list(a.shape)}" for a in results]
        label = fn.label
        raise ShapeError(
            f"the callback {label} gave {', '.join(got) or 'none'}, "
            f"but promised {', '.join(want) or 'none'}"
        )
    return outs


def _callback_jvp(
    b: "Builder",
    tangents: "Sequence[Atom | None]",
    outs: "Sequence[Atom]",
    ins: "Sequence[Atom]",
    params: Params,
) -> "Sequence[Atom | None]":
    raise UnsupportedError(
        f"the callback {params['fn']!r} has no derivative",
        source=", ".join(b.source) or None,
        hint="call it in a function with a rule (custom_jvp, custom_vjp), or on "
        "stop_gradient of its arguments",
    )


def _each(
    fn: HostFunction, batched: Sequence[bool], results: Sequence[ShapedArray]
) -> HostFunction:
    """Return a function that calls `fn` for one example after the other.

    `results` are those of all examples together.
    """

    def call(*xs: Array) -> tuple[Array, ...]:
        pairs = list(zip(xs, batched, strict=True))
        size = next(len(x) for x, m in pairs if m)
        rows = [
            fn.call(*(np.array(x[i]) if m else x for x, m in pairs))
            for i in range(size)
        ]
        if not rows:
            return tuple(np.empty(a.shape, a.dtype) for a in results)
        return tuple(np.stack(column) for column in zip(*rows, strict=True))

    return HostFunction(fn.label, call)


def _if_active(fn: HostFunction, results: Sequence[ShapedArray]) -> HostFunction:
    """Return a function of one more operand in front: whether to call `fn`.

    Where it is not called, `results` are zeros.
    """

    def call(active: Array, *xs: Array) -> tuple[Array, ...]:
        if active:
            return fn.call(*xs)
        return tuple(np.zeros(a.shape, a.dtype) for a in results)

    return HostFunction(fn.label, call)


def _callback_batch(
    b: "Builder",
    primitive: Primitive,
    ins: "Sequence[Atom]",
    batched: Sequence[bool],
    params: Params,
) -> "Sequence[Atom]":
    """Call for each example, in order."""
    fn, results = params["fn"], params["results"]
    assert isinstance(fn, HostFunction)
    assert isinstance(results, tuple)
    size = next(x.aval.shape[0] for x, m in zip(ins, batched, strict=True) if m)
    avals = [a for a in results if isinstance(a, ShapedArray)]
    whole = tuple(a.with_shape((size, *a.shape)) for a in avals)
    new: Params = {**params, "fn": _each(fn, batched, whole), "results": whole}
    return b.emit_all(primitive, ins, new)


def call_active(
    b: "Builder",
    active: "Atom",
    ins: "Sequence[Atom]",
    batched: Sequence[bool],
    params: Params,
) -> "Sequence[Atom]":
    """Emit a callback of the examples of a batch that are active, in order.

    The results of others are zeros. That is a batch of callbacks with one more operand:
    whether to call.
    """
    fn, results = params["fn"], params["results"]
    assert isinstance(fn, HostFunction)
    assert isinstance(results, tuple)
    avals = [a for a in results if isinstance(a, ShapedArray)]
    new: Params = {**params, "fn": _if_active(fn, avals)}
    return _callback_batch(b, callback_p, [active, *ins], [True, *batched], new)


callback_p: Primitive = register(
    Primitive(
        "callback",
        _callback_eval,
        _callback,
        params={
            "fn": ParamKind.HOST,
            "results": ParamKind.AVALS,
            "effect": ParamKind.STR,
        },
        jvp=_callback_jvp,
        batch=_callback_batch,
        flops=lambda ins, outs, params: 0.0,
        effects=lambda params: EFFECTS[str(params["effect"])],
        variadic_results=True,
    )
)


def _check_eval(ok: ShapedArray, *avals: ShapedArray, fn: HostFunction) -> Avals:
    if ok != ShapedArray((), dt.BOOL):
        raise DTypeError(f"check takes one boolean, not {ok}")
    return ()


def _check(ok: Array, *xs: Array, fn: HostFunction) -> tuple[Array, ...]:
    return () if ok else fn.call(*(np.array(x) for x in xs))


def _check_batch(
    b: "Builder",
    primitive: Primitive,
    ins: "Sequence[Atom]",
    batched: Sequence[bool],
    params: Params,
) -> "Sequence[Atom]":
    """Check that all are true; the first example that is not is the one to raise."""
    fn = params["fn"]
    assert isinstance(fn, HostFunction)
    ok = ins[0]
    if not batched[0]:
        size = next(x.aval.shape[0] for x, m in zip(ins, batched, strict=True) if m)
        ok = spread(b, ok, size)

    def call(oks: Array, *xs: Array) -> tuple[Array, ...]:
        first = int(np.argmin(oks))
        pairs = zip(xs, batched[1:], strict=True)
        return fn.call(*(np.array(x[first]) if m else x for x, m in pairs))

    every = b.emit(reduce_and_p, ok, axes=(0,))
    new: Params = {"fn": HostFunction(fn.label, call)}
    return b.emit_all(primitive, [every, ok, *ins[1:]], new)


# Calls `fn`, which raises, unless the first operand is true. Ordered, so that what is
# printed before it is seen before it fails.
check_p: Primitive = register(
    Primitive(
        "check",
        _check_eval,
        _check,
        params={"fn": ParamKind.HOST},
        jvp=lambda b, tangents, outs, ins, params: (),
        batch=_check_batch,
        flops=lambda ins, outs, params: 0.0,
        effects=lambda params: frozenset({Effect.CHECK, Effect.ORDERED}),
        variadic_results=True,
    )
)
