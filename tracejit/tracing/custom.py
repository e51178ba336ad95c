"""`custom_jvp` and `custom_vjp`: functions that bring their own derivative.

Where no derivative will be taken the function simply runs. Where one will, it and its
rules are traced at the call and become one equation that holds the graphs; what they
close over becomes an operand. Rules are traced for one derivative less than the call,
so that a rule may call its own function. The names and their meaning are those of JAX.
"""

import functools
import inspect
import types
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import DTypeError, ShapeError, TraceError
from ..ir import dtypes as dt
from ..ir.aval import ShapedArray
from ..ir.graph import Atom, Graph, Literal
from ..ir.ops.custom import custom_jvp_p, custom_vjp_p, inexact_avals
from ..ir.ops.shape import full_like
from .bind import bind, graph_taking, union
from .inner import Argument, InnerTrace, Static, argument_like, trace_inner, with_kind
from .source import user_line
from .storage import Kind
from .trace import Role, Trace, current_trace
from .tracer import Tracer
from .tree import LEAF, NONE, TreeSpec, flatten, format_path, paths, unflatten

Function = Callable[..., Any]


def positional(
    fun: Function, kind: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Any, ...]:
    """Return arguments as rules take them: by position, defaults filled in."""
    try:
        bound = inspect.signature(fun).bind(*args, **kwargs)
    except ValueError:  # builtins without a signature
        return args
    bound.apply_defaults()
    if bound.kwargs:
        raise TypeError(
            f"the {kind} function {getattr(fun, '__name__', 'f')!r} cannot take "
            f"keyword-only arguments: {sorted(bound.kwargs)}"
        )
    return bound.args


class _Custom:
    """What both kinds share: how arguments are taken apart."""

    __name__: str
    kind = ""

    def __init__(
        self, fun: Function, nondiff_argnums: Sequence[int] | int = ()
    ) -> None:
        functools.update_wrapper(self, fun)
        self.fun = fun
        numbers = (nondiff_argnums,) if isinstance(nondiff_argnums, int) else ()
        self.nondiff_argnums = numbers or tuple(nondiff_argnums)  # type: ignore[arg-type]
        self.name = getattr(fun, "__name__", "f")

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return self if instance is None else types.MethodType(self, instance)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function; its own derivative is used where one is taken."""
        self._check_rules()
        args = positional(self.fun, self.kind, args, kwargs)
        trace = current_trace()
        if trace is None or not trace.derivatives:
            return self.fun(*args)
        return self._traced(trace, _Split(self, args))

    def _check_rules(self) -> None:
        raise NotImplementedError

    def _traced(self, trace: Trace, split: "_Split") -> Any:
        raise NotImplementedError


class _Split:
    """One call's arguments: static ones, and the leaves of the others."""

    def __init__(self, custom: _Custom, args: tuple[Any, ...]) -> None:
        n = len(args)
        self.custom, self.full = custom, args
        self.static_at = [i % n for i in custom.nondiff_argnums if -n <= i < n]
        self.moving_at = [i for i in range(n) if i not in self.static_at]
        self.static = [args[i] for i in sorted(self.static_at)]
        self.leaves, self.spec = flatten(tuple(args[i] for i in self.moving_at))
        self.arguments = [
            self._argument(x, path)
            for x, path in zip(self.leaves, paths(self.spec), strict=True)
        ]
        self.avals = [x.aval for x in self.arguments]

    def _argument(self, x: Any, path: tuple[object, ...]) -> Argument:
        if isinstance(x, Tracer | np.ndarray | np.generic | int | float | complex):
            return argument_like(x)
        raise DTypeError(
            f"the {self.custom.kind} function {self.custom.name!r} was given a "
            f"{type(x).__name__} as argument{format_path(path)}, which is no array",
            source=user_line(),
            hint="name its position in nondiff_argnums",
        )

    def call(self, fn: Function, inner: Sequence[Any]) -> Any:
        """Call `fn` like the function, on other leaves."""
        full = list(self.full)
        moving = unflatten(self.spec, list(inner))
        for i, value in zip(self.moving_at, moving, strict=True):
            full[i] = value
        return fn(*full)

    def moving(self, inner: Sequence[Any]) -> tuple[Any, ...]:
        """Return the arguments that are differentiated, of other leaves."""
        moving: tuple[Any, ...] = unflatten(self.spec, list(inner))
        return moving

    @property
    def has_tangent(self) -> list[bool]:
        """Tell which leaves are of float or complex dtype."""
        return [dt.is_inexact(a.dtype) for a in self.avals]


