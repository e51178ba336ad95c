"""The text form `.tir`: a type on every binder, params by kind, source lines.

What is printed here is parsed by `parser`; a test proves the round trip.
"""

import re
from collections.abc import Iterable, Mapping

import numpy as np

from .dtypes import COMPLEX, FLOAT32, FLOATS, INTEGERS, dtype_name
from .graph import Atom, Eqn, Graph, Var
from .primitive import ArrayConstant, Param, Params

Scalar = np.generic | np.ndarray  # `x[()]` is typed as an array
_UNPRINTABLE = re.compile(r"[^A-Za-z0-9_.]")
DENSE_LIMIT = 64  # elements written out one by one; more are written as hex


def format_graph(graph: Graph, indent: str = "") -> str:
    """Return `graph` as text.

    Parameters
    ----------
    graph : Graph
    indent : str
        Put before every line.

    Examples
    --------
    ``graph @f(%x: f32[3]) -> (f32[3]) { ... }``
    """
    return GraphPrinter(indent).graph(graph)


def format_scalar(value: Scalar, dtype: np.dtype) -> str:
    """Return the shortest text that parses back to the same bits."""
    if dtype in FLOATS:
        return _format_float(value, dtype)
    if dtype in COMPLEX:
        half = np.dtype(np.float32 if dtype.itemsize == 8 else np.float64)
        parts = (_format_float(half.type(p), half) for p in (value.real, value.imag))
        return f"complex({', '.join(parts)})"
    if dtype in INTEGERS:
        return str(int(value))
    return "true" if value else "false"


def _format_float(value: Scalar, dtype: np.dtype) -> str:
    if np.isnan(value):
        if value.tobytes() == np.asarray(np.nan, dtype).tobytes():
            return "nan"
        return f"bits(0x{value.tobytes()[::-1].hex()})"
    if dtype != FLOAT32:
        return repr(float(value))
    return str(np.float32(value))


def format_array(constant: ArrayConstant) -> str:
    """Return an array constant as ``dense<f32[2]: 1.0 2.0>``."""
    array = constant.array
    dims = ",".join(map(str, array.shape))
    if array.size > DENSE_LIMIT:
        body = f"0x{array.tobytes().hex()}"
    else:
        body = " ".join(format_scalar(v, array.dtype) for v in array.reshape(-1))
    return f"dense<{dtype_name(array.dtype)}[{dims}]: {body}>"


class GraphPrinter:
    """Prints one graph; holds the names given so far.

    A subclass may name variables otherwise, and see each graph and equation as it is
    printed.
    """

    def __init__(self, indent: str, given: Mapping[Var, str] | None = None) -> None:
        self.indent = indent
        self.given = given or {}
        self.names: dict[Var, str] = {}
        self.taken = {name.removeprefix("%") for name in self.given.values()}
        self.count = 0

    def graph(self, graph: Graph) -> str:
        """Return a graph, its last lines further in than its first."""
        ins = ", ".join(f"{self.name(v)}: {v.aval}" for v in graph.invars)
        outs = ", ".join(str(a) for a in graph.out_avals)
        name = _UNPRINTABLE.sub("_", graph.name)
        head = f"graph @{name}({ins}) -> ({outs}) {{"
        body = [self.eqn(e) for e in graph.eqns]
        last = f"return {', '.join(self.result(x) for x in graph.outvars)}".rstrip()
        lines = [head, *(f"{self.indent}  {t}" for t in (*body, last))]
        return "\n".join(lines) + f"\n{self.indent}}}"

    def name(self, var: Var) -> str:
        """Name `var` where it is bound: its hint if free, else a number."""
        if var in self.given:
            self.names[var] = self.given[var]
            return self.given[var]
        hint = _UNPRINTABLE.sub("_", var.name)
        if hint in self.taken or hint.isdigit():  # numbers are for those without name
            hint = ""
        while not hint or hint in self.taken:
            hint = str(self.count)
            self.count += 1
        self.taken.add(hint)
        self.names[var] = f"%{hint}"
        return self.names[var]

    def result(self, x: Atom) -> str:
        """Return what a graph returns; literals say their dtype."""
        return self.operand(x, None)

    def operand(self, x: Atom, dtype: np.dtype | None) -> str:
        """Return an operand; literals of `dtype` need not say theirs."""
        if isinstance(x, Var):
            return self.names.get(x, "%<unbound>")
        text = format_scalar(x.value, x.aval.dtype)
        if dtype is not None and x.aval.dtype == dtype:  # NumPy takes None for float64
            return text
        return f"{text}:{dtype_name(x.aval.dtype)}"

    def eqn(self, eqn: Eqn) -> str:
        """Return an equation, with its source lines; one line if it holds no graphs."""
        dtype = eqn.outvars[0].aval.dtype if eqn.outvars else None
        operands = ", ".join(self.operand(x, dtype) for x in eqn.invars)
        params = self.params(eqn.params)
        binders = ", ".join(f"{self.name(v)}: {v.aval}" for v in eqn.outvars)
        source = f"  ; {', '.join(eqn.source)}" if eqn.source else ""
        left = f"{binders} = " if binders else ""
        words = [w for w in (eqn.primitive.name, operands, params) if w]
        return f"{left}{' '.join(words)}{source}"

    def params(self, params: Params) -> str:
        """Return params in braces, or nothing."""
        if not params:
            return ""
        rows = (f"{k}={self.param(v)}" for k, v in params.items())
        return f"{{{', '.join(rows)}}}"

    def param(self, value: Param) -> str:
        """Return one param."""
        if value is None:
            return "none"
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, str):
            return f'"{value}"'
        if isinstance(value, np.dtype):
            return dtype_name(value)
        if isinstance(value, tuple):
            return f"({', '.join(self.param(v) for v in value)})"
        if isinstance(value, ArrayConstant):
            return format_array(value)
        if isinstance(value, Graph):
            return self.inner(value)
        return repr(value)

    def inner(self, graph: Graph) -> str:
        """Return a graph that is held in params, further in."""
        return format_graph(graph, self.indent + "    ")


def format_lines(
    graph: Graph, given: Mapping[Var, str] | None = None
) -> tuple[dict[Var, str], list[str]]:
    """Return the names of a graph's variables, and a text for each equation.

    Parameters
    ----------
    graph : Graph
    given : mapping of Var to str
        Names that some of them are to have, with their ``%``.
    """
    printer = GraphPrinter("", given)
    for var in graph.invars:
        printer.name(var)
    lines = [printer.eqn(e) for e in graph.eqns]
    return printer.names, lines


def format_eqn(eqn: Eqn, scope: Iterable[Var] = ()) -> str:
    """Return one equation as text, naming the variables of `scope` first."""
    printer = GraphPrinter("")
    for var in (*scope, *(x for x in eqn.invars if isinstance(x, Var))):
        if var not in printer.names:
            printer.name(var)
    return printer.eqn(eqn)


def format_params(params: Params, indent: str = "") -> str:
    """Return params as ``{axis=0, dtype=f32}``, or nothing where there are none."""
    return GraphPrinter(indent).params(params)
