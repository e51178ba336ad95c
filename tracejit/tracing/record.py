"""Recording: one function at one call's signature becomes a graph and a plan.

The plan says which argument leaves and captures feed the graph, which arguments are
written back, and how results are made: an output, an argument itself, a view of one.
"""

from collections.abc import Callable, Mapping
from dataclasses import field, replace
from typing import Any

import numpy as np

from ..ir import dtypes as dt
from ..ir.aval import Shape, ShapedArray
from ..ir.graph import Atom, Graph, Var
from ..records import dataclass
from .capture import CapturedArray, CaptureFinder, Constant, Getter
from .constants import CapturedConstant, captured_constants
from .creation import taking_lists, wrapped_creation
from .leaves import ArgumentLeaf, DescribedCall
from .masked import Masked, unsupported_mask
from .mutation import Change, changes_of, watch
from .names import path_name
from .numpy_rules import RULES
from .signature import ARRAY, COMPLEX, FLOAT, INT, SCALAR, STATIC, Call, LeafKey
from .storage import Kind, Storage
from .trace import Trace, current_trace, run_traced
from .tracer import Tracer
from .tree import TreeSpec, flatten

PYTHON_DTYPES = {
    INT: np.dtype(np.int64),
    FLOAT: np.dtype(np.float64),
    COMPLEX: np.dtype(np.complex128),
}


@dataclass(frozen=True)
class OutputLeaf:
    """Result leaf: graph output `index`, as an array or a scalar."""

    index: int
    kind: Kind


@dataclass(frozen=True)
class ViewLeaf:
    """Result leaf: a view of an argument leaf or of a graph output.

    Parameters
    ----------
    argument : int
        Argument leaf, or -1.
    output : int
        Graph output, or -1.
    offset : int
        Bytes from the first element of what it is a view of.
    shape, strides : tuple of int
        Strides in bytes.
    whole : bool
        The object itself, not a view.
    """

    argument: int
    output: int
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    whole: bool
    writeable: bool = True
    dtype: np.dtype | None = None


@dataclass(frozen=True)
class StaticLeaf:
    """Result leaf: the very object the function returned."""

    value: object


ResultLeaf = OutputLeaf | ViewLeaf | StaticLeaf


@dataclass(frozen=True)
class Recording:
    """A function recorded at one signature.

    Parameters
    ----------
    graph : Graph
    inputs : tuple of (int or CapturedArray)
        Per graph input: an argument leaf's index, or a capture.
    writes : tuple of (int, int)
        (argument leaf, graph output) pairs to copy back after the call.
    results : tuple of ResultLeaf
    spec : TreeSpec
        Of the result.
    pinned : dict of int to object
        Argument leaves whose values the trace asked for, in order.
    changes : tuple of Change
        Containers of the arguments that the function changed. Where there are any, the
        result is a tuple: the function's own, then the entries that it made.
    constants : tuple of CapturedConstant
        Numbers, strings and functions in reach whose change would change the trace.
    asked : dict of int to str
        The pinned leaves, and the user's line that asked first.
    call : DescribedCall
        What it was recorded for.
    turns : dict of str to int
        Lines that ran again in loops of Python, and how often.
    orders : dict of int to tuple of int
        Of graph outputs that NumPy leaves in another order of axes than C's: the axes
        as they lie in memory, outermost first.
    """

    graph: Graph
    inputs: tuple[int | CapturedArray, ...]
    writes: tuple[tuple[int, int], ...]
    results: tuple[ResultLeaf, ...]
    spec: TreeSpec
    pinned: dict[int, object]
    changes: tuple[Change, ...] = ()
    constants: tuple[CapturedConstant, ...] = ()
    asked: Mapping[int, str] = field(default_factory=dict)
    call: DescribedCall = field(default_factory=DescribedCall)
    turns: Mapping[str, int] = field(default_factory=dict)
    orders: Mapping[int, Shape] = field(default_factory=dict)

    @property
    def arguments(self) -> tuple[ArgumentLeaf, ...]:
        """What it was recorded for, leaf by leaf."""
        return self.call.leaves

    @property
    def captures(self) -> tuple[CapturedArray, ...]:
        """The arrays captured by reference."""
        return tuple(x for x in self.inputs if isinstance(x, CapturedArray))


