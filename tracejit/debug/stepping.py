"""Running a function equation by equation: `interpret`, `watch`.

Needs a function and its arguments. The graph as traced, before any pass, runs in the
interpreter; each equation gives a `Step` with the user's line, its operands and its
results, in the bodies of loops too. `break_at` opens a prompt there.
"""

import cmd
import os
import sys
from bdb import BdbQuit
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, overload

import numpy as np

from .. import config
from ..api import JitFunction, jit
from ..errors import ArgumentError
from ..ir import interp
from ..ir.graph import Eqn, Graph, Literal, Var
from ..ir.interp import INTERPRETER, Follower
from ..ir.lines import is_derivative
from ..ir.primitive import Array
from ..stages import Traced
from ..tracing.source import file_of, source_text
from ..watched_call import graph_inputs

SHOWN = 6  # elements of a value on one line


@dataclass(frozen=True)
class Step:
    """One equation that ran.

    Parameters
    ----------
    number : int
        From 0, in the order of running.
    eqn : Eqn
    operands, results : tuple of numpy.ndarray
    path : tuple of tracejit.ir.interp.Step
        The equations around it, from the outermost: loops with their turns.
    """

    number: int
    eqn: Eqn
    operands: tuple[Array, ...]
    results: tuple[Array, ...]
    path: tuple[interp.Step, ...] = ()

    @property
    def line(self) -> str:
        """The user's line: ``"model.py:12"``; may be empty."""
        return self.eqn.source[0] if self.eqn.source else ""

    @property
    def source(self) -> str:
        """The text of that line."""
        return source_text(self.line)

    @property
    def operation(self) -> str:
        """The name of the primitive."""
        return self.eqn.primitive.name

    @property
    def in_gradient(self) -> bool:
        """Whether it computes a derivative of the line."""
        around = (s.eqn for s in self.path)
        return any(is_derivative(e.source) for e in (self.eqn, *around))

    @property
    def turns(self) -> tuple[int, ...]:
        """The turns of the loops around it, from the outermost; from 0."""
        return tuple(s.part.turn for s in self.path if s.part.turn >= 0)

    def as_text(self) -> str:
        """Return it on one line, with its results."""
        where = self.line or "-"
        marks = " (gradient)" if self.in_gradient else ""
        if self.turns:
            marks += f" (turn {'.'.join(map(str, self.turns))})"
        names = [v.name or "_" for v in self.eqn.outvars]
        pairs = zip(names, self.results, strict=True)
        values = "; ".join(f"{name} = {value_text(x)}" for name, x in pairs)
        return f"{self.number:4}  {where}{marks}  {self.operation}  {values}"


@dataclass(frozen=True)
class Interpretation:
    """All steps of one run, and the outputs of the graph.

    Parameters
    ----------
    graph : Graph
    steps : tuple of Step
    outputs : tuple of numpy.ndarray
    """

    graph: Graph
    steps: tuple[Step, ...]
    outputs: tuple[Array, ...]

    def __iter__(self) -> Iterator[Step]:
        return iter(self.steps)

    def __len__(self) -> int:
        return len(self.steps)

    def as_text(self) -> str:
        """Return a line per step."""
        return "\n".join(step.as_text() for step in self.steps)

    def __repr__(self) -> str:
        return f"<{len(self.steps)} steps of @{self.graph.name}>\n{self.as_text()}"


@overload
def interpret() -> AbstractContextManager[None]: ...
@overload
def interpret(
    fn: Callable[..., Any], *args: Any, break_at: str | None = None, **kwargs: Any
) -> Interpretation: ...
def interpret(
    fn: Callable[..., Any] | None = None,
    *args: Any,
    break_at: str | None = None,
    **kwargs: Any,
) -> Interpretation | AbstractContextManager[None]:
    """Run functions step by step: as Python in a block, or one by its equations.

    ``with interpret():`` has jitted functions run as the plain NumPy that they are, so
    that ``pdb`` and ``breakpoint()`` stop at their lines, and all values are there. The
    switch ``interpret`` (``TRACEJIT_INTERPRET=1``) does it for a process.

    ``interpret(fn, *args)`` traces a function and runs its graph in the interpreter:
    gradients and batches too, which have no Python code of their own.

    Parameters
    ----------
    fn : callable, optional
        Jitted or not.
    *args, **kwargs
        Of a call. They are not written to.
    break_at : str, optional
        A line, ``"model.py:12"``, at each equation of which a prompt opens; ``"all"``
        stops at every equation. ``help`` there lists what it understands; leaving it
        by ``quit`` raises `bdb.BdbQuit`.

    Returns
    -------
    Interpretation
        Its steps, with their values; or a context manager.

    Examples
    --------
    >>> for step in interpret(lambda x: np.sqrt(x) + 1, np.array([4.0])):
    ...     print(step.operation, step.results[0])
    sqrt [2.]
    add [3.]
    """
    if fn is None:
        return _in_python()
    if break_at is None:
        return _run(fn, args, kwargs, None)
    if break_at != "all" and not break_at.rpartition(":")[2].isdecimal():
        raise ArgumentError(
            f"break_at is {break_at!r}, which is no line",
            hint='write "model.py:12", or "all"',
        )
    prompt = _Prompt(break_at)
    return _run(fn, args, kwargs, prompt.see)


