"""`vmap`: trace a function at one example, batch the graph, run it on all of them.

Inside `jit` the batched graph is inlined into the trace around it; outside it runs in
NumPy. Arguments without an axis, and what the function closes over, are the same for
all examples.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import ShapeError, TraceError
from ..ir import dtypes as dt
from ..ir.aval import ShapedArray
from ..records import dataclass
from ..transforms.vmap import batch_graph
from .inner import (
    Argument,
    InnerTrace,
    argument_like,
    run_graph,
    trace_inner,
    with_kind,
)
from .placed import compiled_where_placed
from .signature import argument_names, leaf_name, signature_of
from .source import user_line
from .storage import Kind
from .trace import Role, current_trace
from .tracer import Tracer
from .tree import TreeSpec, flatten, format_path, parts_of, paths, unflatten

Axis = int | None
Axes = Any  # an int, None, or a container of them: a prefix of a tree


def vmap(
    fn: Callable[..., Any],
    in_axes: Axes = 0,
    out_axes: Axes = 0,
    axis_size: int | None = None,
) -> Callable[..., Any]:
    """Return a function that applies `fn` to each example of a batch.

    Parameters
    ----------
    fn : callable
        Written for one example: it sees arrays without the mapped axis.
    in_axes : int, None or container
        The axis of the examples in each positional argument; negative ones count from
        the end, None means that all examples share the argument. A tuple has an entry
        per argument; where an argument is a container, its entry is one for all of it
        or a container alike. Keyword arguments are mapped along axis 0. Python values
        (numbers, strings, functions) have no axes and are passed on as they are.
    out_axes : int, None or container
        Where the results have the axis, in the same form. None is for results that are
        the same for all examples.
    axis_size : int, optional
        The number of examples; needed only when no argument is mapped.

    Returns
    -------
    callable
        Takes the arguments of `fn`, with the axis of the examples.

    Raises
    ------
    ShapeError
        When axes are out of range, or the arguments have different numbers of examples.
    TraceError
        When `in_axes` or `out_axes` do not have the form of the arguments or results,
        or nothing is mapped.
    ConcretizationError
        When Python asks for a mapped value, as ``if x > 0`` does.

    Examples
    --------
    >>> import numpy as np
    >>> vmap(np.dot)(np.eye(2), np.array([[3.0, 4.0], [5.0, 6.0]]))
    array([3., 6.])
    >>> vmap(np.dot, in_axes=(None, 1))(np.eye(2), np.array([[3.0, 4.0], [5.0, 6.0]]))
    array([[3., 5.],
           [4., 6.]])
    """
    name = getattr(fn, "__name__", "f")
    _check_entries(in_axes, "in_axes")
    _check_entries(out_axes, "out_axes")

    @compiled_where_placed
    def mapped(*args: Any, **kwargs: Any) -> Any:
        leaves = _leaves(fn, args, kwargs, in_axes)
        size = _size(leaves, axis_size)
        _, spec = flatten((args, kwargs))
        traced = [i for i, x in enumerate(leaves) if x.is_traced]

        def call(tracers: list[Any]) -> Any:
            values = [x.value for x in leaves]
            for i, tracer in zip(traced, tracers, strict=True):
                values[i] = tracer
            inner_args, inner_kwargs = unflatten(spec, values)
            return fn(*inner_args, **inner_kwargs)

        arguments = [leaves[i].argument for i in traced]
        inner = trace_inner(call, arguments, name, Role.MAPPED, lift_results=True)
        return _run(inner, [leaves[i] for i in traced], out_axes, size)

    mapped.__name__ = f"vmap_{name}"
    mapped.__doc__ = f"{name} of each example of a batch."
    mapped.__wrapped__ = fn  # type: ignore[attr-defined]
    return mapped


@dataclass(frozen=True)
class MappedLeaf:
    """A leaf of the arguments.

    Parameters
    ----------
    name : str
        How the user would write it: ``params['w']``.
    value : object
    axis : int, optional
        The axis of the examples, counted from the front; None when it is not mapped.
    """

    name: str
    value: Any
    axis: Axis

    @property
    def size(self) -> int:
        """The number of examples."""
        assert self.axis is not None
        return int(self.value.shape[self.axis])

    @property
    def is_traced(self) -> bool:
        """Whether it is an input of the graph; shared scalars and tracers need not."""
        if self.axis is not None:
            return True
        return isinstance(self.value, np.ndarray) and type(self.value) is not Tracer

    @property
    def argument(self) -> Argument:
        """One example of it; what is shared keeps its value."""
        if self.axis is None:
            return argument_like(self.value)
        shape = tuple(n for d, n in enumerate(self.value.shape) if d != self.axis)
        aval = ShapedArray(shape, dt.canonical(self.value.dtype))
        origin = self.value if isinstance(self.value, Tracer) else None
        return Argument(aval, Kind.ARRAY if shape else Kind.SCALAR, origin=origin)

    def in_front(self) -> Any:
        """Return it with the examples along axis 0, or as it is when it is shared."""
        return np.moveaxis(self.value, self.axis, 0) if self.axis else self.value

    def __str__(self) -> str:
        aval = ShapedArray(self.value.shape, dt.canonical(self.value.dtype))
        return f"{self.name} of {aval} has {self.size} along axis {self.axis}"


# --- arguments --------------------------------------------------------------------


def _leaves(
    fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], in_axes: Axes
) -> list[MappedLeaf]:
    """Return the leaves of positional, then of keyword arguments, with their axes."""
    if isinstance(in_axes, list):
        in_axes = tuple(in_axes)
    values, spec = flatten(args)
    axes = expand_axes(in_axes, spec, "in_axes", "the arguments")
    parameters = argument_names(signature_of(fn), len(args))
    names = [leaf_name(parameters, path) for path in paths(spec)]
    more, spec = flatten(kwargs)
    values += more
    axes += [0] * len(more)
    names += [format_path(path[1:], str(path[0])) for path in paths(spec)]
    rows = zip(names, values, axes, strict=True)
    return [_leaf(name, value, axis) for name, value, axis in rows]


def _leaf(name: str, value: Any, axis: Axis) -> MappedLeaf:
    """Check the axis of one leaf; Python values have none."""
    trace = current_trace()
    if trace is not None and isinstance(value, np.ndarray):
        value = trace.lift(value)  # by reference, also where a view of it is mapped
    if axis is None or not _has_shape(value):
        return MappedLeaf(name, value, None)
    rank = len(value.shape)
    if not -rank <= axis < rank:
        raise ShapeError(
            f"vmap is to map {name} along axis {axis}, but it has {rank} "
            f"{'axis' if rank == 1 else 'axes'}: its shape is {tuple(value.shape)}",
            source=user_line(),
            hint=f"give an axis that it has in in_axes, or None to share {name}",
        )
    return MappedLeaf(name, value, axis % rank)


def _has_shape(x: object) -> bool:
    if isinstance(x, Tracer):
        return x.kind is not Kind.PYTHON
    return isinstance(x, np.ndarray | np.generic)


def _size(leaves: Sequence[MappedLeaf], axis_size: int | None) -> int:
    """Return the number of examples, the same in all mapped leaves."""
    mapped = [x for x in leaves if x.axis is not None]
    sizes = {x.size for x in mapped}
    if axis_size is not None:
        sizes.add(axis_size)
    if not sizes:
        raise TraceError(
            "vmap has no mapped argument, so that the number of examples is not known",
            source=user_line(),
            hint="give an axis in in_axes, or the number in axis_size",
        )
    if len(sizes) > 1:
        rows = [str(x) for x in mapped]
        if axis_size is not None:
            rows.append(f"axis_size is {axis_size}")
        raise ShapeError(
            "vmap is given different numbers of examples: " + "; ".join(rows),
            source=user_line(),
            hint="map axes of one extent, or share an argument with None in in_axes",
        )
    return sizes.pop()


# --- results ----------------------------------------------------------------------


def _run(
    inner: InnerTrace, leaves: Sequence[MappedLeaf], out_axes: Axes, size: int
) -> Any:
    """Batch the graph, run it, and put the axis of each result where it is wanted."""
    axes = expand_axes(out_axes, inner.spec, "out_axes", "the result")
    mask = [x.axis is not None for x in leaves] + [False] * len(inner.captured)
    batched = batch_graph(inner.graph, mask, size)
    names = [format_path(p, "the result") for p in paths(inner.spec)]
    for name, axis, has, aval in zip(
        names, axes, batched.outs, inner.graph.out_avals, strict=True
    ):
        _check_out_axis(name, axis, has, aval)
    operands = [x.in_front() for x in leaves]
    values = run_graph(batched.graph, [*operands, *inner.captured])
    rows = zip(values, axes, batched.outs, inner.kinds, strict=True)
    return inner.rebuild(
        [
            with_kind(x, kind) if axis is None else _placed(x, axis, has, size)
            for x, axis, has, kind in rows
        ]
    )


def _check_out_axis(name: str, axis: Axis, batched: bool, aval: ShapedArray) -> None:
    rank = aval.ndim + 1
    if axis is None and batched:
        raise TraceError(
            f"{name} depends on the mapped arguments, but its entry in out_axes is "
            "None, which is for what is the same for all examples",
            source=user_line(),
            hint="give the axis that the examples are to have",
        )
    if axis is not None and not -rank <= axis < rank:
        raise ShapeError(
            f"{name} of one example is {aval}; out_axes cannot put the examples along "
            f"axis {axis}",
            source=user_line(),
            hint=f"give an axis from {-rank} to {rank - 1}",
        )


def _placed(x: Any, axis: int, batched: bool, size: int) -> Any:
    """Move axis 0 to `axis`; repeat along it what all examples share."""
    if not batched:
        x = np.broadcast_to(x, (size, *x.shape)).copy()
    return x if axis == 0 else np.moveaxis(x, 0, axis)


# --- prefixes of trees ------------------------------------------------------------


def _check_entries(axes: Axes, name: str) -> None:
    leaves, spec = flatten(axes)
    for x, path in zip(leaves, paths(spec), strict=True):
        if type(x) is bool or not hasattr(x, "__index__"):
            raise TypeError(
                f"{format_path(path, name)} is {x!r}, not an int, None or a container "
                "of these"
            )


def expand_axes(axes: Axes, spec: TreeSpec, name: str, what: str) -> list[Axis]:
    """Return an axis for each leaf of `spec`.

    Parameters
    ----------
    axes : int, None or container
        One entry stands for a whole sub-tree.
    spec : TreeSpec
    name, what : str
        Of `axes` and of the tree, for errors.

    Raises
    ------
    TraceError
        When the containers of `axes` are not those of the tree.

    Examples
    --------
    >>> expand_axes((0, None), flatten(({"a": 1, "b": 2}, 3))[1], "in_axes", "x")
    [0, 0, None]
    """
    if axes is None:
        return [None] * spec.size
    parts = parts_of(axes)
    if parts is None:
        return [axes.__index__()] * spec.size
    entries = dict(zip(*parts, strict=True))
    if type(axes) is not spec.kind or set(entries) != set(spec.keys):
        raise TraceError(
            f"{name} is {axes!r}, which does not have the form of {what}: "
            f"{describe(spec)}",
            source=user_line(),
            hint="give one entry per item, or one int or None for all of it",
        )
    return [
        axis
        for key, child in zip(spec.keys, spec.children, strict=True)
        for axis in expand_axes(
            entries[key], child, f"{name}[{key!r}]", f"{what}[{key!r}]"
        )
    ]


def describe(spec: TreeSpec) -> str:
    """Say in words what a tree is at its root."""
    if spec.kind is None:
        return "an array"
    if spec.kind is type(None):
        return "None"
    if spec.kind in (list, tuple):
        return f"a {spec.kind.__name__} of {len(spec.keys)}"
    return f"a {spec.kind.__name__} with {', '.join(map(str, spec.keys))}"
