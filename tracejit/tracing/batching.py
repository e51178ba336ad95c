"""`custom_batching`: functions that bring their own rule for a batch of examples.

Where no `vmap` is around the function simply runs. Where one is, the function is traced
at the call and becomes one equation that holds the graph and the rule; what it closes
over becomes an operand. The rule is traced where the equation is batched: only then is
it known which arguments have the batch. `batch=` of `register_primitive` is such a rule
as well (`trace_rule`).
"""

import functools
import types
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import LeakedTracerError, ShapeError, TraceError
from ..ir.aval import ShapedArray
from ..ir.graph import Graph
from ..ir.ops.custom import custom_batching_p
from ..ir.primitive import HostRule
from ..records import dataclass
from .bind import bind
from .custom import described, positional
from .inner import Argument, InnerTrace, argument_like, trace_inner, with_kind
from .source import user_line
from .storage import Kind
from .trace import Role, Trace, current_trace
from .tracer import Tracer
from .tree import TreeSpec, flatten, parts_of, unflatten

Function = Callable[..., Any]
Mask = tuple[bool, ...]


class custom_batching:
    """A function with its own rule for a batch of examples, used by `vmap`.

    Parameters
    ----------
    fun : callable
        NumPy code for one example, over nested containers of arrays and numbers.

    Notes
    -----
    Under `grad` the function itself is differentiated, unless a `vmap` inside of it has
    batched it: then it is what the rule computes. In JAX: `custom_vmap`.

    Examples
    --------
    >>> import numpy as np, tracejit as tj
    >>> @tj.custom_batching
    ... def middle(x):
    ...     return np.median(x)
    >>> @middle.def_vmap
    ... def middle_of_rows(axis_size, in_batched, x):
    ...     return np.sort(x, axis=1)[:, x.shape[1] // 2], True
    >>> tj.vmap(middle)(np.array([[3.0, 1.0, 2.0], [6.0, 4.0, 5.0]]))
    array([2., 5.])
    """

    __name__: str

    def __init__(self, fun: Function) -> None:
        functools.update_wrapper(self, fun)
        self.fun = fun
        self.rule: Function | None = None
        self.name = getattr(fun, "__name__", "f")

    def def_vmap(self, rule: Function) -> Function:
        """Declare the rule: ``rule(axis_size, in_batched, *args)``.

        It gives ``(result, out_batched)``. Arguments and results that are batched have
        the examples along axis 0. `in_batched` has a bool in place of each leaf of the
        arguments; in `out_batched` a bool stands for a leaf or a whole container. The
        rule may call the function: its examples are then those of a `vmap` around.
        Returns `rule`.
        """
        self.rule = rule
        return rule

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return self if instance is None else types.MethodType(self, instance)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function; its own rule is used where it is batched."""
        if self.rule is None:
            raise TraceError(
                f"the custom_batching function {self.name!r} has no rule yet",
                source=user_line(),
                hint=f"declare it with @{self.name}.def_vmap",
            )
        args = positional(self.fun, "custom_batching", args, kwargs)
        trace = current_trace()
        if trace is None or not trace.batches:
            return self.fun(*args)
        return self._traced(trace, self.rule, _Arguments(args))

    def _traced(self, trace: Trace, rule: Function, given: "_Arguments") -> Any:
        arguments = [argument_like(x) for x in given.operands]
        one = trace_inner(
            lambda xs: self.fun(*given.rebuilt(xs)),
            arguments,
            self.name,
            Role.WRAPPED,
            lift_results=True,
        )
        who, line = f"the vmap rule of {self.name!r}", user_line()

        def batched(size: int, mask: Mask) -> tuple[Graph, Mask]:
            flags = given.rebuilt_flags(mask)
            avals = [x.aval for x in arguments]
            wanted = Wanted(who, line, one.spec, one.graph.out_avals)
            call = lambda xs: rule(size, flags, *given.rebuilt(xs))  # noqa: E731
            return trace_rule(call, with_batch(avals, mask, size), size, wanted)

        results = bind(
            trace,
            custom_batching_p,
            [*given.operands, *one.captured],
            graph=one.graph,
            rule=HostRule(self.name, batched),
            args=len(arguments),
        )
        return _finish(one, results)


def _finish(inner: InnerTrace, outs: Sequence[Any]) -> Any:
    pairs = zip(outs, inner.kinds, strict=True)
    return inner.rebuild([with_kind(x, k) for x, k in pairs])


class _Arguments:
    """One call's arguments: arrays are operands, Python values stay as they are."""

    def __init__(self, args: tuple[Any, ...]) -> None:
        self.leaves, self.spec = flatten(args)
        is_array = (Tracer, np.ndarray, np.generic)
        self.places = [i for i, x in enumerate(self.leaves) if isinstance(x, is_array)]

    @property
    def operands(self) -> list[Any]:
        """The leaves that are arrays."""
        return [self.leaves[i] for i in self.places]

    def rebuilt(self, values: Sequence[Any]) -> tuple[Any, ...]:
        """Return the arguments with other arrays."""
        leaves = list(self.leaves)
        for i, x in zip(self.places, values, strict=True):
            leaves[i] = x
        args: tuple[Any, ...] = unflatten(self.spec, leaves)
        return args

    def rebuilt_flags(self, mask: Mask) -> list[Any]:
        """Return containers like the arguments, that say which leaves are batched."""
        flags = dict(zip(self.places, mask, strict=True))
        every = [flags.get(i, False) for i in range(len(self.leaves))]
        return list(unflatten(self.spec, every))


