"""`tj.debug.compare`: the first equation at which two runs part.

Needs two runs of one function, or of two: other arguments, other switches, compiled
code beside the interpreter. Establishes a `Divergence`, with the user's line.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from typing import Any

import ml_dtypes
import numpy as np

from .. import config
from ..errors import ArgumentError
from ..ir import dtypes as dt
from ..ir.graph import Eqn, Graph, Var
from ..ir.primitive import Array
from ..stages import Traced
from ..tracing.record import OutputLeaf
from ..tracing.source import source_text
from ..tracing.storage import Kind
from ..tracing.tree import flatten
from .stepping import Step, run_steps, traced_with_inputs, value_text


@dataclass(frozen=True)
class Divergence:
    """Where two runs part.

    Parameters
    ----------
    eqn : Eqn, optional
        The first equation whose results differ; None if only an output does.
    index : tuple of int
        Of the element that differs most there.
    first, second : numpy.ndarray
        What the runs gave.
    names : tuple of str
        What the runs are called.
    turns : tuple of int
        The turns of the loops around it.
    note : str
        What is known besides.
    """

    eqn: Eqn | None
    index: tuple[int, ...]
    first: Array
    second: Array
    names: tuple[str, str]
    turns: tuple[int, ...] = ()
    note: str = ""

    @property
    def line(self) -> str:
        """The user's line: ``"model.py:12"``; may be empty."""
        return self.eqn.source[0] if self.eqn is not None and self.eqn.source else ""

    def as_text(self) -> str:
        """Return it in lines."""
        what = "an output" if self.eqn is None else self.eqn.primitive.name
        where = f" at {self.line}" if self.line else ""
        turns = f", turn {'.'.join(map(str, self.turns))}" if self.turns else ""
        rows = [f"the runs part in {what}{where}{turns}"]
        if source_text(self.line):
            rows.append(f"  {source_text(self.line)}")
        rows += self._values()
        return "\n".join([*rows, *([f"  {self.note}"] if self.note else [])])

    def _values(self) -> Iterator[str]:
        width = max(map(len, self.names))
        for name, x in zip(self.names, (self.first, self.second), strict=True):
            yield f"  {name:{width}}  {value_text(x)}"
        if self.first.shape == self.second.shape and self.index:
            one, two = self.first[self.index], self.second[self.index]
            yield f"  most at {list(self.index)}: {one} and {two}"

    def __repr__(self) -> str:
        return self.as_text()


def compare(
    fn: Callable[..., Any],
    args: Sequence[Any],
    other_args: Sequence[Any] | None = None,
    *,
    other: Callable[..., Any] | None = None,
    switches: Mapping[str, Any] | None = None,
    rtol: float | None = None,
) -> Divergence | None:
    """Return where two runs part first; None if they agree.

    With arguments alone, the compiled code runs beside the interpreter of the graph as
    traced. `other_args` runs the function twice in the interpreter; `other` runs two
    functions; `switches` compiles twice, as things are and with these switches.

    Parameters
    ----------
    fn : callable
        Jitted or not.
    args, other_args : sequence
        Positional arguments; they are not written to.
    other : callable, optional
        Called with `other_args`, or with `args`.
    switches : mapping, optional
        As for `tracejit.config.override`: ``{"fma": False}``.
    rtol : float, optional
        What may differ, as a part of the largest finite number of a value. By default
        what rounding does: 2/3 of the digits must agree.

    Returns
    -------
    Divergence or None

    Examples
    --------
    >>> f = lambda x: np.exp(x) + 1
    >>> compare(f, [np.ones(2)]) is None
    True
    >>> compare(f, [np.ones(2)], [np.array([1.0, 2.0])]).eqn.primitive.name
    'exp'
    """
    if switches is not None and (other is not None or other_args is not None):
        raise ArgumentError(
            "compare takes other switches, or another function or arguments, not both"
        )
    if other is None and other_args is None:
        return _compiled(fn, args, switches, rtol)
    second = fn if other is None else other
    one = _steps(fn, args)
    two = _steps(second, args if other_args is None else other_args)
    names = ("first", "second")
    for x, y in _matched(one, two):
        found = _parting(x, y, names, rtol)
        if found is not None:
            return found
    return None


# --- two runs of the interpreter --------------------------------------------------


def _steps(fn: Callable[..., Any], args: Sequence[Any]) -> tuple[Step, ...]:
    traced, inputs = traced_with_inputs(fn, args, {})
    return run_steps(traced.graph, inputs).steps


def _matched(one: Sequence[Step], two: Sequence[Step]) -> Iterator[tuple[Step, Step]]:
    """Pair the steps that do the same, in order."""
    keys = [list(map(_key, steps)) for steps in (one, two)]
    if keys[0] == keys[1]:
        yield from zip(one, two, strict=True)
        return
    matcher = SequenceMatcher(None, keys[0], keys[1], autojunk=False)
    for block in matcher.get_matching_blocks():
        yield from zip(
            one[block.a : block.a + block.size],
            two[block.b : block.b + block.size],
            strict=True,
        )


