"""The builder: makes graphs, simplifying and value-numbering on insertion.

Derivative rules, tracing and passes all emit through it. With `NO_RULES` and
``value_number=False`` it records just what it is told.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ..errors import InternalError
from .aval import ShapedArray
from .graph import Atom, Eqn, Graph, Literal, SourceLines, Var
from .primitive import Effect, Param, Primitive
from .rewrite import LITERAL, NO_RULES, Head, RuleSet, RuleStats

Operand = Atom | bool | int | float | complex
_ATOMS = (Var, Literal)


class Builder:
    """Builds one graph.

    Parameters
    ----------
    name : str
        The graph's name.
    rules : RuleSet
        Applied to each equation before it is inserted.
    value_number : bool
        Give equal pure equations one result.
    stats : RuleStats, optional
        Counts rule firings.

    Attributes
    ----------
    heads : dict of Var to Primitive or None
        What computes a value behind its views, as rules have found out.

    Examples
    --------
    >>> b = Builder("f")
    >>> x = b.input(ShapedArray((3,), np.dtype("float32")), "x")
    >>> graph = b.build([b.emit(add_p, x, 1.0)])  # doctest: +SKIP
    """

    def __init__(
        self,
        name: str = "main",
        rules: RuleSet = NO_RULES,
        value_number: bool = False,
        stats: RuleStats | None = None,
    ) -> None:
        self.name = name
        self.rules = rules
        self.stats = stats if stats is not None else RuleStats()
        self.source: SourceLines = ()
        self.invars: list[Var] = []
        self.eqns: list[Eqn] = []
        self.heads: dict[Var, Primitive | None] = {}
        self._definitions: dict[Var, Eqn] = {}
        self._numbered: dict[object, tuple[Atom, ...]] | None = (
            {} if value_number else None
        )

    def input(self, aval: ShapedArray, name: str = "") -> Var:
        """Add an input and return it."""
        var = Var(aval, name)
        self.invars.append(var)
        return var

    def definition(self, atom: Atom) -> Eqn | None:
        """Return the equation that binds `atom`; None for inputs and literals."""
        return self._definitions.get(atom) if isinstance(atom, Var) else None

    def emit(self, primitive: Primitive, *operands: Operand, **params: Param) -> Atom:
        """Insert an equation with one result and return the result.

        Python numbers among the operands become literals of the dtype of the first
        operand that has one.
        """
        (out,) = self.emit_all(primitive, operands, params)
        return out

    def emit_all(
        self,
        primitive: Primitive,
        operands: Sequence[Operand],
        params: Mapping[str, Param] | None = None,
    ) -> tuple[Atom, ...]:
        """Insert an equation and return its results."""
        ins = self._atoms(operands)
        params = params or {}
        if primitive in self.rules.by_primitive:
            replaced = self._rewritten(primitive, ins, params)
            if replaced is not None:
                return replaced
        return self._insert(primitive, ins, params)

    def keep(self, eqn: Eqn) -> tuple[Atom, ...]:
        """Insert an equation of another graph whose operands stand for themselves.

        Unless a rule replaces it, it is the same object, and its results are. Equations
        are not value-numbered so.
        """
        if eqn.primitive in self.rules.by_primitive:
            found = self._rewritten(eqn.primitive, eqn.invars, eqn.params)
            if found is not None:
                return found
        self.eqns.append(eqn)
        for var in eqn.outvars:
            self._definitions[var] = eqn
        return eqn.outvars

    def _rewritten(
        self, primitive: Primitive, ins: tuple[Atom, ...], params: Mapping[str, Param]
    ) -> tuple[Atom, ...] | None:
        """Return what the first rule that applies gives."""
        for rule in self.rules.on(primitive, self._operands(ins)):
            if self.stats.limit is not None and not self.stats.can_fire():
                break
            try:
                replaced = rule.apply(self, primitive, ins, params)
            except Exception:
                self.stats.fired[rule.name] += 1  # so that bisection can name it
                raise
            if replaced is not None:
                self.stats.fired[rule.name] += 1
                return tuple(replaced)
        return None

    def _operands(self, ins: Sequence[Atom]) -> tuple[Head, ...]:
        """Return what rules ask first: what operands are, or are computed by."""
        heads: list[Head] = []
        for x in ins:
            if type(x) is Literal:
                heads.append(LITERAL)
            else:
                eqn = self._definitions.get(x)  # type: ignore[arg-type]
                heads.append(None if eqn is None else eqn.primitive)
        return tuple(heads) if len(heads) <= 3 else tuple(frozenset(heads))

    def literal(self, value: object, dtype: np.dtype) -> Literal:
        """Return a rank-0 constant."""
        return Literal(value, dtype)

    def inline(self, graph: Graph, args: Sequence[Atom]) -> tuple[Atom, ...]:
        """Replay the equations of `graph` on `args` and return its results."""
        return self.replay(
            graph, args, lambda e, ins: self.emit_all(e.primitive, ins, e.params)
        )

    def replay(
        self,
        graph: Graph,
        args: Sequence[Atom],
        emit: Callable[[Eqn, list[Atom]], Sequence[Atom]],
    ) -> tuple[Atom, ...]:
        """Have `emit` write each equation of `graph`; return the results on `args`.

        Parameters
        ----------
        graph : Graph
        args : sequence of Atom
            What stands for the graph's inputs.
        emit : callable
            Takes an equation and what stands for its operands; returns what stands
            for its results, which gets their names.
        """
        env: dict[Var, Atom] = dict(zip(graph.invars, args, strict=True))
        outer = self.source
        for eqn in graph.eqns:
            self.source = eqn.source or outer
            outs = emit(eqn, [env[x] if isinstance(x, Var) else x for x in eqn.invars])
            for var, out in zip(eqn.outvars, outs, strict=True):
                env[var] = out
                if var.name:
                    keep_name(out, var)
        self.source = outer
        return tuple([env[x] if isinstance(x, Var) else x for x in graph.outvars])

    def inputs_of(self, graph: Graph) -> list[Var]:
        """Add the inputs of `graph` and return them."""
        return [self.input(v.aval, v.name) for v in graph.invars]

    def build(self, outs: Sequence[Atom]) -> Graph:
        """Return the graph of what was emitted, with `outs` as its results."""
        return Graph(self.name, self.invars, tuple(outs), self.eqns)

    def _atoms(self, operands: Sequence[Operand]) -> tuple[Atom, ...]:
        atoms = tuple(operands)
        for x in atoms:
            if not isinstance(x, _ATOMS):
                return self._with_literals(atoms)
        return atoms  # type: ignore[return-value]

    def _with_literals(self, atoms: tuple[Operand, ...]) -> tuple[Atom, ...]:
        dtype = next(
            (x.aval.dtype for x in atoms if isinstance(x, Var | Literal)), None
        )
        if dtype is None:
            raise InternalError(f"no operand of {atoms} has a dtype")
        return tuple(
            x if isinstance(x, Var | Literal) else Literal(x, dtype) for x in atoms
        )

    def _insert(
        self, primitive: Primitive, ins: tuple[Atom, ...], params: Mapping[str, Param]
    ) -> tuple[Atom, ...]:
        key = (
            None if self._numbered is None else self._number_key(primitive, ins, params)
        )
        if key is not None and self._numbered is not None:
            found = self._numbered.get(key)
            if found is not None and self.stats.can_fire():
                self.stats.fired["value_number"] += 1
                return found
        avals = primitive.out_avals([x.aval for x in ins], params)
        outs = tuple([Var(a) for a in avals])
        eqn = Eqn(primitive, ins, params, outs, self.source)
        self.eqns.append(eqn)
        for var in outs:
            self._definitions[var] = eqn
        if key is not None and self._numbered is not None:
            self._numbered[key] = outs
        return outs

    def _number_key(
        self, primitive: Primitive, ins: tuple[Atom, ...], params: Mapping[str, Param]
    ) -> object | None:
        effects = primitive.effects(params)
        if effects and effects - {Effect.CHECK}:
            return None  # of equal checks, the first one is enough
        operands = tuple([x.key if isinstance(x, Literal) else x for x in ins])
        return primitive, operands, tuple(sorted(params.items())) if params else ()


def keep_name(new: Atom, old: Var) -> None:
    """Pass the printing hint of `old` on to the variable that stands for it."""
    if isinstance(new, Var) and not new.name:
        new.name = old.name