def _lifted(tree: Any) -> Any:
    """Return a tree whose leaves are all traced, constants too."""
    trace = current_trace()
    assert trace is not None
    leaves, spec = flatten(tree)
    return unflatten(spec, [trace.lift(x) for x in leaves])


def _trace_function(split: _Split) -> InnerTrace:
    """Trace the function itself: what is differentiated is its rule."""
    custom = split.custom
    return _trace_wrapped(
        lambda inner: split.call(custom.fun, inner), split.arguments, custom.name, 0
    )


def _trace_wrapped(
    call: Callable[[list[Any]], Any],
    arguments: Sequence[Argument],
    name: str,
    orders: int,
    lift_results: bool = True,
) -> InnerTrace:
    return trace_inner(call, arguments, name, Role.WRAPPED, lift_results, orders)


def _finish(inner: InnerTrace, outs: Sequence[Any]) -> Any:
    pairs = zip(outs, inner.kinds, strict=True)
    return inner.rebuild([with_kind(x, k) for x, k in pairs])


def _padded(found: Sequence[Any], avals: Sequence[ShapedArray]) -> list[Any]:
    """Return tangents of all values: those of integers are zeros of their dtype."""
    rest = iter(found)
    return [next(rest) if dt.is_inexact(a.dtype) else _zeros(a) for a in avals]


def _zeros(aval: ShapedArray) -> Tracer:
    """Return zeros in the trace that runs: symbolic, no array."""
    trace = current_trace()
    assert trace is not None
    atom = full_like(trace.builder, 0, aval)
    known = np.zeros(aval.shape, aval.dtype) if trace.may_know(aval.size) else None
    return trace.result(atom, known, kind=Kind.ARRAY if aval.shape else Kind.SCALAR)


def _tangent_arguments(avals: Sequence[ShapedArray]) -> list[Argument]:
    return [Argument(a, Kind.SCALAR if not a.shape else Kind.ARRAY) for a in avals]


# --- forward mode -----------------------------------------------------------------


