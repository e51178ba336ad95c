"""The interpreter: runs a graph in NumPy, the meaning every other path must keep.

An `Evaluator` walks equations in their order; what it computes with, and what it does
at each equation, is up to the class. Primitives that hold graphs say how these are run
(`Primitive.run_by`), so that one walk serves the interpreter, those who watch values,
and those who follow more than values.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from ..errors import InternalError, locate
from .aval import ShapedArray
from .graph import Atom, Eqn, Graph, Literal, Var
from .primitive import Array, Param, RunBy

V = TypeVar("V")


class Part(NamedTuple):
    """Which graph of an equation is run.

    Parameters
    ----------
    name : str
        The param that holds it.
    turn : int
        Of a loop, in the order of turns; -1 if it is none.
    """

    name: str
    turn: int = -1


WHOLE = Part("")


class Evaluator(ABC, Generic[V]):
    """Runs graphs on values of one type, equation by equation."""

    def run(self, graph: Graph, args: Sequence[V], part: Part = WHOLE) -> tuple[V, ...]:
        """Run `graph` on `args`, one per input; return one value per output."""
        env: dict[Var, V] = {}
        for var, arg in zip(graph.invars, args, strict=True):
            env[var] = self.checked(arg, var, f"argument of @{graph.name}")

        def read(x: Atom) -> V:
            return env[x] if isinstance(x, Var) else self.literal(x)

        with np.errstate(all="ignore"):
            for eqn in graph.eqns:
                try:
                    outs = self.apply(eqn, [read(x) for x in eqn.invars])
                except Exception as error:
                    locate(error, eqn.source)
                    raise
                for var, out in zip(eqn.outvars, outs, strict=True):
                    env[var] = self.checked(out, var, eqn.primitive.name)
        return tuple(read(x) for x in graph.outvars)

    @abstractmethod
    def apply(self, eqn: Eqn, ins: Sequence[V]) -> Sequence[V]:
        """Return the results of one equation."""

    @abstractmethod
    def literal(self, x: Literal) -> V:
        """Return the value of a literal."""

    @abstractmethod
    def checked(self, value: V, var: Var, what: str) -> V:
        """Return a value of the variable's aval, or raise `InternalError`."""

    @abstractmethod
    def is_true(self, value: V) -> bool:
        """Tell whether a boolean holds."""

    @abstractmethod
    def row(self, value: V, index: int) -> V:
        """Return one slice along axis 0."""

    @abstractmethod
    def stacked(self, rows: Sequence[V], aval: ShapedArray) -> V:
        """Return slices of `aval` stacked along a new axis 0."""


class Step(NamedTuple):
    """An equation that holds what is running, and which of its graphs that is."""

    eqn: Eqn
    part: Part


class Follower(Evaluator[V]):
    """An evaluator that knows where it is; of one run of one thread.

    Attributes
    ----------
    path : list of Step
        The equations around the one that runs, from the outermost.
    """

    def __init__(self) -> None:
        self.path: list[Step] = []
        self._around: list[Eqn] = []

    def run(self, graph: Graph, args: Sequence[V], part: Part = WHOLE) -> tuple[V, ...]:
        """Run a graph, and note where it stands."""
        if part is WHOLE:
            return super().run(graph, args)
        self.path.append(Step(self._around[-1], part))
        try:
            return super().run(graph, args)
        finally:
            self.path.pop()

    def apply(self, eqn: Eqn, ins: Sequence[V]) -> Sequence[V]:
        """Return the results of one equation, from its graphs if it has any."""
        if eqn.primitive.run_by is None:
            return self.compute(eqn, ins)
        self._around.append(eqn)
        try:
            return eqn.primitive.run_by(self, ins, eqn.params)
        finally:
            self._around.pop()

    @abstractmethod
    def compute(self, eqn: Eqn, ins: Sequence[V]) -> Sequence[V]:
        """Return the results of an equation that holds no graphs."""


class Interpreter(Evaluator[Array]):
    """Runs graphs on arrays by each primitive's `impl`."""

    def apply(self, eqn: Eqn, ins: Sequence[Array]) -> Sequence[Array]:
        """Return the results of one equation."""
        run_by = eqn.primitive.run_by
        if run_by is not None:
            return run_by(self, ins, eqn.params)
        return eqn.primitive.evaluate(ins, eqn.params)

    def literal(self, x: Literal) -> Array:
        """Return the value of a literal."""
        return np.asarray(x.value)

    def checked(self, value: Array, var: Var, what: str) -> Array:
        """Return a value as an array of the variable's aval."""
        value = np.asarray(value)
        if value.shape != var.aval.shape or value.dtype != var.aval.dtype:
            raise InternalError(
                f"{what} gave {value.dtype}{list(value.shape)}, expected {var.aval}"
            )
        return value

    def is_true(self, value: Array) -> bool:
        """Tell whether a boolean holds."""
        return bool(np.asarray(value)[()])

    def row(self, value: Array, index: int) -> Array:
        """Return one slice along axis 0."""
        return np.asarray(value[index])

    def stacked(self, rows: Sequence[Array], aval: ShapedArray) -> Array:
        """Return slices stacked along a new axis 0."""
        out = np.empty((len(rows), *aval.shape), aval.dtype)
        for i, row in enumerate(rows):
            out[i] = row
        return out


INTERPRETER = Interpreter()


def evaluate(graph: Graph, args: Sequence[Array]) -> tuple[Array, ...]:
    """Run `graph` on `args` by each primitive's `impl`.

    Parameters
    ----------
    graph : Graph
    args : sequence of array_like
        One per input, of exactly the input's shape and dtype.

    Returns
    -------
    tuple of numpy.ndarray
        One per output; a fresh array or an input.

    Raises
    ------
    InternalError
        When an argument or a result does not have the aval it must have.
    """
    return INTERPRETER.run(graph, args)


def interpreted(run_by: RunBy) -> Callable[..., tuple[Array, ...]]:
    """Return the `impl` of a primitive whose graphs are run as `run_by` says."""

    def impl(*arrays: Array, **params: Param) -> tuple[Array, ...]:
        return tuple(run_by(INTERPRETER, arrays, params))

    return impl
