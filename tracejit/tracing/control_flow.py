"""Control flow that stays control flow: `cond`, `switch`, `while_loop`, `scan`, ...

Names, order of arguments and meaning are JAX's. Outside of `jit` and of transformations
these are plain Python: the chosen function is called, loops are loops over NumPy
values. Inside of a trace each function is traced once, on unknown values, and becomes
the body of one equation; what it uses from around becomes an operand of it.
"""

import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ..errors import ShapeError, TraceError
from ..ir import dtypes as dt
from ..ir.aval import ShapedArray
from ..ir.builder import Builder
from ..ir.graph import Atom, Graph, Var
from ..ir.ops.control import cond_p
from ..ir.ops.elementwise import ge_p, ne_p
from ..ir.ops.loops import ScanParams, WhileParams, scan_p, stacked, while_p
from ..ir.primitive import Params, Primitive
from .bodies import (
    Body,
    CarrySpec,
    check_predicate,
    joined_branches,
    joined_kinds,
    name_of,
    ordered_like,
    trace_body,
    trace_turn,
    unknown,
    with_dtypes,
)
from .inner import Argument, run_graph
from .source import user_line
from .storage import Kind, own
from .trace import Trace, current_trace
from .tracer import Tracer
from .tree import Path, TreeSpec, flatten, format_path, paths, unflatten

Function = Callable[..., Any]
COUNTED_BYTES = 1 << 20  # counters of a fori_loop that are read from memory


# --- cond and switch --------------------------------------------------------------


def cond(pred: Any, true_fn: Function, false_fn: Function, *operands: Any) -> Any:
    """Call `true_fn` or `false_fn` on `operands`.

    Parameters
    ----------
    pred : bool or scalar
        Known at run time; numbers choose `true_fn` unless they are 0.
    true_fn, false_fn : callable
        Give results of the same containers, shapes and dtypes.
    *operands
        Arrays, numbers and containers of them.

    Raises
    ------
    TraceError
        When the results differ, showing both.

    Examples
    --------
    >>> cond(True, lambda x: x + 1, lambda x: x - 1, 3)
    4
    """
    trace = current_trace()
    if trace is None:
        return true_fn(*operands) if pred else false_fn(*operands)
    test = _predicate(trace, pred)
    return _choose("cond", [test], [false_fn, true_fn], operands)


def switch(index: Any, branches: Sequence[Function], *operands: Any) -> Any:
    """Call ``branches[index]`` on `operands`; an index out of range is clamped.

    Parameters
    ----------
    index : int or integer scalar
        Known at run time.
    branches : sequence of callable
        Give results of the same containers, shapes and dtypes.
    *operands
        Arrays, numbers and containers of them.

    Examples
    --------
    >>> switch(7, [abs, lambda x: -x], -3)
    3
    """
    if not branches:
        raise TraceError("switch has no branches", source=user_line())
    trace = current_trace()
    if trace is None:
        return branches[min(max(int(index), 0), len(branches) - 1)](*operands)
    x = trace.lift(index)
    if x.shape or x.dtype.kind not in "iu":
        raise TraceError(
            f"the index of switch is {x.aval}, not one integer", source=user_line()
        )
    tests = [_compared(x, ge_p, i) for i in range(1, len(branches))]
    return _choose("switch", tests, list(branches), operands)


def _predicate(trace: Trace, pred: Any) -> Tracer:
    """Return a predicate as one traced boolean; numbers hold unless they are 0."""
    x = trace.lift(pred)
    if not x.shape and x.dtype != dt.BOOL:
        return _compared(x, ne_p, 0)
    check_predicate(x.aval, "the predicate of cond")
    return x


def _compared(x: Tracer, p: Primitive, number: int) -> Tracer:
    """Compare a scalar with a number."""
    b = Builder(p.name)
    (out,) = run_graph(b.build([b.emit(p, b.input(x.aval), number)]), [x])
    return out  # type: ignore[no-any-return]


