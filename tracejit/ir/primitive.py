"""Primitives: one block declares everything about one operation.

A `Primitive` says what an operation is called, which params it takes, what shape and
dtype it gives (`abstract_eval`), what it means (`impl`, in NumPy), how it is
differentiated, and what it costs. Backends are tables keyed by primitive; transforms
and passes read the cells declared here. `REGISTRY` maps names to primitives.
"""

import enum
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import field
from typing import TYPE_CHECKING, ClassVar, Protocol, TypeAlias, TypeVar
from weakref import WeakValueDictionary

import numpy as np

from ..errors import InternalError
from ..hashing import sha256
from ..records import dataclass
from .aval import ShapedArray

if TYPE_CHECKING:
    from .builder import Builder
    from .graph import Atom, Graph
    from .interp import Evaluator

V = TypeVar("V")
Array = np.ndarray
Avals = tuple[ShapedArray, ...]


class ArrayConstant:
    """An immutable array held in params; compares and hashes by its bytes.

    Parameters
    ----------
    array : numpy.ndarray
        Copied and made read-only.
    """

    __slots__ = ("_key", "array")

    def __init__(self, array: Array) -> None:
        self.array = np.array(array, order="C")
        self.array.flags.writeable = False
        self._key = (self.array.shape, self.array.dtype, self.array.tobytes())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ArrayConstant) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    @property
    def digest(self) -> str:
        """SHA-256 of shape, dtype and bytes."""
        return sha256(repr(self._key).encode())

    def __repr__(self) -> str:
        return f"ArrayConstant({self.array!r})"


class HostObject:
    """Something of Python that a graph holds; compares by identity.

    Its name stands for it in text. Text is read back in the process that printed it, as
    long as the object lives; elsewhere the parser says that it is not there.

    Parameters
    ----------
    label : str
        The name, made unique by a number.
    """

    __slots__ = ("__weakref__", "name")
    _living: ClassVar["WeakValueDictionary[str, HostObject]"] = WeakValueDictionary()
    _numbers: ClassVar[Iterator[int]] = itertools.count()

    def __init__(self, label: str) -> None:
        self.name = f"{label}#{next(self._numbers)}".replace('"', "'")
        self._living[self.name] = self

    @classmethod
    def named(cls, name: str) -> "HostObject | None":
        """Return the living object of that name."""
        return cls._living.get(name)

    @property
    def label(self) -> str:
        """The name without its number."""
        return self.name.rpartition("#")[0]

    def __repr__(self) -> str:
        return f'host "{self.name}"'


class HostFunction(HostObject):
    """A Python function that a graph calls while it runs.

    Parameters
    ----------
    label : str
    call : callable
        Takes arrays that it may keep, and returns a tuple of arrays.
    """

    __slots__ = ("call",)

    def __init__(self, label: str, call: Callable[..., tuple[Array, ...]]) -> None:
        super().__init__(label)
        self.call = call


class HostRule(HostObject):
    """A Python function that makes the graph of a batch; no compiled code calls it.

    Parameters
    ----------
    label : str
    batched : callable
        ``(batch size, which operands have the batch as axis 0)`` gives a graph that
        takes them, and which of its results have the batch.
    """

    __slots__ = ("batched",)

    def __init__(
        self,
        label: str,
        batched: "Callable[[int, tuple[bool, ...]], tuple[Graph, tuple[bool, ...]]]",
    ) -> None:
        super().__init__(label)
        self.batched = batched


Param: TypeAlias = (
    "bool | int | float | str | np.dtype | ArrayConstant | HostObject | ShapedArray"
    " | tuple[Param, ...] | Graph | None"
)
Params = Mapping[str, Param]


class ParamKind(enum.Enum):
    """The type of a param, checked by the verifier."""

    BOOL = "bool"
    INT = "int"
    FLOAT = "float"
    STR = "str"
    DTYPE = "dtype"
    INTS = "tuple of ints"
    PAIRS = "tuple of tuples of ints"
    ARRAY = "array"
    GRAPH = "graph"
    GRAPHS = "tuple of graphs"
    ATTRIBUTES = "tuple of (name, int or string)"
    OPTIONAL_INTS = "tuple of ints or None"
    HOST = "host object"
    AVALS = "tuple of types"


