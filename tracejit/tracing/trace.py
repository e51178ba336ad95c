"""The trace: one recording of one function.

A `Trace` owns a builder. It turns what the function touches into tracers: arguments,
captured arrays, constants, and values of the trace around it (`lift`), and it carries
the rules that these ask what NumPy's functions do. Which traces are
running is kept per thread, because creation functions such as `np.zeros` have no
operand that could tell.
"""

import enum
import threading
import warnings
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import field

import numpy as np
from numpy import asarray  # while a trace runs, `np.asarray` is a wrapper

from ..errors import LeakedTracerError, TraceError
from ..ir import dtypes as dt
from ..ir.aval import ShapedArray
from ..ir.builder import Builder
from ..ir.graph import Atom, Graph, Literal, Var
from ..ir.ops.shape import broadcast_in_dim_p, constant_p, iota_p
from ..ir.placed import Placed
from ..ir.primitive import ArrayConstant, Param, Params, Primitive
from ..ir.simplify import recording_rules
from ..records import dataclass
from .capture import CapturedArray, CaptureFinder, Constant
from .names import Assignments, path_name
from .rules import Rules
from .source import line_of, user_frame, user_line
from .storage import Array, Kind, OwnArray, Storage, blank
from .tracer import Tracer
from .turns import Turns

KNOWN_LIMIT = 1 << 16  # elements of a value kept for Python under jit


class Role(enum.Enum):
    """What a trace is for: it decides what Python may ask of its arguments."""

    FUNCTION = "jitted"
    DIFFERENTIATED = "differentiated"
    MAPPED = "mapped"  # arguments stand for many examples
    BODY = "looped or chosen"  # of control flow: arguments change at run time
    WRAPPED = "wrapped"  # a custom function or a rule, traced beside others like it


@dataclass(frozen=True)
class OuterValue:
    """A value of the trace around this one, an input here."""

    tracer: Tracer
    version: int
    var: Var