def _choose(
    what: str, tests: Sequence[Tracer], branches: Sequence[Function], operands: Any
) -> Any:
    """Run the last branch whose test holds; the first branch has none."""
    leaves, spec = flatten(operands)
    arguments = [unknown(x) for x in leaves]
    bodies: list[Body] = []
    for fn in branches:
        expected = bodies[0].inner.spec if bodies else None
        call = _called(fn, spec, expected)
        bodies.append(trace_body(call, arguments, name_of(fn)))
    graphs, captured = joined_branches(what, bodies)
    b = _one_equation(what)
    chosen_by = [b.input(t.aval) for t in tests]
    ins = [b.input(v.aval) for v in graphs[0].invars]
    graph = b.build(_emit_choice(b, chosen_by, graphs, ins))
    outs = run_graph(graph, [*tests, *leaves, *captured])
    return bodies[0].inner.rebuild(_kinded(outs, joined_kinds(bodies)))


def _called(
    fn: Function, spec: TreeSpec, expected: TreeSpec | None
) -> Callable[[list[Any]], Any]:
    def call(leaves: list[Any]) -> Any:
        result = fn(*unflatten(spec, leaves))
        return result if expected is None else ordered_like(expected, result)

    return call


def _emit_choice(
    b: Builder, tests: Sequence[Atom], graphs: Sequence[Graph], ins: Sequence[Atom]
) -> Sequence[Atom]:
    """Choose between two, of which the other chooses between the rest."""
    if not tests:
        return b.inline(graphs[0], ins)
    *others, last = tests
    rest = Builder(graphs[0].name)
    rest.source = b.source
    inner = [rest.input(x.aval) for x in (*others, *ins)]
    n = len(others)
    otherwise = rest.build(_emit_choice(rest, inner[:n], graphs[:-1], inner[n:]))
    own = graphs[-1]
    unused = [Var(x.aval) for x in others]
    chosen = Graph(own.name, [*unused, *own.invars], own.outvars, own.eqns)
    params: Params = {"on_true": chosen, "on_false": otherwise}
    return b.emit_all(cond_p, [last, *others, *ins], params)


def _one_equation(name: str) -> Builder:
    """Return a builder whose equations are the user's line."""
    b = Builder(name)
    line = user_line()
    b.source = (line,) if line else ()
    return b


def _kinded(values: Sequence[Any], kinds: Sequence[Kind]) -> list[Any]:
    rows = zip(values, kinds, strict=True)
    return [x if k is Kind.ARRAY else x.as_scalar(k) for x, k in rows]


# --- while_loop and fori_loop -----------------------------------------------------


def while_loop(cond_fun: Function, body_fun: Function, init_val: Any) -> Any:
    """Call ``val = body_fun(val)`` as long as ``cond_fun(val)`` holds.

    Parameters
    ----------
    cond_fun : callable
        Gives one boolean.
    body_fun : callable
        Gives values of the containers, shapes and dtypes that it takes.
    init_val : array, number or container of them

    Raises
    ------
    TraceError, ShapeError, DTypeError
        When a turn changes the structure or the type of a value.
    UnsupportedError
        Under `grad`: how many turns there are is not known. Use `scan`, or `fori_loop`
        with known bounds. Forward mode works.

    Examples
    --------
    >>> while_loop(lambda x: x < 100, lambda x: 2 * x, 3)
    192
    """
    if current_trace() is None:
        while cond_fun(init_val):
            init_val = body_fun(init_val)
        return init_val
    leaves, spec = flatten(init_val)
    carry = CarrySpec("while_loop", spec, tuple(unknown(x) for x in leaves))

    def turn(values: list[Any]) -> Any:
        return ordered_like(spec, body_fun(unflatten(spec, values)))

    body, arguments = trace_turn(turn, carry, (), name_of(body_fun), lambda s: s)
    test = trace_body(
        lambda values: cond_fun(unflatten(spec, values)), arguments, name_of(cond_fun)
    )
    if test.inner.spec.kind is not None:
        raise TraceError(
            f"the condition of while_loop gives {test.results}, not one boolean",
            source=user_line(),
        )
    check_predicate(test.graph.out_avals[0], "the condition of while_loop")
    avals = [a.aval for a in arguments]
    p = WhileParams(
        test.captures_first(test.graph.name),
        with_dtypes(body.captures_first(body.graph.name), avals),
        len(test.captured),
        len(body.captured),
    )
    operands = [*test.captured, *body.captured, *leaves]
    ins = [*p.test.in_avals[: p.test_consts], *p.body.in_avals]
    outs = _emitted(while_p, "while_loop", p.params, ins, operands)
    return unflatten(spec, _kinded(outs, [a.kind for a in arguments]))