def _key(step: Step) -> str:
    return f"{step.operation} {[(x.shape, str(x.dtype)) for x in step.results]}"


def _parting(
    x: Step, y: Step, names: tuple[str, str], rtol: float | None
) -> Divergence | None:
    for one, two in zip(x.results, y.results, strict=True):
        index = differs(one, two, rtol)
        if index is not None:
            return Divergence(x.eqn, index, one, two, names, x.turns)
    return None


def differs(one: Array, two: Array, rtol: float | None) -> tuple[int, ...] | None:
    """Return where two arrays differ most, if they do beyond rounding."""
    if one.shape != two.shape or one.dtype != two.dtype:
        return ()
    if not one.size:
        return None
    if not dt.is_inexact(one.dtype):
        wrong = np.asarray(one != two).astype(float)
    else:
        wrong = _beyond(one, two, rtol)
    worst = int(np.argmax(wrong))
    if not wrong.reshape(-1)[worst]:
        return None
    return tuple(int(i) for i in np.unravel_index(worst, one.shape))


def _beyond(one: Array, two: Array, rtol: float | None) -> Array:
    """Return how far elements are apart where that is beyond rounding, else 0."""
    wide = np.complex128 if one.dtype.kind == "c" else np.float64
    a, b = one.astype(wide), two.astype(wide)
    if rtol is None:
        of = ml_dtypes if one.dtype in dt.OF_ML_DTYPES else np
        rtol = 2.0 ** (-2 * of.finfo(one.dtype).nmant / 3)
    finite = np.isfinite(a) & np.isfinite(b)
    with np.errstate(all="ignore"):
        size = np.max(np.abs(a[finite]), initial=0.0)
        apart = np.where(finite, np.abs(a - b), 0.0)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    wrong = np.where(finite, np.where(apart > rtol * size, apart, 0.0), np.inf)
    return np.where(same, 0.0, wrong)


# --- compiled code ----------------------------------------------------------------


def _compiled(
    fn: Callable[..., Any],
    args: Sequence[Any],
    switches: Mapping[str, Any] | None,
    rtol: float | None,
) -> Divergence | None:
    traced, inputs = traced_with_inputs(fn, args, {})
    graph = traced.graph
    wanted = _run_as(graph, traced, inputs, None if switches is None else {})
    got = _run_as(graph, traced, inputs, switches or {})
    names = ("interpreter", "compiled")
    if switches is not None:
        changed = ", ".join(f"{k}={v}" for k, v in switches.items())
        names = ("as it is", changed)
    bad = _first_output(got, wanted, rtol)
    if bad is None:
        return None
    whole = exposed(graph)
    one = _run_as(whole, traced, inputs, None if switches is None else {})
    two = _run_as(whole, traced, inputs, switches or {})
    made = [(e, v) for e in graph.eqns for v in e.outvars]
    for (eqn, _), x, y in zip(made, one, two, strict=True):
        index = differs(x, y, rtol)
        if index is not None:
            return Divergence(eqn, index, x, y, names)
    index, k = bad
    note = (
        "no equation alone does it: when each value is an output too, the runs agree; "
        "`tracejit bisect` finds the rewrite"
    )
    return Divergence(None, index, wanted[k], got[k], names, (), note)


def _first_output(
    got: Sequence[Array], wanted: Sequence[Array], rtol: float | None
) -> tuple[tuple[int, ...], int] | None:
    for k, (x, y) in enumerate(zip(wanted, got, strict=True)):
        index = differs(x, y, rtol)
        if index is not None:
            return index, k
    return None


def exposed(graph: Graph) -> Graph:
    """Return the graph with the results of all its equations as outputs."""
    outs: list[Var] = [v for e in graph.eqns for v in e.outvars]
    return Graph(graph.name, graph.invars, outs, graph.eqns)


def _run_as(
    graph: Graph,
    traced: Traced,
    inputs: Sequence[Array],
    switches: Mapping[str, Any] | None,
) -> tuple[Array, ...]:
    """Run a graph compiled with switches, or in the interpreter without."""
    copies = [np.array(x) for x in inputs]
    if switches is None:
        return run_steps(graph, copies).outputs
    with config.override(**switches):
        compiled = Traced(
            _plain_recording(graph, traced),
            tuple(None for _ in graph.invars),
        ).compile()
        outs = compiled.executable.run(copies)
    assert all(x is not None for x in outs)
    return tuple(outs)


def _plain_recording(graph: Graph, traced: Traced) -> Any:
    """Return a recording of a graph that gives its outputs, and writes nothing."""
    results = tuple(OutputLeaf(k, Kind.ARRAY) for k in range(len(graph.outvars)))
    spec = flatten(tuple(range(len(results))))[1]
    return replace(
        traced.recording,
        graph=graph,
        writes=(),
        results=results,
        spec=spec,
        changes=(),
    )