class Effect(enum.Enum):
    """What an equation does besides computing its results."""

    CHECK = "check"  # may raise at run time: must stay, may be reordered with pure code
    ORDERED = "ordered"  # print, callbacks: must stay, and stay in order
    IO = "io"  # unordered callbacks: must stay and run once, in any order


class Kind(enum.Enum):
    """How a primitive relates its operands to its results."""

    ELEMENTWISE = "elementwise"
    REDUCE = "reduce"
    VIEW = "view"  # moves elements and computes nothing
    OTHER = "other"


class Linearity(enum.Enum):
    """How the result depends on the operands named by `Primitive.linear_in`."""

    NONE = "none"
    JOINT = "joint"  # linear in all of them together: add, slice, concatenate
    MULTI = "multi"  # linear in each with the others fixed: dot_general


class JvpRule(Protocol):
    """Linear action of the derivative: one tangent per result (None is zero)."""

    def __call__(
        self,
        b: "Builder",
        tangents: Sequence["Atom | None"],
        outs: Sequence["Atom"],
        ins: Sequence["Atom"],
        params: Params,
    ) -> Sequence["Atom | None"]:
        """Emit the tangents of the results into `b`."""


class TransposeRule(Protocol):
    """Cotangents of the linear operands, given those of the results."""

    def __call__(
        self,
        b: "Builder",
        cotangents: Sequence["Atom | None"],
        ins: Sequence["Atom"],
        linear: Sequence[bool],
        params: Params,
    ) -> Sequence["Atom | None"]:
        """Emit the cotangents of the operands into `b`."""


class BatchRule(Protocol):
    """What the primitive gives for a batch of operands at once."""

    def __call__(
        self,
        b: "Builder",
        primitive: "Primitive",
        ins: Sequence["Atom"],
        batched: Sequence[bool],
        params: Params,
    ) -> Sequence["Atom"]:
        """Emit the results, each with the batch as axis 0, into `b`.

        At least one of `batched` is true: those operands have the batch as axis 0.
        """


class RunBy(Protocol):
    """How an evaluator runs the graphs that a primitive holds."""

    def __call__(
        self, by: "Evaluator[V]", ins: Sequence[V], params: Params
    ) -> Sequence[V]:
        """Return the results for operands of whatever type `by` computes with."""


def _same(params: Params, size: int) -> Params:
    return params


@dataclass(frozen=True)
class BatchParams:
    """Batching by the primitive itself, on operands that all have the batch axis.

    Parameters
    ----------
    change : callable
        ``(params, batch size) -> params`` for operands with one more axis in front.
        Without it they stay as they are: the primitive works on the last axes.
    """

    change: Callable[[Params, int], Params] = _same


def shifted(*names: str) -> BatchParams:
    """Return the batching of primitives whose params `names` are axes."""

    def change(params: Params, size: int) -> Params:
        return {**params, **{k: _next_axes(params[k]) for k in names}}

    return BatchParams(change)


def _next_axes(value: Param) -> Param:
    if isinstance(value, tuple):
        return tuple(_next_axes(v) for v in value)
    assert isinstance(value, int)
    return value + 1


# partial(b, g, out, *ins) multiplies g by one partial derivative.
Partial = Callable[..., "Atom | None"]