def _emitted(
    p: Primitive,
    name: str,
    params: Params,
    avals: Sequence[ShapedArray],
    operands: Sequence[Any],
) -> list[Any]:
    """Run one equation where the caller is."""
    b = _one_equation(name)
    graph = b.build(b.emit_all(p, [b.input(a) for a in avals], params))
    return run_graph(graph, operands)


def fori_loop(lower: Any, upper: Any, body_fun: Function, init_val: Any) -> Any:
    """Call ``val = body_fun(i, val)`` for each i from `lower` below `upper`.

    Parameters
    ----------
    lower, upper : int or integer scalar
        Bounds that are known when the function is traced make a loop that can be
        differentiated in both modes; with others it is a `while_loop`.
    body_fun : callable
        Gives values of the containers, shapes and dtypes that it takes.
    init_val : array, number or container of them

    Examples
    --------
    >>> fori_loop(0, 5, lambda i, total: total + i, 0)
    10
    """
    if current_trace() is None:
        for i in range(operator.index(lower), operator.index(upper)):
            init_val = body_fun(i, init_val)
        return init_val
    first, stop = _known_int(lower), _known_int(upper)
    if first is None or stop is None:
        return _counted_while(lower, upper, body_fun, init_val)
    length = max(stop - first, 0)
    if length * 8 > COUNTED_BYTES:

        def counted(both: Any, _: None) -> Any:
            i, value = both
            return (i + 1, body_fun(i, value)), None

        return scan(counted, (first, init_val), None, length)[0][1]

    def turn(value: Any, i: Any) -> Any:
        return body_fun(i.as_scalar(Kind.PYTHON), value), None

    return scan(turn, init_val, own(np.arange(first, stop)), length)[0]


def _known_int(x: Any) -> int | None:
    """Return a bound that is known whatever the arguments are, or None."""
    if isinstance(x, Tracer):
        return int(x.shadow) if x.is_known else None
    return operator.index(x)


def _counted_while(lower: Any, upper: Any, body_fun: Function, init_val: Any) -> Any:
    def step(both: Any) -> Any:
        i, value = both
        return i + 1, body_fun(i, value)

    return while_loop(lambda both: both[0] < upper, step, (lower, init_val))[1]


# --- scan and map -----------------------------------------------------------------


def scan(
    f: Function,
    init: Any,
    xs: Any = None,
    length: int | None = None,
    reverse: bool = False,
    unroll: int = 1,
) -> tuple[Any, Any]:
    """Call ``carry, y = f(carry, x)`` for each slice of `xs` along axis 0.

    Parameters
    ----------
    f : callable
        Gives a pair: a carry of the containers, shapes and dtypes that it takes, and
        anything of arrays and numbers.
    init : array, number or container of them
        The first carry.
    xs : array or container of arrays, optional
        All of one length along axis 0.
    length : int, optional
        Needed when `xs` has no leaves.
    reverse : bool
        Go from the last slice to the first; ys stay in the places of their xs.
    unroll : int
        Turns that the compiled loop does at once; changes no result.

    Returns
    -------
    carry, ys
        The last carry, and the ys stacked along axis 0.

    Raises
    ------
    TraceError, ShapeError, DTypeError
        When lengths differ, or a turn changes the structure or the type of the carry.

    Examples
    --------
    >>> scan(lambda total, x: (total + x, total), 0, np.array([1, 2, 3]))
    (np.int64(6), array([0, 1, 3]))
    """
    leaves, xs_spec = flatten(xs)
    length = _length(leaves, xs_spec, length)
    if unroll < 1:
        raise TraceError(f"scan with unroll={unroll}", source=user_line())
    if current_trace() is None and length:
        return _python_scan(f, init, (leaves, xs_spec), length, reverse)
    inits, spec = flatten(init)
    body, arguments = _scan_turn(f, (inits, spec), (leaves, xs_spec))
    n, ys_spec = len(inits), body.inner.spec.children[1]
    avals = [a.aval for a in arguments]
    graph = with_dtypes(body.captures_first(body.graph.name), avals)
    if current_trace() is None:
        return init, unflatten(ys_spec, _no_slices(graph, n))
    p = ScanParams(graph, length, reverse, len(body.captured), n, unroll)
    m = p.consts + n
    ins = [*graph.in_avals[:m], *(stacked(a, length) for a in graph.in_avals[m:])]
    operands = [*body.captured, *inits, *leaves]
    outs = _emitted(scan_p, "scan", p.params, ins, operands)
    carries = _kinded(outs[:n], [a.kind for a in arguments])
    return unflatten(spec, carries), unflatten(ys_spec, outs[n:])


