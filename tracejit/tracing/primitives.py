"""`register_primitive`: operations of the user's own, declared in one block.

What a primitive means, how it is differentiated and what it becomes in kernels are
NumPy functions here; they are traced to graphs when the compiler asks.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from ..errors import DTypeError, ShapeError, TraceError
from ..ir import dtypes as dt
from ..ir.aval import ShapedArray
from ..ir.builder import Builder
from ..ir.graph import Atom, Graph
from ..ir.ops.custom import inexact_avals
from ..ir.ops.loops import ScanParams, scan_p
from ..ir.ops.shape import batch_size, full_like, spread
from ..ir.primitive import (
    REGISTRY,
    Array,
    Avals,
    BatchParams,
    BatchRule,
    JvpRule,
    Kind,
    Linearity,
    Param,
    ParamKind,
    Params,
    Partial,
    Primitive,
    TransposeRule,
    register,
)
from .batching import Wanted, trace_rule
from .creation import taking_lists, wrapped_creation
from .inner import kind_of, with_kind
from .numpy_rules import RULES
from .source import user_line
from .storage import Kind as ValueKind
from .storage import Storage, blank
from .trace import Trace, current_trace, run_traced
from .tracer import Tracer
from .tree import flatten

Function = Callable[..., Any]
PARAM_KINDS: Mapping[type, ParamKind] = {
    bool: ParamKind.BOOL,
    int: ParamKind.INT,
    float: ParamKind.FLOAT,
    str: ParamKind.STR,
    tuple: ParamKind.INTS,
}
_REGISTERED: set[str] = set()
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")


class UserPrimitive:
    """A registered operation, called like a NumPy function.

    Attributes
    ----------
    primitive : tracejit.ir.primitive.Primitive
        Its declaration.
    """

    def __init__(self, primitive: Primitive, evaluate: "Evaluate") -> None:
        self.primitive = primitive
        self.__name__ = primitive.name
        self._evaluate = evaluate

    def __call__(self, *args: Any, **params: Any) -> Any:
        """Compute the operation: at once, or recorded in the trace that runs."""
        trace = current_trace()
        operands = _operands(args, self.primitive.kind is Kind.ELEMENTWISE)
        self._check_params(params)
        outs: Sequence[Any]
        if trace is None:
            outs = self.primitive.evaluate([np.asarray(x) for x in operands], params)
        else:
            outs = _recorded(trace, self.primitive, operands, params)
        found = [
            with_kind(x, ValueKind.ARRAY if x.shape else ValueKind.SCALAR) for x in outs
        ]
        avals = [aval_of(x) for x in operands]
        return tuple(found) if self._evaluate(*avals, **params)[1] else found[0]

    def unregister(self) -> None:
        """Take the name back, so that it can be declared anew."""
        REGISTRY.pop(self.primitive.name, None)

    def _check_params(self, params: Mapping[str, Any]) -> None:
        if {*params} != {*self.primitive.params}:
            raise TypeError(
                f"{self.__name__} takes the keywords {sorted(self.primitive.params)}, "
                f"not {sorted(params)}"
            )

    def __repr__(self) -> str:
        return f"<primitive {self.__name__}>"


def register_primitive(
    name: str,
    impl: Function,
    abstract_eval: Function | None = None,
    *,
    params: Mapping[str, type] | None = None,
    partials: Sequence[Function | None] | None = None,
    jvp: Function | None = None,
    transpose: Function | None = None,
    linear_in: Sequence[int] = (),
    flops: Function | None = None,
    lowering: Function | None = None,
    batch: Function | Literal["leading axes"] | None = None,
) -> UserPrimitive:
    """Declare an operation.

    Parameters
    ----------
    name : str
        Its name in graphs.
    impl : callable
        ``impl(*arrays, **params)`` in NumPy: what it means, in eager code, in the
        interpreter, and in compiled code unless there is a `lowering`.
    abstract_eval : callable, optional
        ``abstract_eval(*avals, **params)``: shape and dtype of the result, or a tuple
        of several, as `tracejit.callback.ShapeDtype` or the like. Not needed with
        `lowering`, nor with `partials` (operands broadcast, dtypes promote).
    params : mapping of str to type, optional
        Keywords that are constants: bool, int, float, str, or tuple (of ints).
    partials : sequence of callable or None, optional
        For elementwise operations, one per operand: ``partial(g, out, *arrays)``
        multiplies `g` by the partial derivative; None where that is zero. Serves both
        modes.
    jvp : callable, optional
        ``jvp(primals, tangents, **params)``: tangents of the results, linear in
        `tangents`; serves both modes.
    transpose : callable, optional
        For operations that are linear in some operands together:
        ``transpose(cotangent, *arrays, **params)`` gives a cotangent for each of them;
        they stand among `arrays` with shape and dtype alone. `cotangent` is a tuple
        where there are several results.
    linear_in : sequence of int
        Those operands; all unless given.
    flops : callable, optional
        ``flops(in_avals, out_avals, params)``; an operation an element of the first
        result unless given.
    lowering : callable, optional
        The same in NumPy functions, ``lowering(*arrays, **params)``: compiled, and
        fused with what is around it. It also gives the derivative where none is given.
    batch : callable or "leading axes", optional
        How it is applied to a batch of examples. A callable is a rule in NumPy terms,
        ``batch(axis_size, in_batched, *arrays, **params) -> (result, out_batched)``, as
        of `custom_batching`: arrays with the batch have it as axis 0. "leading axes"
        says that `impl` takes operands with any number of axes in front of its own.
        Unless given, elementwise operations are applied to the whole batch, a
        `lowering` that also gives the derivative is batched itself, and others are
        computed for one example after the other.

    Returns
    -------
    callable
        A function of arrays and of `params` by keyword.

    Raises
    ------
    TraceError
        When the name is taken or not a name, or cells exclude each other.
    ShapeError
        At a call, when `impl` does not give what `abstract_eval` says.

    Examples
    --------
    >>> import numpy as np
    >>> softsign = register_primitive(
    ...     "doc.softsign",
    ...     impl=lambda x: x / (1 + np.abs(x)),
    ...     partials=[lambda g, out, x: g / (1 + np.abs(x)) ** 2],
    ... )
    >>> softsign(1.0)
    np.float64(0.5)
    >>> softsign.unregister()
    """
    _check_name(name)
    if sum(x is not None for x in (partials, jvp, transpose)) > 1:
        raise TraceError(
            f"primitive {name!r} is given more than one of partials, jvp and transpose",
            source=user_line(),
        )
    evaluate = _abstract(name, abstract_eval, lowering, partials is not None)
    primitive = Primitive(
        name,
        lambda *avals, **kw: evaluate(*avals, **kw)[0],
        _checked(name, impl, evaluate),
        params={k: _param_kind(k, v) for k, v in (params or {}).items()},
        flops=flops or (lambda ins, outs, params: float(outs[0].size)),
        expand=None if lowering is None else _expansion(name, lowering),
        variadic_results=True,
    )
    if partials is not None:
        rules = tuple(None if f is None else _partial(name, f) for f in partials)
        primitive = replace(primitive, kind=Kind.ELEMENTWISE, partials=rules)
    elif jvp is not None:
        primitive = replace(primitive, jvp=_jvp(name, jvp))
    elif transpose is not None:
        primitive = replace(
            primitive,
            linearity=Linearity.JOINT,
            linear_in=tuple(linear_in),
            transpose=_transpose(name, transpose),
        )
    _REGISTERED.add(name)
    return UserPrimitive(
        register(replace(primitive, batch=_batching(primitive, batch, evaluate))),
        evaluate,
    )


def is_users(name: str) -> bool:
    """Tell whether a primitive of that name was ever registered by the user."""
    return name in _REGISTERED


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise TraceError(f"{name!r} is no name of a primitive", source=user_line())
    if name in REGISTRY:
        raise TraceError(
            f"a primitive named {name!r} is registered already",
            source=user_line(),
            hint=f"choose another name, such as 'my.{name}', or unregister() yours",
        )


def _param_kind(name: str, kind: type) -> ParamKind:
    if kind not in PARAM_KINDS:
        names = ", ".join(k.__name__ for k in PARAM_KINDS)
        raise TraceError(
            f"param {name!r} is of type {kind!r}, not one of {names}",
            source=user_line(),
        )
    return PARAM_KINDS[kind]


# --- shapes and meaning -----------------------------------------------------------

Evaluate = Callable[..., tuple[Avals, bool]]


def _abstract(
    name: str,
    abstract_eval: Function | None,
    lowering: Function | None,
    is_elementwise: bool,
) -> Evaluate:
    """Return what tells the avals of results, and whether they are a tuple."""
    if abstract_eval is None and lowering is None and not is_elementwise:
        raise TraceError(
            f"primitive {name!r} has no abstract_eval",
            source=user_line(),
            hint="give shape and dtype of the result: "
            "abstract_eval=lambda x: tj.callback.ShapeDtype(x.shape, x.dtype)",
        )

    def declared(*avals: ShapedArray, **params: Any) -> tuple[Avals, bool]:
        assert abstract_eval is not None
        found = abstract_eval(*avals, **params)
        outs = found if isinstance(found, tuple | list) else (found,)
        return tuple(_aval(x) for x in outs), outs is found

    def broadcast(*avals: ShapedArray, **params: Any) -> tuple[Avals, bool]:
        shape = np.broadcast_shapes(*(a.shape for a in avals))
        dtype = np.result_type(*(a.dtype for a in avals))
        return (ShapedArray(shape, dt.canonical(dtype)),), False

    def traced(*avals: ShapedArray, **params: Any) -> tuple[Avals, bool]:
        assert lowering is not None
        graph, is_one = _traced(name, lowering, avals, params)
        return graph.out_avals, not is_one

    if abstract_eval is not None:
        return declared
    return broadcast if lowering is None else traced


def _aval(x: Any) -> ShapedArray:
    return ShapedArray(tuple(x.shape), dt.canonical(np.dtype(x.dtype)))


def aval_of(x: Any) -> ShapedArray:
    """Return shape and dtype of an operand."""
    if isinstance(x, Tracer):
        return x.aval
    array = np.asarray(x)
    return ShapedArray(array.shape, dt.canonical(array.dtype))


def _checked(name: str, impl: Function, evaluate: Evaluate) -> Callable[..., Any]:
    """Return `impl` as the interpreter runs it: results are as promised."""

    def run(*arrays: Array, **params: Any) -> tuple[Array, ...]:
        want, is_tuple = evaluate(*map(aval_of, arrays), **params)
        found = impl(*arrays, **params)
        outs = tuple(map(np.asarray, found if is_tuple else (found,)))
        got = [f"{x.dtype}{list(x.shape)}" for x in outs]
        said = [f"{a.dtype}{list(a.shape)}" for a in want]
        if got != said:
            raise ShapeError(
                f"impl of primitive {name!r} gave {', '.join(got)}, but abstract_eval "
                f"says {', '.join(said)}",
                hint="make the two agree, e.g. by .astype(x.dtype) in impl",
            )
        return outs

    return run


# --- NumPy functions as graphs ----------------------------------------------------


def _graph(
    name: str, fn: Function, avals: Sequence[ShapedArray], params: Mapping[str, Any]
) -> Graph:
    return _traced(name, fn, tuple(avals), params)[0]


def _traced(
    name: str,
    fn: Function,
    avals: Avals,
    params: Mapping[str, Any],
    orders: int = 0,
) -> tuple[Graph, bool]:
    """Trace a rule at shapes and dtypes; tell whether it gave one value, no tuple.

    `orders` derivatives will be taken of it beyond those of the trace that runs.
    """
    around = current_trace()
    orders += 0 if around is None else around.derivatives
    return _traced_once(name, fn, avals, tuple(sorted(params.items())), orders)


@lru_cache(maxsize=512)
@taking_lists
def _traced_once(
    name: str,
    fn: Function,
    avals: Avals,
    params: tuple[tuple[str, Param], ...],
    orders: int,
) -> tuple[Graph, bool]:
    trace = Trace(name, RULES, orders=orders)
    tracers = [_argument(trace, aval) for aval in avals]
    with wrapped_creation():
        result = run_traced(trace, lambda: fn(*tracers, **dict(params)))
    leaves, spec = flatten(result)
    trace.active = True  # reading results records views
    try:
        graph = trace.builder.build([trace.lift(x).read() for x in leaves])
    finally:
        trace.active = False
    return graph, spec.kind is None


def _argument(trace: Trace, aval: ShapedArray) -> Tracer:
    var = trace.builder.input(aval)
    storage = Storage(trace, var, frozen="it is an operand of a primitive")
    kind = ValueKind.ARRAY if aval.shape else ValueKind.SCALAR
    return Tracer(storage, (), blank(aval), kind)


def _inlined(
    b: Builder, name: str, fn: Function, ins: Sequence[Atom], params: Mapping[str, Any]
) -> tuple[Atom, ...]:
    return b.inline(_graph(name, fn, [x.aval for x in ins], params), ins)


def _expansion(name: str, fn: Function) -> Callable[[Avals, Params], Graph]:
    """Return the cell `expand`: where it is asked for, it may be differentiated."""
    return lambda avals, params: _traced(name, fn, avals, params, 1)[0]


# --- derivatives ------------------------------------------------------------------


def _partial(name: str, fn: Function) -> Partial:
    def partial(b: Builder, g: Atom, *rest: Atom) -> Atom | None:
        (out,) = _inlined(b, f"{name}_partial", fn, [g, *rest], {})
        return _of_dtype(name, out, g.aval.dtype)

    return partial


def _of_dtype(name: str, x: Atom, dtype: np.dtype) -> Atom:
    if x.aval.dtype != dtype:
        raise DTypeError(
            f"the derivative of primitive {name!r} is of {x.aval.dtype}, not {dtype}",
            hint="use Python numbers in the rule, or .astype(g.dtype)",
        )
    return x


def _jvp(name: str, fn: Function) -> JvpRule:
    def rule(
        b: Builder,
        tangents: Sequence[Atom | None],
        outs: Sequence[Atom],
        ins: Sequence[Atom],
        params: Params,
    ) -> list[Atom | None]:
        n, moving = len(ins), [dt.is_inexact(x.aval.dtype) for x in ins]
        pairs = zip(tangents, ins, moving, strict=True)
        given = [full_like(b, 0, x.aval) if t is None else t for t, x, m in pairs if m]

        def call(*values: Any, **kw: Any) -> Any:
            rest = iter(values[n:])
            primals = values[:n]
            ts = [
                next(rest) if m else np.zeros(x.shape, x.dtype)
                for x, m in zip(primals, moving, strict=True)
            ]
            return fn(primals, tuple(ts), **kw)

        graph = _graph(f"{name}_jvp", call, [x.aval for x in (*ins, *given)], params)
        found = b.inline(graph, [*ins, *given])
        return _tangents_of(name, found, outs)

    return rule


def _tangents_of(
    name: str, found: Sequence[Atom], outs: Sequence[Atom]
) -> list[Atom | None]:
    """Return the tangents of results, checked; those of integers are dropped."""
    avals = [x.aval for x in outs]
    if len(found) != len(outs) or inexact_avals([x.aval for x in found]) != (
        inexact_avals(avals)
    ):
        raise ShapeError(
            f"the jvp of primitive {name!r} gives {[x.aval for x in found]}, but the "
            f"results are {avals}",
            hint="give one tangent for each result, of its shape and dtype",
        )
    return [t if dt.is_inexact(t.aval.dtype) else None for t in found]


def _transpose(name: str, fn: Function) -> TransposeRule:
    def rule(
        b: Builder,
        cotangents: Sequence[Atom | None],
        ins: Sequence[Atom],
        linear: Sequence[bool],
        params: Params,
    ) -> list[Atom | None]:
        avals = _result_avals(name, ins, params)
        cts = [
            full_like(b, 0, a) if c is None else c
            for c, a in zip(cotangents, avals, strict=True)
        ]
        likes = [x.aval for x in ins]
        known = [x for x, is_linear in zip(ins, linear, strict=True) if not is_linear]

        def call(*values: Any, **kw: Any) -> Any:
            m = len(cts)
            rest = iter(values[m:])
            operands = [
                like if is_linear else next(rest)
                for like, is_linear in zip(likes, linear, strict=True)
            ]
            return fn(values[0] if m == 1 else values[:m], *operands, **kw)

        graph = _graph(
            f"{name}_transpose", call, [x.aval for x in (*cts, *known)], params
        )
        found = iter(b.inline(graph, [*cts, *known]))
        return [next(found) if is_linear else None for is_linear in linear]

    return rule


def _result_avals(name: str, ins: Sequence[Atom], params: Params) -> Avals:
    return REGISTRY[name].out_avals([x.aval for x in ins], params)


# --- batches ----------------------------------------------------------------------


def _batching(
    p: Primitive, batch: Function | str | None, evaluate: Evaluate
) -> BatchParams | BatchRule | None:
    """Return the cell `batch`; None leaves it to the kind or to the expansion."""
    if batch is None:
        follows = p.kind is Kind.ELEMENTWISE or (p.expand and not p.has_derivative)
        return None if follows else _one_by_one
    if isinstance(batch, str):
        if batch != "leading axes":
            raise TraceError(
                f"batch of primitive {p.name!r} is {batch!r}, neither a function nor "
                "'leading axes'",
                source=user_line(),
            )
        return BatchParams()
    return _batch(p.name, batch, evaluate)


def _one_by_one(
    b: Builder,
    primitive: Primitive,
    ins: Sequence[Atom],
    batched: Sequence[bool],
    params: Params,
) -> Sequence[Atom]:
    """Emit a loop over the examples."""
    body = Builder(primitive.name)
    body.source = b.source
    size = batch_size(ins, batched)
    order = sorted(range(len(ins)), key=lambda i: batched[i])  # constants come first
    args: dict[int, Atom] = {}
    for i in order:
        aval = ins[i].aval
        one = aval.with_shape(aval.shape[1:]) if batched[i] else aval
        args[i] = body.input(one)
    outs = body.emit_all(primitive, [args[i] for i in range(len(ins))], params)
    loop = ScanParams(body.build(outs), size, False, len(ins) - sum(batched), 0)
    return b.emit_all(scan_p, [ins[i] for i in order], loop.params)


def _batch(name: str, fn: Function, evaluate: Evaluate) -> BatchRule:
    def rule(
        b: Builder,
        primitive: Primitive,
        ins: Sequence[Atom],
        batched: Sequence[bool],
        params: Params,
    ) -> Sequence[Atom]:
        size = batch_size(ins, batched)
        pairs = zip(ins, batched, strict=True)
        one = [x.aval.with_shape(x.aval.shape[m:]) for x, m in pairs]
        avals, is_tuple = evaluate(*one, **params)
        spec = flatten((0,) * len(avals) if is_tuple else 0)[1]
        line = ", ".join(b.source) or None
        wanted = Wanted(f"the batch rule of primitive {name!r}", line, spec, avals)
        graph, mask = trace_rule(
            lambda xs: fn(size, list(batched), *xs, **params),
            [x.aval for x in ins],
            size,
            wanted,
        )
        outs = zip(b.inline(graph, ins), mask, strict=True)
        return [x if has else spread(b, x, size) for x, has in outs]

    return rule


# --- calls ------------------------------------------------------------------------


def _operands(args: Sequence[Any], is_elementwise: bool) -> list[Any]:
    """Return operands: Python numbers take part in promotion as NumPy has them do."""
    is_weak = [kind_of(x) is ValueKind.PYTHON for x in args]
    dtypes = [
        aval_of(x).dtype for x, weak in zip(args, is_weak, strict=True) if not weak
    ]
    out: list[Any] = []
    for x, weak in zip(args, is_weak, strict=True):
        if weak and dtypes and not isinstance(x, Tracer):
            out.append(np.asarray(x, np.result_type(*dtypes, x))[()])
        else:
            out.append(x if isinstance(x, Tracer) else np.asarray(x))
    if not is_elementwise:
        return out
    shape = np.broadcast_shapes(*(x.shape for x in out))
    return [x if x.shape in ((), shape) else np.broadcast_to(x, shape) for x in out]


def _recorded(
    trace: Trace, primitive: Primitive, operands: Sequence[Any], params: Params
) -> list[Tracer]:
    lifted = [trace.lift(x) for x in operands]
    made = trace.emit_all(primitive, [x.read() for x in lifted], dict(params))
    if not trace.concrete or not all(x.is_known for x in lifted):
        return [trace.result(x) for x in made]
    values = primitive.evaluate([np.asarray(x.shadow) for x in lifted], params)
    return [trace.result(x, v) for x, v in zip(made, values, strict=True)]