@dataclass(frozen=True, eq=False)
class Primitive:
    """The declaration of one operation.

    Parameters
    ----------
    name : str
        The name in text form.
    abstract_eval : callable
        ``(*avals, **params) -> aval or tuple of avals``; raises `ShapeError` or
        `DTypeError` for operands that do not fit. It is also the verifier's type check.
    impl : callable
        ``(*arrays, **params) -> array or tuple of arrays``: the meaning, in NumPy.
    params : mapping of str to ParamKind
        Names and types of the params, in print order.
    kind : Kind
        Elementwise primitives take operands of the result's shape or of rank 0.
    partials : tuple of callables, optional
        For elementwise primitives, one per operand: multiplies its first argument by
        the partial derivative with respect to that operand; serves both modes. `None`
        in place of a callable says that the derivative is zero.
    jvp, transpose : callable, optional
        Derivative of primitives that are not elementwise; `transpose` for those that
        are linear in some operands.
    linearity : Linearity
        With JOINT or MULTI the jvp follows from the primitive itself and `transpose`
        is required.
    linear_in : tuple of int
        The operands meant by `linearity`; empty means all.
    batch : BatchParams or callable, optional
        How the primitive is applied to a batch of operands. Those of kind ELEMENTWISE
        and REDUCE, and those that take no operands, need none.
    nondifferentiable : bool
        True when every derivative is zero or undefined (integer-valued results).
    flops : callable
        ``(in avals, out avals, params) -> float``: floating-point operations.
    effects : callable
        ``params -> frozenset of Effect``.
    variadic_results : bool
        True when `abstract_eval` and `impl` return tuples.
    expand : callable, optional
        ``(operand avals, params) -> graph`` of other primitives that means the same;
        the pass `expand` puts it in place, and it is differentiated where the primitive
        has no derivative of its own.
    run_by : callable, optional
        ``(evaluator, operands, params) -> results`` for primitives that hold graphs:
        how an evaluator runs these. What `impl` means, with any evaluator.

    Attributes
    ----------
    known_avals : dict
        What `out_avals` gave for elementwise operations without params.
    """

    name: str
    abstract_eval: Callable[..., ShapedArray | Avals]
    impl: Callable[..., Array | tuple[Array, ...]]
    params: Mapping[str, ParamKind] = field(default_factory=dict)
    kind: Kind = Kind.OTHER
    partials: tuple[Partial | None, ...] | None = None
    jvp: JvpRule | None = None
    transpose: TransposeRule | None = None
    linearity: Linearity = Linearity.NONE
    linear_in: tuple[int, ...] = ()
    batch: BatchParams | BatchRule | None = None
    nondifferentiable: bool = False
    flops: Callable[[Avals, Avals, Params], float] = lambda i, o, p: float(o[0].size)
    effects: Callable[[Params], frozenset[Effect]] = lambda p: frozenset()
    variadic_results: bool = False
    expand: "Callable[[Avals, Params], Graph] | None" = None
    run_by: RunBy | None = None
    known_avals: dict[Avals, Avals] = field(
        init=False, default_factory=dict, repr=False
    )

    @property
    def has_derivative(self) -> bool:
        """Whether the block says how it is differentiated."""
        return (
            self.nondifferentiable
            or self.partials is not None
            or self.jvp is not None
            or self.linearity is not Linearity.NONE
        )

    def out_avals(self, avals: Sequence[ShapedArray], params: Params) -> Avals:
        """Return the avals of the results as a tuple."""
        if params or self.kind is not Kind.ELEMENTWISE:
            out = self.abstract_eval(*avals, **params)
            return out if isinstance(out, tuple) else (out,)
        key = tuple(avals)
        known = self.known_avals.get(key)
        if known is None:
            out = self.abstract_eval(*avals)
            known = self.known_avals[key] = out if isinstance(out, tuple) else (out,)
        return known

    def evaluate(self, arrays: Sequence[Array], params: Params) -> tuple[Array, ...]:
        """Run `impl` and return the results as a tuple."""
        out = self.impl(*arrays, **params)
        return tuple(out) if self.variadic_results else (out,)  # type: ignore[return-value]

    def is_linear_in(self, index: int) -> bool:
        """Tell whether `linearity` covers operand `index`."""
        if self.linearity is Linearity.NONE:
            return False
        return not self.linear_in or index in self.linear_in

    def __repr__(self) -> str:
        return self.name


REGISTRY: dict[str, Primitive] = {}


def register(primitive: Primitive) -> Primitive:
    """Enter `primitive` in `REGISTRY` under its name, once."""
    if primitive.name in REGISTRY:
        raise InternalError(f"primitive {primitive.name!r} is declared twice")
    REGISTRY[primitive.name] = primitive
    return primitive