def _no_slices(body: Graph, carries: int) -> list[np.ndarray]:
    return [np.empty((0, *a.shape), a.dtype) for a in body.out_avals[carries:]]


def _scan_turn(
    f: Function, init: tuple[list[Any], TreeSpec], xs: tuple[list[Any], TreeSpec]
) -> tuple[Body, tuple[Argument, ...]]:
    """Trace a turn: the leaves of the carry, then a slice of each leaf of the xs."""
    (inits, spec), (leaves, xs_spec) = init, xs
    carry = CarrySpec("scan", spec, tuple(unknown(x) for x in inits))
    slices = [_slice_argument(x) for x in leaves]
    n = len(inits)

    def turn(values: list[Any]) -> Any:
        pair = f(unflatten(spec, values[:n]), unflatten(xs_spec, values[n:]))
        _check_pair(pair)
        return ordered_like(spec, pair[0]), pair[1]

    return trace_turn(turn, carry, slices, name_of(f), lambda s: s.children[0])


def _check_pair(pair: Any) -> None:
    if type(pair) is not tuple or len(pair) != 2:
        got = pair.__class__.__name__
        if isinstance(pair, tuple):
            got = f"a tuple of {len(pair)}"
        raise TraceError(
            f"the function given to scan returned {got}, not a pair (carry, y)",
            source=user_line(),
            hint="return carry, None if there is nothing to stack",
        )


def _length(leaves: Sequence[Any], spec: TreeSpec, length: int | None) -> int:
    """Return the one length of `leaves`, which is `length` if that is given."""
    for x, path in zip(leaves, paths(spec), strict=True):
        if not np.ndim(x):
            raise ShapeError(
                f"scan takes slices along axis 0; xs{format_path(path)} is a scalar",
                source=user_line(),
            )
    found = {format_path(p, "xs"): np.shape(x)[0] for x, p in _rows(leaves, spec)}
    if length is not None:
        found["length"] = operator.index(length)
    if not found:
        raise ShapeError(
            "scan without xs needs a length", source=user_line(), hint="length=10"
        )
    if len(set(found.values())) > 1:
        rows = ", ".join(f"{name}: {n}" for name, n in found.items())
        raise ShapeError(f"scan takes xs of one length, not {rows}", source=user_line())
    return next(iter(found.values()))


def _rows(leaves: Sequence[Any], spec: TreeSpec) -> Iterator[tuple[Any, Path]]:
    return zip(leaves, paths(spec), strict=True)


def _slice_argument(x: Any) -> Argument:
    aval = unknown(x).aval
    aval = aval.with_shape(aval.shape[1:])
    return Argument(aval, Kind.ARRAY if aval.shape else Kind.SCALAR)


def _python_scan(
    f: Function, carry: Any, xs: tuple[list[Any], TreeSpec], length: int, reverse: bool
) -> tuple[Any, Any]:
    leaves, spec = xs
    rows: list[list[Any]] = []
    found: TreeSpec | None = None
    for i in reversed(range(length)) if reverse else range(length):
        pair = f(carry, unflatten(spec, [x[i] for x in leaves]))
        _check_pair(pair)
        carry, y = pair
        values, found = flatten(y if found is None else ordered_like(found, y))
        rows.append(values)
    if reverse:
        rows.reverse()
    assert found is not None
    ys = [np.stack([np.asarray(v) for v in row]) for row in zip(*rows, strict=True)]
    return carry, unflatten(found, ys)