# --- rules ------------------------------------------------------------------------


@dataclass(frozen=True)
class Wanted:
    """What a rule is to give.

    Parameters
    ----------
    who : str
        The rule, for errors.
    line : str, optional
        Where the function was called.
    spec : TreeSpec
        Of the result.
    avals : tuple of ShapedArray
        Of the leaves for one example.
    """

    who: str
    line: str | None
    spec: TreeSpec
    avals: Sequence[ShapedArray]


def with_batch(
    avals: Sequence[ShapedArray], mask: Sequence[bool], size: int
) -> list[ShapedArray]:
    """Return avals with the batch as axis 0 where there is one."""
    pairs = zip(avals, mask, strict=True)
    return [a.with_shape((size, *a.shape)) if m else a for a, m in pairs]


def trace_rule(
    call: Function, avals: Sequence[ShapedArray], size: int, wanted: Wanted
) -> tuple[Graph, Mask]:
    """Trace the rule of a batch.

    Parameters
    ----------
    call : callable
        Takes the list of operands, gives ``(result, out_batched)``.
    avals : sequence of ShapedArray
        Of the operands.
    size : int
        The number of examples.
    wanted : Wanted

    Returns
    -------
    Graph
        From operands to the leaves of the result.
    tuple of bool
        Which of them have the batch as axis 0.

    Raises
    ------
    ShapeError
        When the result is not like that of one example.
    TraceError
        When the rule gives no pair, or uses a traced value other than its arguments.
    """
    masks: list[list[bool]] = []

    def result(xs: list[Any]) -> Any:
        try:
            found = call(xs)
        except LeakedTracerError as error:  # of the trace that was batched
            raise _closure_error(wanted, str(error)) from error
        if not isinstance(found, tuple | list) or len(found) != 2:
            raise TraceError(
                f"{wanted.who} returned {type(found).__name__}, not a pair "
                "(result, out_batched)",
                source=wanted.line,
            )
        masks.append(_flags(found[1], flatten(found[0])[1], wanted))
        return found[0]

    arguments = [Argument(a, Kind.ARRAY if a.shape else Kind.SCALAR) for a in avals]
    inner = trace_inner(result, arguments, "rule", Role.WRAPPED, lift_results=True)
    (mask,) = masks
    _check_closures(inner, wanted)
    _check_like(inner, mask, size, wanted)
    return inner.graph, tuple(mask)


def _flags(flags: Any, spec: TreeSpec, wanted: Wanted) -> list[bool]:
    """Return a bool for each leaf of `spec`; one stands for all of a container."""
    if isinstance(flags, bool | np.bool_):
        return [bool(flags)] * spec.size
    parts = parts_of(flags)
    if parts is None or type(flags) is not spec.kind or {*parts[0]} != {*spec.keys}:
        raise TraceError(
            f"{wanted.who} says {flags!r} of what is batched, which has not the form "
            f"of the result that it gives: {unflatten(spec, [...] * spec.size)!r}",
            source=wanted.line,
            hint="give a bool for each leaf, or one for all",
        )
    entries = dict(zip(*parts, strict=True))
    return [
        flag
        for key, child in zip(spec.keys, spec.children, strict=True)
        for flag in _flags(entries[key], child, wanted)
    ]


def _check_closures(inner: InnerTrace, wanted: Wanted) -> None:
    if inner.captured:
        found = ", ".join(str(x.aval) for x in inner.captured)
        raise _closure_error(wanted, found)


def _closure_error(wanted: Wanted, what: str) -> TraceError:
    return TraceError(
        f"{wanted.who} uses values that are no arguments of it: {what}",
        source=wanted.line,
        hint="hand them to the function as arguments",
    )


def _check_like(
    inner: InnerTrace, mask: Sequence[bool], size: int, wanted: Wanted
) -> None:
    got = inner.graph.out_avals
    if inner.spec == wanted.spec:
        if list(got) == with_batch(wanted.avals, mask, size):
            return
        expected = with_batch(wanted.avals, mask, size)
        hint = f"it is to give {described(wanted.spec, expected)}"
    else:
        hint = "return the same structure from both"
    raise ShapeError(
        f"{wanted.who} gives {described(inner.spec, got)} for {size} examples "
        f"(batched: {described(inner.spec, mask)}), but the function gives "
        f"{described(wanted.spec, wanted.avals)} for one",
        source=wanted.line,
        hint=hint,
    )
