"""NaN and inf explained: the user's line, what it computed, of what, and what to try.

Needs `ir.origins`, which finds the equation. Establishes `Finding`, the same as text
and as JSON, and `NonFiniteError`s that carry one.
"""

from collections.abc import Sequence

import numpy as np

from ..errors import NonFiniteError
from ..ir.graph import Eqn, Graph
from ..ir.interp import Part
from ..ir.lines import batches_of, is_derivative
from ..ir.ops.elementwise import select_p
from ..ir.origins import Fault, Found, Operand, find_origin, is_bad
from ..ir.primitive import Kind
from ..records import dataclass
from .nonfinite_hints import hint_for
from .source import source_text

__all__ = ["Finding", "explain_nonfinite", "is_bad"]

_SIGNS = {"add": "+", "sub": "-", "mul": "*", "div": "/", "pow": "**"}
_COLUMN = 11


@dataclass(frozen=True)
class Finding:
    """Where a NaN or inf comes from, in words.

    Parameters
    ----------
    function : str
        Which gave it.
    graph : Graph
        As traced.
    found : Found
    """

    function: str
    graph: Graph
    found: Found

    @property
    def fault(self) -> Fault | None:
        """The equation that made it; None if an argument or a constant held it."""
        return self.found.origin.fault

    @property
    def line(self) -> str:
        """The user's line, ``"file.py:12"``; empty if none made it."""
        if self.fault is None:
            return ""
        eqns = [self.fault.eqn, *(s.eqn for s in reversed(self.fault.path))]
        return next((e.source[0] for e in eqns if e.source), "")

    @property
    def in_gradient(self) -> bool:
        """Whether the line made it in its derivative, not in its value."""
        return self.found.origin.in_derivative

    @property
    def turns(self) -> tuple[int, ...]:
        """The turns of the loops around it, from the outermost; from 0."""
        path = () if self.fault is None else self.fault.path
        return tuple(_turn(s.eqn, s.part) for s in path if s.part.turn >= 0)

    @property
    def example(self) -> tuple[int, ...]:
        """Which example of each `vmap` around it, from the outermost."""
        if self.fault is None:
            return ()
        sizes = batches_of(self.fault.eqn.source)
        shape = self.fault.eqn.outvars[self.fault.result].aval.shape
        return self.fault.index[: len(sizes)] if shape[: len(sizes)] == sizes else ()

    @property
    def hint(self) -> str:
        """The next thing to try."""
        if self.fault is None:
            return "look at what the function is given; np.isfinite(x).all() tells"
        at_line = [
            e.primitive.name
            for e in _all_equations(self.graph)
            if self.line in e.source and not is_derivative(e.source)
        ]
        hides = any(e.primitive is select_p for e in _all_equations(self.graph))
        return hint_for(self.found.origin, at_line, hides)

    @property
    def summary(self) -> str:
        """What happened, in one line."""
        gave = f"{self.function} gave {_name(self.found.value)}"
        if self.fault is None:
            return f"{gave}: {self._given()}"
        where = self.line or "a line that is not known"
        if self.in_gradient:
            where = f"the gradient of {where}"
        return f"{gave}: {_name(self.fault.value)} was first made in {where}"

    def _given(self) -> str:
        origin = self.found.origin
        at = f" at {_index(origin.index)}" if origin.index else ""
        if origin.input < 0:
            return f"a constant holds {_name(origin.value)}{at}"
        name = self.graph.invars[origin.input].name or f"input {origin.input}"
        return f"{name}, which it was given, holds {_name(origin.value)}{at}"

    def rows(self) -> list[tuple[str, str]]:
        """Return the details, each with its title."""
        fault, found = self.fault, self.found
        if fault is None:
            return [("result", _place(found.output, found.index, found.count))]
        rows = []
        if self.line:
            rows.append((self.line, source_text(self.line)))
        rows.append(("operation", _operation(fault)))
        rows.append(("element", _element(fault)))
        rows += [("operand", text) for text in _ranges(fault)]
        rows += [("inside", text) for s in fault.path if (text := _part(s.eqn, s.part))]
        if self.example:
            rows.append(("example", f"{_index(self.example)} of vmap"))
        if found.origin.became is not None:
            rows.append(("then", f"NaN in {_reached(found.origin.became)}"))
        elif found.origin.slope is not None:
            rows.append(("then", f"read in {_reached(found.origin.slope)}"))
        rows.append(("result", _place(found.output, found.index, found.count)))
        return rows

    def as_text(self) -> str:
        """Return the finding in lines."""
        width = max(_COLUMN, *(len(title) for title, _ in self.rows()))
        details = [f"  {title:{width}}  {text}".rstrip() for title, text in self.rows()]
        return "\n".join([self.summary, *details])

    def as_json(self) -> dict[str, object]:
        """Return the finding as numbers and texts."""
        fault = self.fault
        return {
            "function": self.function,
            "summary": self.summary,
            "line": self.line or None,
            "source": source_text(self.line) if self.line else None,
            "in_gradient": self.in_gradient,
            "operation": None if fault is None else fault.eqn.primitive.name,
            "index": None if fault is None else list(fault.index),
            "value": None if fault is None else _number(fault.value),
            "count": None if fault is None else fault.count,
            "operands": []
            if fault is None
            else [_operand_json(x) for x in fault.operands],
            "turns": list(self.turns),
            "example": list(self.example),
            "output": self.found.output,
            "hint": self.hint,
        }

    def error(self) -> NonFiniteError:
        """Return it as the error to raise."""
        error = NonFiniteError(self.as_text(), hint=self.hint)
        error.finding = self
        return error


