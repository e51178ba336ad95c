"""Products of scores that are computed again: the backward pass of attention.

Scores S of a softmax, and what is computed from them element by element, are larger
than everything they come from and everything that is summed from them. Where their
exponentials are under a maximum that is known, each sum over them can compute them
itself, block by block, and they are never stored::

    s = dot_general q, k ; t = dot_general do, v          dq = fusion q, k, do, v, m
    p = exp (sub s, m) ; ds = mul p, t            →       dk, dv = fusion q, k, do, v, m
    dq = dot_general ds, k ; dk = dot_general ds, q
    dv = dot_general p, do

Products along the same axis become one `fusion` equation, those of rows another one.
Nothing is done where something else reads what is computed: then it is stored anyway.
Needs the graph in `normal_form`; establishes `fusion` equations that `fuse` leaves as
they are.
"""

from collections.abc import Iterable, Iterator, Sequence

from ..ir.aval import Shape
from ..ir.graph import Atom, Eqn, Graph, Literal, Var
from ..ir.liveness import live_equations
from ..ir.ops.contract import axes_of_product, dot_general_p, free_axes
from ..ir.ops.control import fusion_p
from ..ir.ops.elementwise import exp_p
from ..ir.ops.shape import ints, inverse_permutation, transpose_p
from ..ir.primitive import Kind, Params
from ..records import dataclass
from .fused_graph import cloned, is_lazy
from .limits import Limits

LARGEST = 256  # extent of what a product of scores sums, and of what it multiplies
MASK = 8  # times smaller is what a mask may be computed from, again, for each block
Place = tuple[int, ...]  # of each axis of a value: the axis of the scores that it is


@dataclass(frozen=True)
class _Sum:
    """A product that sums over scores.

    Parameters
    ----------
    eqn : Eqn
    side : int
        The operand that is computed from scores.
    inside : frozenset of Eqn
        The equations from the products of scores to that operand.
    first : Eqn
        The first product of scores; its axes are those that places count.
    along : frozenset of int
        The axes summed.
    """

    eqn: Eqn
    side: int
    inside: frozenset[Eqn]
    first: Eqn
    along: frozenset[int]

    @property
    def order(self) -> Place:
        """The axes of its result, taken in the order of a product with scores first."""
        contract, batch = axes_of_product(self.eqn.params)
        n = len(batch[0])
        free = [
            len(free_axes(x.aval.ndim, c, s))
            for x, c, s in zip(self.eqn.invars, contract, batch, strict=True)
        ]
        rows, columns = range(n, n + free[0]), range(n + free[0], n + sum(free))
        swapped = (*columns, *rows) if self.side else (*rows, *columns)
        return (*range(n), *swapped)

    @property
    def shape(self) -> Shape:
        """The shape of its result in that order."""
        shape = self.eqn.outvars[0].aval.shape
        return tuple(shape[d] for d in self.order)


def with_streams(graph: Graph, limits: Limits) -> Graph:
    """Return the graph with sums over scores in equations of their own.

    Parameters
    ----------
    graph : Graph
    limits : Limits
        What a kernel may contain.

    Returns
    -------
    Graph
        The same object where there are none.
    """
    if not any(e.primitive is exp_p for e in graph.eqns):
        return graph
    search = _Search(graph)
    sums = search.sums()
    if not sums or not all(search.is_allowed(s, limits) for s in sums):
        return graph
    found: dict[tuple[Eqn, frozenset[int], Shape], list[_Sum]] = {}
    for one in sums:
        found.setdefault((one.first, one.along, one.shape), []).append(one)
    return (
        _rebuilt(search, list(found.values()))
        or _rebuilt(search, [[one] for one in sums])
        or graph
    )