@contextmanager
def _in_python() -> Iterator[None]:
    with config.override(interpret=True):
        yield


def watch(
    line: str | int, fn: Callable[..., Any], *args: Any, **kwargs: Any
) -> list[Step]:
    """Return what is computed at a line, in the order of computing.

    Parameters
    ----------
    line : str or int
        ``"model.py:12"``, or the number alone.
    fn : callable
        Jitted or not.
    *args, **kwargs
        Of a call. They are not written to.

    Raises
    ------
    ArgumentError
        If nothing is computed there; says which lines there are.
    """
    steps = _run(fn, args, kwargs, None).steps
    found = [s for s in steps if any(is_at(x, line) for x in s.eqn.source)]
    if not found:
        lines = sorted({x for s in steps for x in s.eqn.source}, key=_by_number)
        raise ArgumentError(
            f"nothing is computed at {line}",
            hint=f"one of {', '.join(lines) or 'no lines: the graph has none'}",
        )
    return found


def is_at(source: str, line: str | int) -> bool:
    """Tell whether a user line is the one that is asked for."""
    number = source.rpartition(":")[2]
    path = f"{file_of(source)}:{number}"
    return str(line) in (source, number, path) or path.endswith(f"{os.sep}{line}")


def _by_number(line: str) -> tuple[str, int]:
    name, _, number = line.rpartition(":")
    return name, int(number) if number.isdecimal() else 0