class custom_jvp(_Custom):
    """A function with its own directional derivative, used in both modes.

    Parameters
    ----------
    fun : callable
        NumPy code over nested containers of arrays and numbers.
    nondiff_argnums : int or sequence of int
        Positions of arguments that are passed on as they are, and given to the rule
        first.

    Examples
    --------
    >>> import numpy as np, tracejit as tj
    >>> @tj.custom_jvp
    ... def f(x):
    ...     return np.log1p(np.exp(x))
    >>> @f.defjvp
    ... def f_jvp(primals, tangents):
    ...     (x,), (t,) = primals, tangents
    ...     return f(x), t / (1 + np.exp(-x))
    >>> tj.grad(f)(0.0)
    np.float64(0.5)
    """

    kind = "custom_jvp"

    def __init__(
        self, fun: Function, nondiff_argnums: Sequence[int] | int = ()
    ) -> None:
        super().__init__(fun, nondiff_argnums)
        self.rule: Function | None = None

    def defjvp(self, jvp: Function) -> Function:
        """Declare the rule: ``jvp(*nondiff, primals, tangents) -> (result, tangent)``.

        It must be linear in the tangents. `primals` and `tangents` are tuples of
        arguments; tangents of integers are zeros of their dtype. Returns `jvp`.
        """
        self.rule = jvp
        return jvp

    def defjvps(self, *jvps: Function | None) -> None:
        """Declare a rule for each argument: ``(tangent, result, *primals) -> tangent``.

        Where it is None the derivative is zero.
        """
        if self.nondiff_argnums:
            raise TypeError("defjvps is not for functions with nondiff_argnums")

        def jvp(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> Any:
            out = self(*primals)
            parts = [
                rule(t, out, *primals)
                for rule, t in zip(jvps, tangents, strict=True)
                if rule is not None
            ]
            leaves, spec = flatten(out)
            sums: list[Any] = [np.zeros_like(x) for x in leaves]
            for part in parts:
                sums = [x + y for x, y in zip(sums, flatten(part)[0], strict=True)]
            return out, unflatten(spec, sums)

        self.defjvp(jvp)

    def _check_rules(self) -> None:
        if self.rule is None:
            raise TraceError(
                f"the custom_jvp function {self.name!r} has no derivative yet",
                source=user_line(),
                hint=f"declare it with @{self.name}.defjvp",
            )

    def _traced(self, trace: Trace, split: _Split) -> Any:
        fun = _trace_function(split)
        rule = self._trace_rule(split, trace.derivatives - 1)
        self._check(split, fun, rule)
        captured = union([fun, rule])
        n, m = len(split.leaves), sum(split.has_tangent)
        graph = graph_taking(fun, n, captured)
        whole = graph_taking(rule, n + m, captured)
        invars = [*whole.invars[:n], *whole.invars[n + m :], *whole.invars[n : n + m]]
        outs, ts = whole.outvars[: len(fun.kinds)], whole.outvars[len(fun.kinds) :]
        kept = [t for t in ts if dt.is_inexact(t.aval.dtype)]
        made = Graph(whole.name, invars, [*outs, *kept], whole.eqns)
        operands = [*split.leaves, *captured]
        results = bind(trace, custom_jvp_p, operands, graph=graph, rule=made, args=n)
        return _finish(fun, results)

    def _trace_rule(self, split: _Split, orders: int) -> InnerTrace:
        jvp, n = self.rule, len(split.leaves)
        assert jvp is not None

        def call(inner: list[Any]) -> Any:
            tangents = _padded(inner[n:], split.avals)
            result = jvp(*split.static, split.moving(inner[:n]), split.moving(tangents))
            if not isinstance(result, tuple | list) or len(result) != 2:
                raise TraceError(
                    f"the jvp rule of {self.name!r} returned {type(result).__name__}, "
                    "not a pair (result, tangent)",
                    source=user_line(),
                )
            out, tangent = _lifted(result[0]), result[1]
            spec = flatten(out)[1]
            who = f"the tangent that the jvp rule of {self.name!r} gives"
            return out, _matched(spec, flatten(out)[0], tangent, who, "the result")

        arguments = [*split.arguments, *_tangent_arguments(inexact_avals(split.avals))]
        return _trace_wrapped(call, arguments, f"{self.name}_jvp", orders)

    def _check(self, split: _Split, fun: InnerTrace, rule: InnerTrace) -> None:
        got = rule.spec.children[0]
        avals = rule.graph.out_avals[: got.size]
        _check_same(
            f"the jvp rule of {self.name!r}", fun.spec, fun.graph.out_avals, got, avals
        )


# --- reverse mode -----------------------------------------------------------------


class custom_vjp(_Custom):
    """A function with its own rule for reverse mode.

    Parameters
    ----------
    fun : callable
        NumPy code over nested containers of arrays and numbers.
    nondiff_argnums : int or sequence of int
        Positions of arguments that are passed on as they are, and given to `bwd`
        first.

    Examples
    --------
    >>> import numpy as np, tracejit as tj
    >>> @tj.custom_vjp
    ... def clip_gradient(x, limit):
    ...     return x
    >>> def fwd(x, limit):
    ...     return x, limit
    >>> def bwd(limit, g):
    ...     return np.clip(g, -limit, limit), None
    >>> clip_gradient.defvjp(fwd, bwd)
    >>> tj.grad(lambda x: clip_gradient(x, 1.0) ** 2)(3.0)
    np.float64(1.0)
    """

    kind = "custom_vjp"

    def __init__(
        self, fun: Function, nondiff_argnums: Sequence[int] | int = ()
    ) -> None:
        super().__init__(fun, nondiff_argnums)
        self.fwd: Function | None = None
        self.bwd: Function | None = None

    def defvjp(self, fwd: Function, bwd: Function) -> None:
        """Declare the rule.

        Parameters
        ----------
        fwd : callable
            Takes what the function takes; gives ``(result, residuals)``.
        bwd : callable
            ``bwd(*nondiff, residuals, cotangent)`` gives a tuple with the cotangent of
            each other argument; None stands for zeros. Cotangents have the structure
            of the result; for integer results they are zeros of their dtype.
        """
        self.fwd, self.bwd = fwd, bwd

    def _check_rules(self) -> None:
        if self.fwd is None or self.bwd is None:
            raise TraceError(
                f"the custom_vjp function {self.name!r} has no derivative yet",
                source=user_line(),
                hint=f"declare it with {self.name}.defvjp(fwd, bwd)",
            )

    def _traced(self, trace: Trace, split: _Split) -> Any:
        fun = _trace_function(split)
        passed = _Residuals()
        orders = trace.derivatives - 1
        fwd = self._trace_fwd(split, passed, orders)
        out = fwd.spec.children[0]
        avals = fwd.graph.out_avals[: out.size]
        _check_same(f"fwd of {self.name!r}", fun.spec, fun.graph.out_avals, out, avals)
        bwd = self._trace_bwd(split, fun, passed, orders)
        captured = union([fun, fwd, bwd])
        n = len(split.leaves)
        graphs = [graph_taking(x, n, captured) for x in (fun, fwd)]
        moving = len(bwd.graph.invars) - len(bwd.captured)
        whole = graph_taking(bwd, moving, captured)
        invars = [*whole.invars[moving:], *whole.invars[:moving]]
        made = Graph(whole.name, invars, whole.outvars, whole.eqns)
        operands = [*split.leaves, *captured]
        rules = {"fwd": graphs[1], "bwd": made}
        results = bind(trace, custom_vjp_p, operands, graph=graphs[0], **rules, args=n)
        return _finish(fun, results)

    def _trace_fwd(
        self, split: _Split, passed: "_Residuals", orders: int
    ) -> InnerTrace:
        def call(inner: list[Any]) -> Any:
            assert self.fwd is not None
            result = split.call(self.fwd, inner)
            if not isinstance(result, tuple | list) or len(result) != 2:
                raise TraceError(
                    f"fwd of {self.name!r} returned {type(result).__name__}, not a "
                    "pair (result, residuals)",
                    source=user_line(),
                )
            return _lifted(result[0]), passed.note(result[1])

        name = f"{self.name}_fwd"
        return _trace_wrapped(call, split.arguments, name, orders, False)

    def _trace_bwd(
        self, split: _Split, fun: InnerTrace, passed: "_Residuals", orders: int
    ) -> InnerTrace:
        avals = fun.graph.out_avals
        n = len(passed.arguments)
        who = f"what bwd of {self.name!r} gives"

        def call(inner: list[Any]) -> Any:
            assert self.bwd is not None
            cts = _padded(inner[n:], avals)
            residuals = passed.rebuilt(inner[:n])
            found = self.bwd(*split.static, residuals, unflatten(fun.spec, cts))
            if isinstance(found, list):
                found = tuple(found)
            likes = [np.empty(a.shape, a.dtype) for a in split.avals]
            whole = _matched(split.spec, likes, found, who, "the arguments")
            rows = zip(flatten(whole)[0], split.has_tangent, strict=True)
            return [x for x, wanted in rows if wanted]

        pairs = zip(avals, fun.kinds, strict=True)
        cts = [Argument(a, k) for a, k in pairs if dt.is_inexact(a.dtype)]
        arguments = [*passed.arguments, *cts]
        return _trace_wrapped(call, arguments, f"{self.name}_bwd", orders)


class _Residuals:
    """What `fwd` hands to `bwd`: traced leaves, and objects that pass as they are."""

    def __init__(self) -> None:
        self.plan: list[int | Static] = []
        self.arguments: list[Argument] = []
        self.spec: TreeSpec = NONE

    def note(self, tree: Any) -> list[Tracer]:
        """Take a tree apart; return the leaves that are traced."""
        leaves, self.spec = flatten(tree)
        traced: list[Tracer] = []
        for x in leaves:
            if isinstance(x, Tracer):
                self.plan.append(len(traced))
                traced.append(x)
                known = x.shadow if x.is_known else None
                self.arguments.append(Argument(x.aval, x.kind, known))
            else:
                self.plan.append(Static(x))
        return traced

    def rebuilt(self, values: Sequence[Any]) -> Any:
        """Return the tree with other traced leaves."""
        leaves = [p.value if isinstance(p, Static) else values[p] for p in self.plan]
        return unflatten(self.spec, leaves)


# --- what rules return ------------------------------------------------------------


def _check_same(
    who: str,
    spec: TreeSpec,
    avals: Sequence[ShapedArray],
    got: TreeSpec,
    got_avals: Sequence[ShapedArray],
) -> None:
    """Raise unless a rule's result is like the function's."""
    if spec != got or tuple(avals) != tuple(got_avals):
        raise ShapeError(
            f"{who} gives the result {described(got, got_avals)}, but the function "
            f"gives {described(spec, avals)}",
            source=user_line(),
            hint="return the same structure, shapes and dtypes from both",
        )


def _matched(
    spec: TreeSpec, likes: Sequence[Any], tree: Any, who: str, whose: str
) -> Any:
    """Return `tree` with zeros for None, each leaf of the aval of what it belongs to.

    Raises
    ------
    ShapeError, DTypeError
        When the structure, a shape or a dtype differs.
    """
    leaves: list[Any] = []
    want = [ShapedArray(x.shape, dt.canonical(x.dtype)) for x in likes]
    if not _collect(spec, tree, leaves):
        got, spec_got = flatten(tree)
        avals = [_aval_of(x) for x in got]
        raise ShapeError(
            f"{who} is {described(spec_got, avals)}, not like {whose}: "
            f"{described(spec, want)}",
            source=user_line(),
            hint="return a container of the same structure; None stands for zeros",
        )
    out = [
        _like(x, aval, who, whose, path)
        for x, aval, path in zip(leaves, want, paths(spec), strict=True)
    ]
    return unflatten(spec, out)


def _collect(spec: TreeSpec, tree: Any, leaves: list[Any]) -> bool:
    """Append the leaves of `tree`, None for all of a missing part."""
    if tree is None:
        leaves.extend([None] * spec.size)
        return True
    if spec is LEAF or spec.kind is None:
        leaves.append(tree)
        return flatten(tree)[1].kind is None
    own: list[Any] = []
    got = _children(tree, spec)
    if got is None:
        return False
    fits = all(_collect(c, t, own) for c, t in zip(spec.children, got, strict=True))
    leaves.extend(own)
    return fits


def _children(tree: Any, spec: TreeSpec) -> list[Any] | None:
    """Return the parts of a container of the kind and keys of `spec`."""
    if type(tree) is not spec.kind:
        return None
    if isinstance(tree, dict):
        return [tree[k] for k in spec.keys] if {*tree} == {*spec.keys} else None
    if isinstance(tree, tuple | list):
        return list(tree) if len(tree) == len(spec.children) else None
    return [getattr(tree, str(k)) for k in spec.keys]


def _like(x: Any, aval: ShapedArray, who: str, whose: str, path: Any) -> Any:
    """Return one leaf, checked; zeros for None, and where there is no tangent."""
    if x is None or not dt.is_inexact(aval.dtype):
        return _zeros(aval)
    trace = current_trace()
    assert trace is not None
    value = trace.lift(x)
    got = value.aval
    if value.kind is Kind.PYTHON and not aval.shape:
        got = got.with_dtype(aval.dtype)
    if got != aval:
        raise (DTypeError if got.shape == aval.shape else ShapeError)(
            f"{who} is {got} at {whose}{format_path(path)}, which is {aval}",
            source=user_line(),
            hint="return the same shape and dtype, e.g. by .astype(x.dtype)",
        )
    return _as_dtype(trace, value, aval.dtype)


def _as_dtype(trace: Trace, value: Tracer, dtype: np.dtype) -> Tracer:
    atom: Atom = value.convert(dtype)
    if atom.aval == value.aval and not isinstance(atom, Literal):
        return value
    known = np.asarray(value.shadow, dtype) if value.is_known else None
    return trace.result(atom, known)


def _aval_of(x: Any) -> ShapedArray | str:
    if isinstance(x, Tracer):
        return x.aval
    try:
        return argument_like(x).aval
    except DTypeError:
        return type(x).__name__


def described(spec: TreeSpec, avals: Sequence[Any]) -> str:
    """Return a tree of avals as Python would write it."""
    return repr(unflatten(spec, list(avals)))