class _Search:
    """Finds the sums over scores of a graph."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.makers = {v: e for e in graph.eqns for v in e.outvars}
        self.order = {e: i for i, e in enumerate(graph.eqns)}
        self.users: dict[Var, set[Eqn]] = {}
        for eqn in graph.eqns:
            for x in variables(eqn):
                self.users.setdefault(x, set()).add(eqn)
        self.outputs = {x for x in graph.outvars if isinstance(x, Var)}
        self.inside: set[Var] = set()
        self.free: set[Eqn] = set()  # computed again wherever they are read
        for eqn in graph.eqns:
            if self._is_inside(eqn):
                self.inside.update(eqn.outvars)
            if self._is_free(eqn):
                self.free.add(eqn)

    def sums(self) -> list[_Sum]:
        """Return those that leave nothing of the scores to be stored."""
        found = [s for e in self.graph.eqns for s in self._of_equation(e)]
        while True:
            allowed = {e for s in found for e in (*s.inside, s.eqn)}
            kept = [s for s in found if self._is_closed(s.inside, allowed)]
            if len(kept) == len(found):
                return kept
            found = kept

    def is_allowed(self, one: _Sum, limits: Limits) -> bool:
        """Tell whether a kernel may contain all that a sum is computed from."""
        body, _ = self.closure([one])
        elementwise = [e for e in body if e.primitive.kind is Kind.ELEMENTWISE]
        is_short = 2 * len(body) <= limits.max_equations
        return is_short and all(limits.accepts(e) for e in elementwise)

    def _is_closed(self, inside: Iterable[Eqn], allowed: set[Eqn]) -> bool:
        made = {v for e in inside for v in e.outvars}
        return not made & self.outputs and all(self.users[v] <= allowed for v in made)

    def _of_equation(self, eqn: Eqn) -> Iterator[_Sum]:
        if eqn.primitive is not dot_general_p:
            return
        out = eqn.outvars[0].aval
        for side, x in enumerate(eqn.invars):
            other = eqn.invars[1 - side]
            is_small = max(out.size, other.aval.size) < x.aval.size
            if is_small and isinstance(x, Var) and isinstance(other, Var):
                found = self._scores(eqn, side, x)
                if found is not None:
                    yield found
                    return

    def _scores(self, eqn: Eqn, side: int, x: Var) -> _Sum | None:
        """Return the sum if its operand is computed from scores."""
        places: dict[Var, Place] = {}
        stack: list[tuple[Var, Place]] = [(x, tuple(range(x.aval.ndim)))]
        while stack:
            var, at = stack.pop()
            if var in places and places[var] != at:
                return None
            if var not in places and var in self.inside:
                places[var] = at
                stack.extend(self._behind(self.makers[var], at))
        inside = [self.makers[v] for v in places]
        products = [e for e in inside if e.primitive is dot_general_p]
        is_exp = any(e.primitive is exp_p and self._is_under_row(e) for e in inside)
        if not products or not is_exp or not self._is_narrow(eqn, side):
            return None
        first = min(products, key=lambda e: self.order[e])
        contract, _ = axes_of_product(eqn.params)
        own = inverse_permutation(places[first.outvars[0]])
        along = frozenset(own[d] for d in contract[side])
        return _Sum(eqn, side, frozenset(inside), first, along)

    def _is_inside(self, eqn: Eqn) -> bool:
        """Tell whether a value is scores, or as large and computed from some."""
        if eqn.primitive is dot_general_p:
            sizes = [x.aval.size for x in eqn.invars]
            return max(sizes) < eqn.outvars[0].aval.size and self._is_short(eqn)
        if eqn.primitive is transpose_p:
            return any(x in self.inside for x in variables(eqn))
        if eqn.primitive.kind is not Kind.ELEMENTWISE:
            return False
        shape = eqn.outvars[0].aval.shape
        return any(x.aval.shape == shape and x in self.inside for x in variables(eqn))

    def _behind(self, eqn: Eqn, at: Place) -> Iterator[tuple[Var, Place]]:
        """Yield the operands that are as large, and where their axes are."""
        if eqn.primitive is transpose_p:
            perm = ints(eqn.params, "perm")
            yield from ((x, _moved(at, perm)) for x in variables(eqn))
        elif eqn.primitive is not dot_general_p:
            shape = eqn.outvars[0].aval.shape
            yield from ((x, at) for x in variables(eqn) if x.aval.shape == shape)

    def _is_short(self, eqn: Eqn) -> bool:
        contract, _ = axes_of_product(eqn.params)
        extent = 1
        for d in contract[0]:
            extent *= eqn.invars[0].aval.shape[d]
        return extent <= LARGEST

    def _is_narrow(self, eqn: Eqn, side: int) -> bool:
        contract, batch = axes_of_product(eqn.params)
        other = 1 - side
        shape = eqn.invars[other].aval.shape
        extent = 1
        for d in free_axes(len(shape), contract[other], batch[other]):
            extent *= shape[d]
        return extent <= LARGEST

    def _is_under_row(self, eqn: Eqn) -> bool:
        """Tell whether an exponential is of something less a value of its row."""
        shifted = self.makers.get(eqn.invars[0])  # type: ignore[arg-type]
        if shifted is None or shifted.primitive.kind is not Kind.ELEMENTWISE:
            return False
        return any(self._is_little(x, shifted.outvars[0]) for x in variables(shifted))

    def closure(self, sums: Sequence[_Sum]) -> tuple[list[Eqn], list[Var]]:
        """Return the equations that compute sums, but for these, and what they read.

        Views, and what costs little to be computed from something much smaller or from
        nothing, as masks of positions; arithmetic on a number of each row.
        """
        inside = {e for s in sums for e in s.inside}
        body: dict[Eqn, None] = {}
        inputs: dict[Var, None] = {}
        stack = [(x, False) for s in sums for x in variables(s.eqn)]
        while stack:
            x, is_beside = stack.pop()
            eqn = self.makers.get(x)
            if eqn is None or not (
                eqn in inside
                or eqn in self.free
                or (is_beside and self._is_of_rows(eqn, sums[0]))
            ):
                inputs[x] = None
            elif eqn not in body:
                body[eqn] = None
                is_product = eqn.primitive is dot_general_p
                is_beside = not is_product and (is_beside or eqn in inside)
                stack.extend((y, is_beside) for y in variables(eqn))
        made = {v for e in body for v in e.outvars}
        read = [x for x in inputs if x not in made]
        return sorted(body, key=lambda e: self.order[e]), read

    def _is_of_rows(self, eqn: Eqn, one: _Sum) -> bool:
        """Tell whether an equation computes a number for each row of scores."""
        size = eqn.outvars[0].aval.size
        is_row = size * MASK <= one.first.outvars[0].aval.size
        is_elementwise = eqn.primitive.kind is Kind.ELEMENTWISE
        return (
            is_row
            and is_elementwise
            and all(x.aval.size <= size for x in variables(eqn))
        )

    def _is_free(self, eqn: Eqn) -> bool:
        if is_lazy(eqn):
            return True
        if eqn.primitive.kind is not Kind.ELEMENTWISE:
            return False
        return all(self._is_little(x, eqn.outvars[0]) for x in variables(eqn))

    def _is_little(self, x: Var, beside: Var) -> bool:
        """Tell whether a value is free, or a view of something much smaller."""
        eqn = self.makers.get(x)
        while eqn is not None and is_lazy(eqn) and eqn.invars:
            (source,) = eqn.invars
            if isinstance(source, Literal):
                return True
            x, eqn = source, self.makers.get(source)
        is_small = x.aval.size * MASK <= beside.aval.size
        return is_small or eqn in self.free


def variables(eqn: Eqn) -> Iterator[Var]:
    """Yield the operands that are variables."""
    return (x for x in eqn.invars if isinstance(x, Var))


def _moved(at: Place, perm: Place) -> Place:
    """Return where the axes of a transposition's operand are."""
    out = [0] * len(at)
    for d, p in enumerate(perm):
        out[p] = at[d]
    return tuple(out)