@dataclass(eq=False)
class Trace:
    """One recording.

    Parameters
    ----------
    name : str
        Name of the graph.
    rules : Rules
        How NumPy's functions are traced.
    parent : Trace, optional
        The trace running around this one on this thread.
    role : Role
    finder : CaptureFinder, optional
        Says where an array was found; without one arrays are constants.
    origins : dict of Var to Tracer
        Arguments that are values of the trace around.
    device : object
        What it runs on: ``"cpu"``, or a `tj.Device`.
    orders : int, optional
        How many derivatives will be taken of it at most; unless given, as many as
        traces around it are for one.

    Attributes
    ----------
    body : Trace or None
        The innermost branch or turn that it is, or is inside of.
    """

    name: str
    rules: Rules
    parent: "Trace | None" = None
    role: Role = Role.FUNCTION
    finder: CaptureFinder | None = None
    orders: int | None = None
    device: object = "cpu"
    builder: Builder = field(init=False)
    body: "Trace | None" = field(init=False, default=None)
    captures: list[CapturedArray] = field(default_factory=list)
    outer_values: list[OuterValue] = field(default_factory=list)
    origins: dict[Var, Tracer] = field(default_factory=dict)
    pinned: dict[int, str] = field(default_factory=dict)
    active: bool = True
    thread: int = field(default_factory=threading.get_ident)
    turns: Turns = field(default_factory=Turns)
    _lifted: dict[int, tuple[Array, Tracer]] = field(default_factory=dict)
    _assignments: Assignments = field(default_factory=Assignments)

    def __post_init__(self) -> None:
        self.builder = Builder(self.name, recording_rules(), value_number=True)
        if self.parent is not None:
            self.device, self.turns = self.parent.device, self.parent.turns
            self.body = self.parent.body
        if self.role is Role.BODY:
            self.body = self

    @property
    def depth(self) -> int:
        """Number of traces around this one."""
        return 0 if self.parent is None else self.parent.depth + 1

    @property
    def runs_once(self) -> bool:
        """Whether what is recorded is run, whatever happens, and just once.

        That is so outside of `jit`, and of functions that are only differentiated.
        """
        is_outer = self.parent is None or self.parent.runs_once
        return self.role is Role.DIFFERENTIATED and is_outer

    @property
    def derivatives(self) -> int:
        """How many derivatives will be taken of what is recorded, at most."""
        if self.orders is not None:
            return self.orders
        around = 0 if self.parent is None else self.parent.derivatives
        return around + (self.role is Role.DIFFERENTIATED)

    @property
    def batches(self) -> int:
        """How many `vmap` will be taken of what is recorded."""
        around = 0 if self.parent is None else self.parent.batches
        return around + (self.role is Role.MAPPED)

    # --- recording

    def emit(self, primitive: Primitive, *atoms: Atom, **params: Param) -> Atom:
        """Record one equation with the user's line and return its result."""
        (out,) = self.emit_all(primitive, atoms, params)
        return out

    def emit_all(
        self, primitive: Primitive, atoms: Sequence[Atom], params: Params
    ) -> tuple[Atom, ...]:
        """Record one equation with the user's line and return its results."""
        self.check_active()
        frame = user_frame()
        line = "" if frame is None else line_of(frame)
        self.builder.source = (line,) if line else ()
        outs = self.builder.emit_all(primitive, atoms, params)
        if frame is not None:
            self.turns.record(frame, ((line, primitive.name),))
            if len(outs) == 1:
                self._assignments.record(frame, outs[0])
        return outs

    def inline(self, graph: Graph, atoms: Sequence[Atom]) -> tuple[Atom, ...]:
        """Record the equations of a graph, with their own lines."""
        frame = user_frame()
        if frame is not None:
            made = {(e.source[0], e.primitive.name) for e in graph.eqns if e.source}
            self.turns.record(frame, made)
        return self.builder.inline(graph, atoms)

    def check_active(self) -> None:
        """Raise when the trace is over or runs on another thread.

        Raises
        ------
        LeakedTracerError
        """
        if not self.active:
            raise LeakedTracerError(
                f"a traced value of {self.name!r} was used after its trace ended",
                source=user_line(),
                hint="return values from the function instead of keeping them in "
                "globals, attributes or default arguments",
            )
        if self.thread != threading.get_ident():
            raise LeakedTracerError(
                f"a traced value of {self.name!r} was used on another thread",
                source=user_line(),
                hint="start threads outside of the traced function",
            )

    def innermost(self) -> "Trace":
        """Return the trace that runs inside of this one, or this one."""
        running = _running.trace
        if running is None or running.depth <= self.depth:
            return self
        return running

    def recorder(self) -> "Trace":
        """Return the trace that records what is computed of values of this one.

        What a branch or a turn computes is computed in it alone, whatever of.
        """
        running = _running.trace
        body = None if running is None else running.body
        return body if body is not None and body.depth > self.depth else self

    def check_innermost(self) -> None:
        """Raise when a trace inside of this one is running: values here are fixed.

        Raises
        ------
        TraceError
        """
        running = self.innermost()
        if running is not self:
            raise TraceError(
                "cannot write into this array: it belongs to the trace around "
                f"{running.name!r}",
                source=user_line(),
                hint="copy it first (x = x.copy()), or pass it in and return it",
            )

    # --- making tracers

    def result(
        self,
        atom: Atom,
        known: object | None = None,
        layout: Array | None = None,
        kind: Kind = Kind.ARRAY,
        depends: frozenset[int] = frozenset(),
    ) -> Tracer:
        """Wrap a fresh value.

        Parameters
        ----------
        atom : Var or Literal
        known : array_like, optional
            Its value, when Python may ask for it.
        layout : numpy.ndarray, optional
            An array of the strides NumPy would give the result.
        kind : Kind
        depends : frozenset of int
            Argument leaves that decide the value.
        """
        if known is None:
            return Tracer(Storage(self, atom), (), blank(atom.aval, layout), kind)
        storage = Storage(self, atom, known=True, depends=depends)
        return Tracer(storage, (), asarray(known), kind)

    @property
    def concrete(self) -> bool:
        """Whether it runs outside of `jit`, where values of any size are kept."""
        is_inner = self.role is not Role.FUNCTION
        return is_inner and (self.parent is None or self.parent.concrete)

    def is_differentiated(self, atom: Atom) -> bool:
        """Tell whether `atom` depends on the argument of a derivative."""
        return self._comes_from(atom, Role.DIFFERENTIATED)

    def is_mapped(self, atom: Atom) -> bool:
        """Tell whether `atom` has a value for each example of a `vmap`."""
        return self._comes_from(atom, Role.MAPPED)

    def _comes_from(self, atom: Atom, role: Role) -> bool:
        """Tell whether `atom` depends on an argument of a trace of that role."""
        inputs = set(self.builder.invars)
        outer = {value.var: value.tracer for value in self.outer_values}
        given = outer | self.origins
        pending, seen = [atom], set()
        while pending:
            x = pending.pop()
            if isinstance(x, Literal) or x in seen:
                continue
            seen.add(x)
            if x in inputs and x not in outer and self.role is role:
                return True
            if x in given and given[x].home._comes_from(given[x].read(), role):
                return True
            eqn = self.builder.definition(x)
            if eqn is None:
                continue
            drops = role is Role.DIFFERENTIATED and eqn.primitive.nondifferentiable
            if not drops:
                pending.extend(eqn.invars)
        return False

    def pin(self, leaves: frozenset[int]) -> None:
        """Note that Python asked, and where, for what these argument leaves decide."""
        if leaves <= self.pinned.keys():
            return
        line = user_line()
        trace: Trace | None = self
        while trace is not None:
            for leaf in leaves:
                trace.pinned.setdefault(leaf, line)
            trace = trace.parent

    def may_know(self, size: int) -> bool:
        """Tell whether a value of `size` elements is kept for Python."""
        return self.concrete or size <= KNOWN_LIMIT

    def lift(self, x: object) -> Tracer:
        """Return `x` as a tracer of this trace.

        Arrays are captured by reference where they were found, Python and NumPy
        scalars become literals, sequences become arrays as `np.array` makes them.

        Raises
        ------
        DTypeError
            For dtypes that are not supported.
        TraceError
            For a value of a trace inside this one.
        """
        if isinstance(x, Tracer):
            return x if x.home is self else self._lift_outer(x)
        if type(x) is bool or type(x) in (int, float, complex):
            return self._lift_python(x)
        if isinstance(x, np.generic):
            dtype = dt.canonical(x.dtype)
            return self.result(Literal(x, dtype), np.asarray(x), kind=Kind.SCALAR)
        if type(x) is np.ndarray:
            return self._lift_array(x)
        if isinstance(x, OwnArray):
            return self.constant(np.asarray(x), born_here=True)
        if isinstance(x, np.ndarray):
            return self._lift_array(np.asarray(x))
        if isinstance(x, list | tuple):
            return self._lift_sequence(x)
        if isinstance(x, Placed):
            return self._lift_placed(x)
        return self._lift_array(np.asarray(x))

    def _lift_python(self, x: object) -> Tracer:
        known = asarray(x)
        literal = Literal(known[()], dt.canonical(known.dtype))
        return Tracer(Storage(self, literal, known=True), (), known, Kind.PYTHON)

    def _lift_sequence(self, x: Sequence[object]) -> Tracer:
        return self.rules.array_of(self, x)

    def _lift_placed(self, x: Placed) -> Tracer:
        """Return an array on a device; one that was found nowhere stays as it is."""
        found = self._lifted.get(id(x.shadow))
        if found is not None:
            return found[1]
        self.device = x.device
        if self.parent is not None and not self.concrete:
            return self._lift_outer(self.parent.lift(x))
        capture = self.finder.find(x.shadow) if self.finder is not None else None
        if capture is None:
            capture = CapturedArray(x.shadow, x, "an array on a device", Constant(x))
        tracer = self._capture(capture)
        self._lifted[id(x.shadow)] = x.shadow, tracer
        return tracer

    def _lift_array(self, array: Array) -> Tracer:
        found = self._lifted.get(id(array))
        if found is not None:
            return found[1]
        dt.canonical(array.dtype)
        if self.parent is not None and not self.concrete:
            return self._lift_outer(self.parent.lift(array))
        capture = self.finder.find(array) if self.finder is not None else None
        tracer = self.constant(array) if capture is None else self._capture(capture)
        self._lifted[id(array)] = (array, tracer)
        return tracer

    def _capture(self, capture: CapturedArray) -> Tracer:
        aval = ShapedArray(capture.array.shape, dt.canonical(capture.array.dtype))
        var = self.builder.input(aval, path_name(capture.name))
        self.captures.append(capture)
        capture.var = var
        why = f"the captured array {capture.name} is not an argument"
        storage = Storage(self, var, frozen=why)
        return Tracer(storage, (), capture.array, Kind.ARRAY)

    def constant(self, array: Array, born_here: bool = False) -> Tracer:
        """Record `array` as a constant of the graph: a copy, never looked at again."""
        if not born_here and array.size > 1 and self.finder is not None:
            warnings.warn(
                f"{user_line(1)}: an array made inside the traced function by code "
                "that is not traced is kept as a constant; make it with functions "
                "called through the numpy module (np.zeros, not zeros), or pass it "
                "as an argument",
                stacklevel=2,
            )
        atom = constant_atom(self, np.asarray(array))
        known = np.array(array) if self.may_know(array.size) else None
        return self.result(atom, known, layout=array)

    def _lift_outer(self, x: Tracer) -> Tracer:
        x.home.check_active()
        if x.home.depth >= self.depth:
            raise TraceError(
                f"a value of the trace {x.home.name!r} was used in {self.name!r}, "
                "which is not inside of it",
                source=user_line(),
                hint="return it from the inner function",
            )
        for value in self.outer_values:
            if value.tracer is x and value.version == x.storage.version:
                return value_tracer(self, x, value.var)
        parent = self.parent
        assert parent is not None
        outer = x if x.home is parent else parent.lift(x)
        var = self.builder.input(x.aval)
        self.outer_values.append(OuterValue(outer, x.storage.version, var))
        assert isinstance(outer, Tracer)
        return value_tracer(self, x, var)