def map(f: Function, xs: Any) -> Any:
    """Call ``f`` on each slice of `xs` along axis 0 and stack the results.

    Parameters
    ----------
    f : callable
    xs : array or container of arrays
        All of one length along axis 0.

    Examples
    --------
    >>> map(lambda x: x * x, np.array([1, 2, 3]))
    array([1, 4, 9])
    """
    return scan(lambda _, x: (None, f(x)), None, xs)[1]


# --- associative_scan -------------------------------------------------------------


def associative_scan(
    fn: Function, elems: Any, reverse: bool = False, axis: int = 0
) -> Any:
    """Return all prefixes of `elems` along an axis, combined by an associative `fn`.

    Parameters
    ----------
    fn : callable
        ``fn(a, b)`` of containers like `elems`, elementwise along the axis; associative
        but perhaps not commutative.
    elems : array or container of arrays
        All of one extent along the axis.
    reverse : bool
        Combine suffixes.
    axis : int

    Notes
    -----
    By halving (Blelloch, "Prefix sums and their applications", 1990): about twice as
    many combinations as one after the other, in 2 log2(n) steps over arrays.

    Examples
    --------
    >>> associative_scan(np.add, np.array([1, 2, 3]))
    array([1, 3, 6])
    """
    leaves, spec = flatten(elems)
    arrays = [x if isinstance(x, Tracer) else np.asarray(x) for x in leaves]
    extents = {format_path(p, "elems"): x.shape for x, p in _rows(arrays, spec)}
    if len({s[axis] if s else None for s in extents.values()}) > 1:
        rows = ", ".join(f"{name}: {shape}" for name, shape in extents.items())
        raise ShapeError(
            f"associative_scan takes one extent along axis {axis}, not those of {rows}",
            source=user_line(),
        )

    def combine(a: list[Any], b: list[Any]) -> list[Any]:
        found, mine = flatten(
            ordered_like(spec, fn(unflatten(spec, a), unflatten(spec, b)))
        )
        if mine != spec:
            raise TraceError(
                "the function given to associative_scan returned other containers "
                "than it took",
                source=user_line(),
            )
        return found

    axis = axis % arrays[0].ndim if arrays else 0
    prefixes = _Prefixes(combine, axis)
    if reverse:
        arrays = [np.flip(x, axis) for x in arrays]
    found = prefixes.of(arrays)
    return unflatten(spec, [np.flip(x, axis) for x in found] if reverse else found)


class _Prefixes:
    """Prefixes by halving: of the pairs, then of what lies between."""

    def __init__(
        self, combine: Callable[[list[Any], list[Any]], list[Any]], axis: int
    ) -> None:
        self.combine, self.axis = combine, axis

    def part(self, xs: list[Any], start: int, stop: int | None, step: int) -> list[Any]:
        index = (*[slice(None)] * self.axis, slice(start, stop, step))
        return [x[index] for x in xs]

    def of(self, xs: list[Any]) -> list[Any]:
        n = xs[0].shape[self.axis] if xs else 0
        if n < 2:
            return xs
        pairs = self.combine(self.part(xs, 0, n - 1, 2), self.part(xs, 1, n, 2))
        odd = self.of(pairs)
        even = self.part(xs, 0, 1, 1)
        if n > 2:
            before = odd if n % 2 else self.part(odd, 0, -1, 1)
            between = self.combine(before, self.part(xs, 2, n, 2))
            even = [self.joined(pair) for pair in zip(even, between, strict=True)]
        return [self.woven(a, b) for a, b in zip(even, odd, strict=True)]

    def joined(self, parts: Sequence[Any]) -> Any:
        return np.concatenate(parts, axis=self.axis)

    def woven(self, even: Any, odd: Any) -> Any:
        """Return even, odd, even, ... along the axis."""
        axis, n = self.axis, odd.shape[self.axis]
        (start,) = self.part([even], 0, n, 1)
        shape = (*odd.shape[:axis], 2 * n, *odd.shape[axis + 1 :])
        pairs = np.stack([start, odd], axis=axis + 1).reshape(shape)
        if even.shape[axis] == n:
            return pairs
        return self.joined([pairs, *self.part([even], n, None, 1)])