# --- the new graph ----------------------------------------------------------------


def _rebuilt(search: _Search, streams: Sequence[Sequence[_Sum]]) -> Graph | None:
    """Return the graph with a `fusion` equation for each stream.

    None if equations would wait for each other.
    """
    made: list[Eqn] = []
    for sums in streams:
        made += _stream(search, sums)
    gone = {s.eqn for sums in streams for s in sums}
    renamed = _untransposed(search.graph, made)
    eqns = [e for e in search.graph.eqns if e not in gone]
    eqns = [_with_operands(e, renamed) for e in (*eqns, *made)]
    outs = [renamed.get(x, x) for x in search.graph.outvars]
    in_order = _ordered(eqns)
    if in_order is None:
        return None
    live = live_equations(in_order, outs)  # without scores that only sums read
    return Graph(search.graph.name, search.graph.invars, outs, live)


def _stream(search: _Search, sums: Sequence[_Sum]) -> list[Eqn]:
    """Return the equation of a stream, and those that order the axes of its results."""
    body, inputs = search.closure(sums)
    own, out, more = [], [], list[Eqn]()
    for one in sums:
        var = one.eqn.outvars[0]
        result = Var(var.aval.with_shape(one.shape), var.name)
        own.append(_scores_first(one, result))
        out.append(result)
        perm = inverse_permutation(one.order)
        params: Params = {"perm": perm}
        more.append(Eqn(transpose_p, (result,), params, (var,), one.eqn.source))
    clone = cloned(search.graph.name, inputs, out, [*body, *own])
    source = tuple(dict.fromkeys(s for e in (*body, *own) for s in e.source))
    loops: Params = {"graph": clone, "space": sums[0].shape, "reduced": ()}
    return [Eqn(fusion_p, tuple(inputs), loops, tuple(out), source), *more]