def trace_of(values: Iterable[object]) -> Trace:
    """Return the trace that records what is computed of `values`.

    The innermost one among theirs, so that what has no derivative and no examples is
    computed outside, or the branch or turn that is traced. The running one if no value
    is traced.
    """
    found: Trace | None = None
    for x in values:
        if isinstance(x, Tracer):
            home = x.home
            if found is None or (found is not home and home.depth > found.depth):
                found = home
    found = found or current_trace()
    assert found is not None
    return found.recorder()


def value_tracer(trace: Trace, outer: Tracer, var: Var) -> Tracer:
    """Return the tracer that stands for `outer` in an inner trace."""
    frozen = f"it belongs to the trace around {trace.name!r}"
    known, depends = outer.storage.known, outer.storage.depends
    storage = Storage(trace, var, known=known, frozen=frozen, depends=depends)
    return Tracer(storage, (), outer.shadow, outer.kind)


def constant_atom(trace: Trace, array: Array) -> Atom:
    """Return `array` as a literal, a constant field, a count, or a constant.

    Fields and counts (np.full, np.arange) stay symbolic so that masks made from them
    are index predicates, not data.
    """
    dtype = dt.canonical(array.dtype)
    if array.ndim == 0:
        return Literal(array[()], dtype)
    first = array.reshape(-1)[0] if array.size else array.dtype.type(0)
    if array.size == 0 or _is_field(array, first):
        literal = Literal(first, dtype)
        return trace.emit(broadcast_in_dim_p, literal, shape=array.shape, dims=())
    counts = array.ndim == 1 and array.dtype.kind in "iu" and array.size > 1
    if counts and np.array_equal(array, np.arange(array.size, dtype=dtype)):
        return trace.emit(iota_p, shape=array.shape, axis=0, dtype=dtype)
    return trace.emit(constant_p, value=ArrayConstant(array.astype(dtype)))


def _is_field(array: Array, first: object) -> bool:
    flat = array.tobytes()
    return flat == np.full(array.shape, first, array.dtype).tobytes()


class _Running(threading.local):
    """The innermost trace running on each thread."""

    trace: Trace | None = None


_running = _Running()
# How many traces run in the process: machine code then leaves calls to Python.
COUNT = array("q", [0])
_count_lock = threading.Lock()


def _count_traces(change: int) -> None:
    with _count_lock:
        COUNT[0] += change


def current_trace() -> Trace | None:
    """Return the innermost trace running on this thread."""
    return _running.trace


def run_traced(trace: Trace, fn: Callable[[], object]) -> object:
    """Call `fn` with `trace` as the running one; the trace ends with the call."""
    outer = _running.trace
    _running.trace = trace
    trace.turns.start()
    _count_traces(1)
    try:
        return fn()
    finally:
        _count_traces(-1)
        _running.trace = outer
        trace.active = False