def explain_nonfinite(
    function: str, graph: Graph, inputs: Sequence[np.ndarray], nans_only: bool
) -> Finding | None:
    """Run a graph in the interpreter; say what made its outputs NaN, or inf.

    Parameters
    ----------
    function : str
        Its name, for the message.
    graph : Graph
        As traced.
    inputs : sequence of numpy.ndarray
    nans_only : bool
        Whether infinities among the outputs are left alone.
    """
    arrays = [
        np.asarray(x, a.dtype) for x, a in zip(inputs, graph.in_avals, strict=True)
    ]
    found = find_origin(graph, arrays, nans_only)
    return None if found is None else Finding(function, graph, found)


def _all_equations(graph: Graph) -> Sequence[Eqn]:
    found = list(graph.eqns)
    for eqn in found:
        for value in eqn.params.values():
            if isinstance(value, Graph):
                found += value.eqns
    return found


# --- in words ---------------------------------------------------------------------


def _name(value: object) -> str:
    if np.isnan(value):  # type: ignore[call-overload]
        return "NaN"
    return str(_number(value))


def _number(value: object) -> object:
    """Return a number as text shows it, with no more digits than help."""
    if isinstance(value, np.bool_ | bool):
        return bool(value)
    if isinstance(value, np.integer | int):
        return int(value)
    if np.asarray(value).dtype.kind == "c":
        return str(value)
    return f"{float(value):.6g}"  # type: ignore[arg-type]


def _index(index: Sequence[int]) -> str:
    return f"[{', '.join(map(str, index))}]"


def _place(output: int, index: Sequence[int], count: int) -> str:
    at = f" at {_index(index)}" if index else ""
    more = f"; {count} such elements" if count > 1 else ""
    return f"output {output}{at}{more}"


def _operation(fault: Fault) -> str:
    ins = ", ".join(str(x.aval) for x in fault.operands)
    outs = ", ".join(str(v.aval) for v in fault.eqn.outvars)
    return f"{fault.eqn.primitive.name} {ins} -> {outs}"


def _element(fault: Fault) -> str:
    at = _index(fault.index) + ": " if fault.index else ""
    size = fault.eqn.outvars[fault.result].aval.size
    count = f"; {fault.count} of {size} elements" if size > 1 else ""
    return f"{at}{_formula(fault)}{count}"


def _formula(fault: Fault) -> str:
    name = fault.eqn.primitive.name
    value = _number(fault.value)
    if fault.eqn.primitive.kind is not Kind.ELEMENTWISE:
        return f"{name} gave {value}"
    values = [str(_number(x.value)) for x in fault.operands]
    if name in _SIGNS and len(values) == 2:
        return f"{values[0]} {_SIGNS[name]} {values[1]} = {value}"
    return f"{name}({', '.join(values)}) = {value}"


def _ranges(fault: Fault) -> list[str]:
    """Say what operands hold whose elements are not known one by one."""
    return [
        f"{x.aval}: {_range(x)}"
        for x in fault.operands
        if x.aval.ndim and x.aval.dtype.kind != "b"
    ]


def _range(x: Operand) -> str:
    bad = f", {x.bad} not finite" if x.bad else ""
    if x.low is None:
        return f"no finite elements{bad}" if x.bad else "finite"
    return f"from {_number(x.low)} to {_number(x.high)}{bad}"


def _turn(eqn: Eqn, part: Part) -> int:
    """Return the turn of the loop as the user wrote it: gradients run backwards."""
    length = eqn.params.get("length")
    if is_derivative(eqn.source) and eqn.params.get("reverse"):
        assert isinstance(length, int)
        return length - 1 - part.turn
    return part.turn


def _part(eqn: Eqn, part: Part) -> str:
    at = f" at {eqn.source[0]}" if eqn.source else ""
    if part.turn >= 0:
        name = "the test of the loop" if part.name == "test" else "the loop"
        return f"turn {_turn(eqn, part)} of {name}{at}, counted from 0"
    branches = {"on_true": "true", "on_false": "false"}
    if part.name in branches:
        return f"the branch of cond{at} for {branches[part.name]}"
    return ""


def _reached(fault: Fault) -> str:
    line = fault.eqn.source[0] if fault.eqn.source else "a line that is not known"
    around = (s.eqn for s in fault.path)
    is_slope = any(is_derivative(e.source) for e in (fault.eqn, *around))
    where = f"the gradient of {line}" if is_slope else line
    return f"{where}: {_formula(fault)}"


def _operand_json(x: Operand) -> dict[str, object]:
    return {
        "type": str(x.aval),
        "value": None if x.value is None else _number(x.value),
        "low": None if x.low is None else _number(x.low),
        "high": None if x.high is None else _number(x.high),
        "not_finite": x.bad,
    }