def traced_with_inputs(
    fn: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[Traced, list[Array]]:
    """Trace a function; return the trace, and copies of the graph's inputs."""
    jitted: JitFunction = fn if isinstance(fn, JitFunction) else jit(fn)
    traced = jitted.trace(*args, **kwargs)
    leaves = jitted.leaves_of(*args, **kwargs)
    return traced, graph_inputs(traced.recording, leaves, range(len(leaves)))


def _run(
    fn: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    see: "Callable[[Step, Mapping[str, Array]], None] | None",
) -> Interpretation:
    traced, inputs = traced_with_inputs(fn, args, kwargs)
    return run_steps(traced.graph, inputs, see)


def run_steps(
    graph: Graph,
    inputs: Sequence[Array],
    see: "Callable[[Step, Mapping[str, Array]], None] | None" = None,
) -> Interpretation:
    """Run a graph in the interpreter and keep every step.

    Parameters
    ----------
    graph : Graph
    inputs : sequence of numpy.ndarray
    see : callable, optional
        Called after each step, with the named values so far.
    """
    stepper = Stepper(see)
    for var, value in zip(graph.invars, inputs, strict=True):
        if var.name:
            stepper.names[var.name] = value
    outputs = stepper.run(graph, inputs)
    return Interpretation(graph, tuple(stepper.steps), outputs)


class Stepper(Follower[Array]):
    """The interpreter, which keeps each step.

    Parameters
    ----------
    see : callable, optional
        Called after each step, with the named values so far.
    """

    def __init__(
        self, see: Callable[[Step, Mapping[str, Array]], None] | None = None
    ) -> None:
        super().__init__()
        self.steps: list[Step] = []
        self.names: dict[str, Array] = {}
        self._see = see

    def compute(self, eqn: Eqn, ins: Sequence[Array]) -> Sequence[Array]:
        """Return the results of one equation, and keep the step."""
        outs = tuple(map(np.asarray, eqn.primitive.evaluate(ins, eqn.params)))
        step = Step(len(self.steps), eqn, tuple(ins), outs, tuple(self.path))
        self.steps.append(step)
        for var, out in zip(eqn.outvars, outs, strict=True):
            if var.name:
                self.names[var.name] = out
        if self._see is not None:
            self._see(step, self.names)
        return outs

    def literal(self, x: Literal) -> Array:
        """Return the value of a literal."""
        return INTERPRETER.literal(x)

    def checked(self, value: Array, var: Var, what: str) -> Array:
        """Return a value as an array of the variable's aval."""
        return INTERPRETER.checked(value, var, what)

    def is_true(self, value: Array) -> bool:
        """Tell whether a boolean holds."""
        return INTERPRETER.is_true(value)

    def row(self, value: Array, index: int) -> Array:
        """Return one slice along axis 0."""
        return INTERPRETER.row(value, index)

    def stacked(self, rows: Sequence[Array], aval: Any) -> Array:
        """Return slices stacked along a new axis 0."""
        return INTERPRETER.stacked(rows, aval)


def value_text(value: Array) -> str:
    """Return a value on one line: its type, and its first elements."""
    flat = np.asarray(value).reshape(-1)
    shown = " ".join(f"{x:.6g}" if _is_real(x) else str(x) for x in flat[:SHOWN])
    more = " ..." if flat.size > SHOWN else ""
    if not value.ndim:
        return f"{shown} ({value.dtype})"
    shape = ",".join(map(str, value.shape))
    return f"{value.dtype}[{shape}] {shown}{more}"


def _is_real(x: Any) -> bool:
    return np.asarray(x).dtype.kind == "f"


# --- the prompt -------------------------------------------------------------------


class _Prompt(cmd.Cmd):
    """What opens at a line: looks at values, and goes on."""

    prompt = "(tracejit) "

    def __init__(self, line: str) -> None:
        super().__init__(stdin=sys.stdin, stdout=sys.stdout)
        self.use_rawinput = sys.stdin.isatty()
        self._line = line
        self._every = line == "all"
        self._step: Step | None = None
        self._names: Mapping[str, Array] = {}

    def see(self, step: Step, names: Mapping[str, Array]) -> None:
        """Open at a step of the line; `names` are the values so far."""
        if not self._every and not any(is_at(x, self._line) for x in step.eqn.source):
            return
        self._step, self._names = step, names
        self.stdout.write(f"> {step.line}  {step.source}\n{step.as_text()}\n")
        self.cmdloop()

    def emptyline(self) -> bool:
        """Do nothing."""
        return False

    def default(self, line: str) -> None:
        """Evaluate an expression of the values that have names."""
        assert self._step is not None
        scope = {
            **self._names,
            "operands": self._step.operands,
            "results": self._step.results,
            "np": np,
        }
        try:
            value = eval(line, {}, scope)
        except Exception as error:  # of what the user typed
            value = f"{type(error).__name__}: {error}"
        self.stdout.write(f"{value}\n")

    def do_print(self, line: str) -> None:
        """Print EXPR: evaluate an expression; also without the word print."""
        self.default(line)

    def do_names(self, line: str) -> None:
        """List the values that have names, as your variables are called."""
        for name, value in self._names.items():
            self.stdout.write(f"{name} = {value_text(value)}\n")

    def do_where(self, line: str) -> None:
        """Show the step again, and the loops and calls around it."""
        assert self._step is not None
        for around in self._step.path:
            turn = f", turn {around.part.turn}" if around.part.turn >= 0 else ""
            at = around.eqn.source[0] if around.eqn.source else "-"
            self.stdout.write(f"in {around.eqn.primitive.name} at {at}{turn}\n")
        self.stdout.write(f"{self._step.as_text()}\n")

    def do_next(self, line: str) -> bool:
        """Go to the next equation, of whichever line."""
        self._every = True
        return True

    def do_continue(self, line: str) -> bool:
        """Go on to the next equation of the line that was asked for."""
        self._every = self._line == "all"
        return True

    def do_quit(self, line: str) -> bool:
        """Stop the run, with `bdb.BdbQuit`."""
        raise BdbQuit

    do_p, do_n, do_c, do_w, do_q = do_print, do_next, do_continue, do_where, do_quit
    do_EOF = do_quit  # the name that `cmd` gives to the end of stdin