def _scores_first(one: _Sum, result: Var) -> Eqn:
    """Return the product with scores as its first operand."""
    eqn = one.eqn
    contract, batch = axes_of_product(eqn.params)
    turn = slice(None, None, -1) if one.side else slice(None)
    params: Params = {"contract": contract[turn], "batch": batch[turn]}
    return Eqn(dot_general_p, eqn.invars[turn], params, (result,), eqn.source)


def _untransposed(graph: Graph, made: Sequence[Eqn]) -> dict[Atom, Atom]:
    """Return what transpositions of results are in a stream: the results themselves."""
    views = {e.outvars[0]: e for e in made if e.primitive is transpose_p}
    found: dict[Atom, Atom] = {}
    for var, eqn in views.items():
        perm = ints(eqn.params, "perm")
        if perm == tuple(range(len(perm))):
            found[var] = eqn.invars[0]
    for eqn in graph.eqns:
        view = views.get(eqn.invars[0]) if eqn.primitive is transpose_p else None  # type: ignore[arg-type]
        if view is None:
            continue
        first, second = ints(view.params, "perm"), ints(eqn.params, "perm")
        if [first[d] for d in second] == list(range(len(first))):
            found[eqn.outvars[0]] = view.invars[0]
    return found


def _with_operands(eqn: Eqn, renamed: dict[Atom, Atom]) -> Eqn:
    if not any(x in renamed for x in eqn.invars):
        return eqn
    ins = tuple(renamed.get(x, x) for x in eqn.invars)
    return Eqn(eqn.primitive, ins, eqn.params, eqn.outvars, eqn.source)


def _ordered(eqns: Sequence[Eqn]) -> list[Eqn] | None:
    """Return equations in an order that runs, near the one they are in."""
    makers = {v: e for e in eqns for v in e.outvars}
    done: dict[Eqn, bool] = {}  # False while its operands are being put in order
    for root in eqns:
        stack = [root]
        while stack:
            eqn = stack[-1]
            if done.get(eqn):
                stack.pop()
                continue
            waits = [makers[x] for x in variables(eqn) if x in makers]
            waits = [e for e in waits if not done.get(e)]
            if not waits:
                done.pop(eqn, None)
                done[eqn] = True
                stack.pop()
            elif eqn in done:
                return None
            else:
                done[eqn] = False
                stack.extend(waits)
    return list(done)