@dataclass
class _Outputs:
    """Graph outputs collected so far; equal atoms share one."""

    atoms: list[Atom] = field(default_factory=list)
    orders: dict[int, Shape] = field(default_factory=dict)

    def add(self, atom: Atom) -> int:
        self.atoms.append(atom)
        return len(self.atoms) - 1

    def result(self, x: Tracer) -> OutputLeaf:
        """Add a result; an array in the order of axes that NumPy's has."""
        index = self.add(x.read())
        order = order_of_axes(x.shadow) if x.kind is Kind.ARRAY else None
        if order is not None:
            self.orders[index] = order
        return OutputLeaf(index, x.kind)


@taking_lists
def record(
    fn: Callable[..., Any],
    call: Call,
    static_ints: frozenset[int],
    name: str,
    device: object = "cpu",
) -> Recording:
    """Trace `fn` at the signature of `call`.

    Parameters
    ----------
    fn : callable
    call : Call
    static_ints : frozenset of int
        Int leaves to take as constants.
    name : str
        Name of the graph.
    device : str or Device
        What traced arrays say that they are on.

    Raises
    ------
    TracejitError
        When the function does something that cannot be traced.
    """
    finder = CaptureFinder(fn, _opaque_roots(call))
    trace = Trace(name, RULES, current_trace(), finder=finder, device=device)
    leaves, inputs, storages = _traced_leaves(trace, call, static_ints)
    args, kwargs = call.rebuild(leaves)
    containers = watch(args, kwargs)
    with wrapped_creation():
        result = run_traced(trace, lambda: fn(*args, **kwargs))
    changes, made = changes_of(containers)
    trace.active = True  # reading results records views
    try:
        whole = (result, *made) if changes else result
        recording = _finish(trace, call, leaves, inputs, storages, whole)
    finally:
        trace.active = False
    constants = captured_constants(fn, _opaque_roots(call))
    return replace(recording, changes=changes, constants=constants)


def _opaque_roots(call: Call) -> list[tuple[str, Getter]]:
    """Arguments that are objects: arrays in them are captured."""
    roots: list[tuple[str, Getter]] = []
    for name, leaf, key in zip(call.leaf_names(), call.leaves, call.keys, strict=True):
        if key.kind == STATIC:
            roots.append((name, Constant(leaf)))
    return roots


def _traced_leaves(
    trace: Trace, call: Call, static_ints: frozenset[int]
) -> tuple[list[Any], dict[Var, int], dict[int, Storage]]:
    leaves: list[Any] = []
    inputs: dict[Var, int] = {}
    storages: dict[int, Storage] = {}
    names = call.leaf_names()
    for i, (leaf, key) in enumerate(zip(call.leaves, call.keys, strict=True)):
        if call.aliases and call.aliases[i] != i:
            leaves.append(leaves[call.aliases[i]])
        elif key.kind == STATIC or (key.kind == INT and i in static_ints):
            leaves.append(leaf)
        else:
            tracer, var = _argument(trace, i, leaf, key)
            var.name = path_name(names[i])
            inputs[var] = i
            storages[i] = tracer.storage
            leaves.append(tracer)
    return leaves, inputs, storages


def _argument(trace: Trace, i: int, leaf: Any, key: LeafKey) -> tuple[Tracer, Var]:
    if key.kind == ARRAY:
        aval = ShapedArray(leaf.shape, dt.canonical(leaf.dtype))
        var = trace.builder.input(aval)
        storage = Storage(trace, var, argument=i)
        return Tracer(storage, (), leaf, Kind.ARRAY), var
    if key.kind == SCALAR:
        assert key.dtype is not None
        var = trace.builder.input(ShapedArray((), key.dtype))
        return Tracer(Storage(trace, var), (), np.asarray(leaf), Kind.SCALAR), var
    dtype = PYTHON_DTYPES[key.kind]
    var = trace.builder.input(ShapedArray((), dtype))
    storage = Storage(trace, var, known=True, depends=frozenset({i}))
    shadow = np.asarray(leaf, dtype)
    return Tracer(storage, (), shadow, Kind.PYTHON), var


def _finish(
    trace: Trace,
    call: Call,
    leaves: list[Any],
    inputs: dict[Var, int],
    storages: dict[int, Storage],
    result: object,
) -> Recording:
    out_leaves, spec = flatten(result)
    outputs = _Outputs()
    results = _result_leaves(trace, call, leaves, out_leaves, outputs)
    writes = tuple((i, outputs.add(s.atom)) for i, s in storages.items() if s.version)
    graph = trace.builder.build(outputs.atoms)
    captures = {c.var: c for c in trace.captures}
    feeds: list[int | CapturedArray] = []
    for var in graph.invars:
        feeds.append(inputs[var] if var in inputs else captures[var])
    pinned = {i: call.leaves[i] for i in trace.pinned}
    return Recording(
        graph,
        tuple(feeds),
        writes,
        results,
        spec,
        pinned,
        asked=dict(trace.pinned),
        call=call.described,
        turns=trace.turns.of_lines(),
        orders=outputs.orders,
    )


def _result_leaves(
    trace: Trace,
    call: Call,
    leaves: list[Any],
    out_leaves: list[Any],
    outputs: _Outputs,
) -> tuple[ResultLeaf, ...]:
    shared = _shared_storages(out_leaves)
    bases: dict[int, int] = {}
    out: list[ResultLeaf] = []
    for x in out_leaves:
        if type(x) is Masked:
            raise unsupported_mask()
        if _is_new_array(trace, x):
            x = trace.constant(x, born_here=True)
        if not isinstance(x, Tracer):
            out.append(StaticLeaf(x))
            continue
        x = trace.lift(x)
        if x.kind is Kind.ARRAY and x.storage.argument >= 0:
            out.append(_argument_view(x, leaves[x.storage.argument]))
        elif x.kind is Kind.ARRAY and id(x.storage) in shared and _replays(x):
            if id(x.storage) not in bases:
                bases[id(x.storage)] = outputs.add(x.storage.atom)
            out.append(_output_view(x, bases[id(x.storage)]))
        elif not x.chain and _captured(trace, x) is not None:
            out.append(StaticLeaf(_captured(trace, x)))
        else:
            out.append(outputs.result(x))
    return tuple(out)


def order_of_axes(array: np.ndarray) -> Shape | None:
    """Return the axes as they lie in memory, outermost first; None for C order.

    Axes of one element keep their places. What overlaps, or runs backwards, is taken
    for C order.

    Examples
    --------
    >>> order_of_axes(np.zeros((2, 3)).T)
    (1, 0)
    """
    real = [d for d, n in enumerate(array.shape) if n != 1]
    if array.flags.c_contiguous or any(array.strides[d] <= 0 for d in real):
        return None
    order = [*range(array.ndim)]
    ranked = sorted(real, key=lambda d: -array.strides[d])
    for place, d in zip(real, ranked, strict=True):
        order[place] = d
    return tuple(order) if ranked != real else None


def _is_new_array(trace: Trace, x: Any) -> bool:
    """Tell whether `x` was born in untraced code: each call returns a new one."""
    if type(x) is not np.ndarray or x.dtype not in dt.DTYPE_TO_NAME:
        return False
    return trace.finder is None or trace.finder.find(x) is None


def _captured(trace: Trace, x: Tracer) -> object:
    """The captured array that `x` is, if it is one as it was found."""
    found = (c.array for c in trace.captures if c.var is x.storage.atom)
    return next(found, None)


def _shared_storages(out_leaves: list[Any]) -> set[int]:
    """Storages that several result leaves are, or are views of."""
    seen: set[int] = set()
    shared: set[int] = set()
    for x in out_leaves:
        if isinstance(x, Tracer) and x.kind is Kind.ARRAY:
            (shared if id(x.storage) in seen else seen).add(id(x.storage))
    return shared


def _address(array: np.ndarray) -> int:
    return int(array.__array_interface__["data"][0])


def _argument_view(x: Tracer, argument: Tracer) -> ViewLeaf:
    index = x.storage.argument
    if not x.chain:
        return ViewLeaf(index, -1, 0, (), (), whole=True)
    offset = _address(x.shadow) - _address(argument.shadow)
    writeable = x.shadow.flags.writeable
    return ViewLeaf(index, -1, offset, x.shape, x.strides, False, writeable, x.dtype)


def _output_view(x: Tracer, output: int) -> ViewLeaf:
    """Views of one new array, whose strides are C-contiguous at run time."""
    shape = x.storage.atom.aval.shape
    if not x.chain:
        return ViewLeaf(-1, output, 0, (), (), whole=True)
    base = np.empty(shape, x.storage.atom.aval.dtype)
    view = replay(base, x)
    offset = _address(view) - _address(base)
    writeable = view.flags.writeable
    return ViewLeaf(
        -1, output, offset, view.shape, view.strides, False, writeable, view.dtype
    )


def _replays(x: Tracer) -> bool:
    """Tell whether the view chain gives a view of a C-contiguous base too."""
    base = np.empty(x.storage.atom.aval.shape, x.storage.atom.aval.dtype)
    return not base.size or np.may_share_memory(replay(base, x), base)


def replay(base: np.ndarray, x: Tracer) -> np.ndarray:
    """Apply the view chain of `x` to an array."""
    for step in x.chain:
        base = step.apply(base)
    return base
