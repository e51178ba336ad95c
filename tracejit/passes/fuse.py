"""Fusion: equations that one loop nest can compute become one `fusion` equation.

    %0 = sub %x, 1.0 ; %1 = exp %0      ->      %1 = fusion %x {graph=graph @...}

Equations join the groups of their operands, in order, or a group that reads the same
array. Groups of several operands become one where nothing stands between them, and a
pointwise group that only one equation reads moves into the loops of that equation,
whatever the positions it is read at. Views are free: they are repeated in each group
that reads through them, and so is cheap arithmetic on arrays that are in memory
anyway. All else is computed once. What did not join says why (`Refusal`).

Needs: the target's `Limits`, which say what a kernel can contain. Starts from the graph
in `normal_form`; establishes that each kernel of the Program is one equation.
"""

from collections.abc import Callable, Iterator, Sequence
from math import prod

from .. import log
from ..ir import dtypes as dt
from ..ir.aval import Shape, ShapedArray
from ..ir.graph import Atom, Eqn, Graph, Literal, Var, subgraph
from ..ir.ops.contract import dot_general_p
from ..ir.ops.control import cond_p, fusion_p
from ..ir.ops.conv import conv_general_p
from ..ir.ops.custom import barrier_p
from ..ir.ops.elementwise import complex_p, imag_p, real_p
from ..ir.ops.indexing import gather_p
from ..ir.ops.loops import scan_p, while_p
from ..ir.ops.shape import (
    broadcast_in_dim_p,
    concatenate_p,
    constant_p,
    ints,
    pad_p,
    update_slice_p,
)
from ..ir.primitive import Effect, Kind
from ..kernels.lower import REDUCE_OPS, aligned_axes
from ..kernels.maps import Map, axes_in
from ..kernels.turns import has_read_numbers, is_pointwise_loop
from ..kernels.views import VIEWS, through_view
from ..program.pieces import is_in_pieces
from .fused_graph import fused_graph, is_lazy, reads_memory, users_through_views
from .groups import (
    Dependencies,
    Group,
    Refusal,
    is_much_smaller,
    kept_axes,
    merged_loops,
    positions,
    read_shape,
    rows_of,
    work_of,
)
from .limits import Limits
from .manager import PassContext, map_subgraphs
from .normal_form import normal_form
from .notes import Boundary
from .recompute import Recomputation
from .streams import with_streams

Read = tuple[Var, Map | None]  # a variable and where an element reads it
PIECEWISE = (pad_p, concatenate_p, update_slice_p, gather_p)
OF_STEPS = (scan_p, while_p, cond_p)
SCALAR_BUDGET = 64  # rank-0 equations repeated in each group that reads them
REPEATED_WORK = 8.0  # operations an element that groups repeat rather than load
REPEATED_BYTES = 2.0  # bytes loaded to repeat a value, per byte of it
DUPLICATED_WORK = 16.0  # operations an element, done again rather than stored
DUPLICATED_TOTAL = 4096.0  # operations that cost less than another kernel
PROLOGUE_WORK = 4.0  # operations an element of what a product reads
HEAVY = 2.0**22  # operations of a product that threads share
HEAVY_ELEMENT = 64.0  # operations for an element, beside which storing it is nothing
REPEATED_FREE = 64.0  # bytes that cost nothing to load: scalars
SIBLINGS = 4  # groups that read an array, of which the latest are tried
SCALAR_PENALTY = 8.0  # operations once a row are not done in vectors


def fuse_with(limits: Limits) -> Callable[[Graph, PassContext], Graph]:
    """Return the fusion pass for a target."""

    def fuse(graph: Graph, context: PassContext) -> Graph:
        if any(e.primitive is fusion_p for e in graph.eqns):
            return graph
        normal = normal_form(graph)
        loops = bodies_of_kernels(normal, limits)
        inner = map_subgraphs(normal, lambda g: g if g in loops else fuse(g, context))
        fusion = _Fusion(with_streams(inner, limits), limits, loops, context)
        fused = fusion.run()
        found = [*fusion.boundaries()]
        context.notes += found
        if log.is_enabled("fusion"):
            for boundary in found:
                log.emit("fusion", str(boundary))
        return fused

    return fuse


class _Fusion:
    """One run of the pass over one graph."""

    def __init__(
        self, graph: Graph, limits: Limits, loops: set[Graph], context: PassContext
    ) -> None:
        self.graph, self.limits, self.loops = graph, limits, loops
        self.context = context
        self.definitions = {v: e for e in graph.eqns for v in e.outvars}
        self.outputs = {x for x in graph.outvars if isinstance(x, Var)}
        self.users = users_through_views(graph)
        self.groups: list[Group] = []
        self.dependencies = Dependencies()
        self.group_of: dict[Var, Group] = {}
        self.reads: dict[Eqn, list[Read]] = {}
        self.readers: dict[Var, dict[Group, None]] = {}  # groups that read a variable
        self.lazy_cost: dict[Var, int] = {}
        self.repeated: dict[
            Var, tuple[float, frozenset[Var]]
        ] = {}  # work, what it reads
        self.refusals: dict[tuple[Eqn, Var], Refusal] = {}
        self.last_ordered: Group | None = None

    def run(self) -> Graph:
        """Return the graph of groups."""
        for eqn in self.graph.eqns:
            self.place(eqn)
        self._merge_siblings()
        self._recompute()
        return fused_graph(
            self.graph,
            self.groups,
            self.group_of,
            frozenset(self.lazy_cost),
            frozenset(self.repeated),
        )

    def boundaries(self) -> Iterator[Boundary]:
        """Yield why equations read what other groups compute from memory."""
        for (eqn, var), reason in self.refusals.items():
            mine = self.group_of.get(eqn.outvars[0]) if eqn.outvars else None
            for source in self._behind_repeated(var) or {var}:
                other = self.group_of.get(source)
                if mine is None or other is None or mine is other:
                    continue
                made = self._maker(source)
                if made is not None:
                    yield Boundary(made, eqn, source, reason)

    def _maker(self, var: Var) -> Eqn | None:
        """Return what computes a value, which may pass barriers; None for data."""
        eqn = self.definitions.get(var)
        while eqn is not None and (eqn.primitive is barrier_p or is_lazy(eqn)):
            x = eqn.invars[eqn.outvars.index(var)]
            if not isinstance(x, Var):
                return None
            var, eqn = x, self.definitions.get(x)
        return None if eqn is not None and eqn.primitive is constant_p else eqn

    # --- placing equations

    def place(self, eqn: Eqn) -> None:
        """Put one equation: lazy, in a group, or by itself."""
        if is_lazy(eqn):
            self.lazy_cost[eqn.outvars[0]] = self._cost_of(eqn)
            return
        reads = self.reads[eqn] = list(self._bases(eqn))
        if not self._is_fusible(eqn):
            self._alone(eqn, reads)
            return
        can_join = self.context.may_fire("fuse")
        home = self._home(eqn, reads) if can_join else None
        if home is None and self._is_cheap_scalar(eqn):
            self.lazy_cost[eqn.outvars[0]] = 1 + self._cost_of(eqn)
            return
        if home is None and can_join:
            home = self._sibling(eqn, reads)
        if home is not None:
            self.context.stats.fired["fuse"] += 1
        home = home or self._new_group(eqn)
        for var in self._needs(home, reads):
            self._depend(home, var)
        for other in self._operand_groups(reads):
            if other is not home and can_join:
                self._refused(eqn, other, reads, self._join(home, other, eqn, reads))
        self._enter(eqn, home, reads)

    def _cost_of(self, eqn: Eqn) -> int:
        return sum(self.lazy_cost.get(x, 0) for x in eqn.invars if isinstance(x, Var))

    def _is_cheap_scalar(self, eqn: Eqn) -> bool:
        is_elementwise = eqn.primitive.kind is Kind.ELEMENTWISE
        is_scalar = is_elementwise and not eqn.outvars[0].aval.shape
        return is_scalar and self._cost_of(eqn) < SCALAR_BUDGET

    def _is_fusible(self, eqn: Eqn) -> bool:
        avals = [x.aval for x in (*eqn.invars, *eqn.outvars)]
        if any(dt.is_complex(a.dtype) for a in avals):
            return False
        if eqn.primitive.kind is Kind.ELEMENTWISE:
            return self.limits.accepts(eqn)
        if eqn.primitive is scan_p:
            return subgraph(eqn.params, "body") in self.loops
        has_arrays = all(isinstance(x, Var) for x in eqn.invars)
        if eqn.primitive is gather_p:
            return has_arrays and eqn.invars[0].aval.size > 0
        if eqn.primitive is dot_general_p:
            return has_arrays and eqn.outvars[0].aval.size > 0
        if eqn.primitive is conv_general_p:
            has_sums = all(x.aval.size for x in (*eqn.invars, *eqn.outvars))
            return has_arrays and has_sums and self.limits.can_extend(eqn)
        if eqn.primitive.name in REDUCE_OPS:
            return has_arrays
        return eqn.primitive in PIECEWISE and not is_in_pieces(eqn)

    def _alone(self, eqn: Eqn, reads: Sequence[Read]) -> None:
        group = self._add_group((), is_opaque=True)
        for var, _ in reads:
            self._depend(group, var)
            if eqn.primitive is not barrier_p:
                self.refusals[eqn, var] = _reason(eqn)
        if Effect.ORDERED in eqn.effects:
            if self.last_ordered is not None:
                group.follows = self.last_ordered
                self.dependencies.add(group.number, self.last_ordered.number)
            self.last_ordered = group
        group.eqns.append(eqn)
        for var in eqn.outvars:
            self.group_of[var] = group

    def _add_group(self, space: Shape, is_opaque: bool = False) -> Group:
        group = Group(self.dependencies.new(), space, is_opaque=is_opaque)
        self.groups.append(group)
        return group

    def _new_group(self, eqn: Eqn) -> Group:
        group = self._add_group(read_shape(eqn))
        if eqn.primitive.name in REDUCE_OPS:
            group.kept = kept_axes(eqn, reduced_axes(eqn))
        group.has_window = eqn.primitive is conv_general_p
        group.has_product = group.has_window or eqn.primitive is dot_general_p
        group.is_heavy = eqn.primitive is dot_general_p and _is_heavy(eqn)
        if group.has_window:
            group.space = self._space_of_readers(eqn.outvars[0])
        group.has_turns = eqn.primitive is scan_p
        return group

    def _space_of_readers(self, var: Var) -> Shape:
        """Return the shape that a view gives a variable by leaving axes of one out."""
        views = (
            e.outvars[0] for e in self.graph.eqns if var in e.invars and is_lazy(e)
        )
        shapes = (v.aval.shape for v in views)
        same = (s for s in shapes if aligned_axes(s, var.aval.shape) is not None)
        return next(same, var.aval.shape)

    def _depend(self, group: Group, var: Var) -> None:
        other = self.group_of.get(var)
        if other is not None:
            self.dependencies.add(group.number, other.number)

    def _enter(self, eqn: Eqn, group: Group, reads: Sequence[Read]) -> None:
        """Put an equation into a group."""
        group.eqns.append(eqn)
        group.work += work_of(eqn)
        group.has_turns |= eqn.primitive is scan_p
        for var in eqn.outvars:
            self.group_of[var] = group
            group.is_pinned |= var in self.outputs or bool(eqn.effects)
        for var in dict.fromkeys(v for v, _ in reads):
            for source in (var, *self._behind_repeated(var), *self._whole_of(var)):
                self.readers.setdefault(source, {})[group] = None
        self._note_repeated(eqn, reads)

    def _whole_of(self, var: Var) -> tuple[Var, ...]:
        """Return the complex array that a variable is a part of: both lie together."""
        eqn = self.definitions.get(var)
        is_part = eqn is not None and eqn.primitive in (real_p, imag_p)
        whole = eqn.invars[0] if is_part else None  # type: ignore[union-attr]
        return (whole,) if isinstance(whole, Var) else ()

    def _note_repeated(self, eqn: Eqn, reads: Sequence[Read]) -> None:
        """Let groups repeat cheap arithmetic on arrays that are in memory anyway."""
        aval = eqn.outvars[0].aval
        if eqn.primitive.kind is not Kind.ELEMENTWISE or not aval.shape:
            return
        work, loaded = work_of(eqn), frozenset[Var]()
        for var in {v for v, _ in reads}:
            if var in self.repeated:
                more, behind = self.repeated[var]
                work, loaded = work + more, loaded | behind
            elif self._is_in_memory(var) or self._is_small_beside(var, aval):
                loaded |= {var}
            else:
                return
        large = (v.aval for v in loaded if not is_much_smaller(v.aval, aval))
        bytes_ = sum(a.size * a.dtype.itemsize for a in large)
        limit = REPEATED_BYTES * aval.size * aval.dtype.itemsize
        if work <= REPEATED_WORK and bytes_ <= limit + REPEATED_FREE:
            self.repeated[eqn.outvars[0]] = work, loaded
            for var in loaded & self.group_of.keys():
                self.group_of[var].is_pinned = True  # must be able to store it

    def _is_small_beside(self, var: Var, aval: ShapedArray) -> bool:
        """Tell whether a value costs little to store, and its group can store it."""
        group = self.group_of[var]
        is_small = is_much_smaller(var.aval, aval)
        return is_small and group.axes_of(var.aval.shape) is not None

    def _behind_repeated(self, var: Var) -> frozenset[Var]:
        """Return what a group loads that computes `var` again."""
        return self.repeated[var][1] if var in self.repeated else frozenset()

    def _is_in_memory(self, var: Var) -> bool:
        eqn = self.definitions.get(var)
        group = self.group_of.get(var)
        return (
            eqn is None
            or eqn.primitive is constant_p
            or bool(group and group.is_opaque)
        )

    # --- which group an equation can join

    def _operand_groups(self, reads: Sequence[Read]) -> list[Group]:
        """Return the groups that operands are computed in, latest first."""
        found = {self.group_of[v] for v, _ in reads if v in self.group_of}
        fused = (g for g in found if not g.is_opaque)
        return sorted(fused, key=lambda g: -g.number)

    def _home(self, eqn: Eqn, reads: Sequence[Read]) -> Group | None:
        """Return the latest group of an operand that the equation can join."""
        for group in self._operand_groups(reads):
            refusal = self._refusal(eqn, group, reads)
            if refusal is None:
                return group
            self._refused(eqn, group, reads, refusal)
        for var, _ in reads:
            source = self.definitions.get(var)
            is_barrier = source is not None and source.primitive is barrier_p
            if var in self.group_of and self.group_of[var].is_opaque and not is_barrier:
                self.refusals[eqn, var] = _reason(source)
        return None

    def _sibling(self, eqn: Eqn, reads: Sequence[Read]) -> Group | None:
        """Return a group that reads the array a reduction reads: they read it once."""
        shape = read_shape(eqn)
        for var, at in reads:
            if eqn.primitive.name in REDUCE_OPS and at == positions(shape):
                found = self._reading_group(eqn, var, reads)
                if found is not None:
                    return found
        return None

    def _reading_group(self, eqn: Eqn, var: Var, reads: Sequence[Read]) -> Group | None:
        """Return a group that reads what `var` is, or is repeated from."""
        behind = sorted(self._behind_repeated(var), key=lambda v: -v.aval.size)
        for source in (var, *behind):
            for group in reversed(list(self.readers.get(source, ()))[-SIBLINGS:]):
                is_kernel = not group.is_opaque and not group.has_product
                if not is_kernel or group.space != read_shape(eqn):
                    continue
                if self._refusal(eqn, group, reads) is None:
                    return group
        return None

    def _refused(
        self, eqn: Eqn, group: Group, reads: Sequence[Read], refusal: Refusal | None
    ) -> None:
        if refusal is None:
            return
        for var, _ in reads:
            if self.group_of.get(var) is group:
                self.refusals[eqn, var] = refusal

    def _refusal(self, eqn: Eqn, group: Group, reads: Sequence[Read]) -> Refusal | None:
        """Return why an equation cannot join a group; None after making room for it."""
        if eqn.primitive is dot_general_p:
            return self._refuses_product(eqn, group)
        if eqn.primitive is conv_general_p:
            return Refusal.PRODUCT
        if len(group.eqns) >= self.limits.max_equations:
            return Refusal.SIZE
        if self._needs_later(group, reads):
            return Refusal.CYCLE
        if group.has_turns and not may_join_turns(eqn):
            return Refusal.TURNS
        if eqn.primitive.name in REDUCE_OPS:
            return self._refuses_reduction(eqn, group, reads)
        if eqn.primitive is scan_p and not group.is_pointwise:
            return Refusal.TURNS
        shape = eqn.outvars[0].aval.shape
        if group.axes_of(shape) is None:
            return Refusal.SPACE
        return self._misfit(eqn, group, reads)

    def _needs_later(self, group: Group, reads: Sequence[Read]) -> bool:
        needed = self._needs(group, reads)
        others = (self.group_of[v] for v in needed if v in self.group_of)
        depends = self.dependencies.depends
        return any(g is not group and depends(g.number, group.number) for g in others)

    def _needs(self, group: Group, reads: Sequence[Read]) -> Iterator[Var]:
        """Yield what a group must find done to read variables: repeated ones it makes.

        Unless it must find them in memory.
        """
        for var, at in reads:
            is_made = var in self.repeated and at is not None
            if is_made and self.group_of[var] is not group:
                yield from self._behind_repeated(var)
            else:
                yield var

    def _misfit(
        self, eqn: Eqn, group: Group, reads: Sequence[Read], loops: Group | None = None
    ) -> Refusal | None:
        """Return why an equation cannot read the group's values where they are made.

        If the group is computed in the loops of `loops`.
        """
        shape, loops = read_shape(eqn), loops or group
        for var, at in reads:
            if self.group_of.get(var) is group and not loops.fits(var, at, shape):
                is_kept = loops.is_column and var.aval.shape != loops.space
                return Refusal.BACK if is_kept else Refusal.VIEW
        return None

    def _refuses_reduction(
        self, eqn: Eqn, group: Group, reads: Sequence[Read]
    ) -> Refusal | None:
        if read_shape(eqn) != group.space:
            return Refusal.SPACE
        kept = kept_axes(eqn, reduced_axes(eqn))
        if group.kept not in (None, kept):
            return Refusal.AXES
        if group.is_stream and kept != rows_of(group.space):
            return Refusal.AXES
        if group.is_heavy and not kept:
            return Refusal.THREADS
        after = Group(-1, group.space, kept, has_window=group.has_window)
        if after.is_column and (group.has_product or group.has_rows):
            return Refusal.AXES
        misfit = self._misfit(eqn, group, reads, after)
        if misfit is None:
            group.kept = kept
        return misfit

    def _refuses_product(self, eqn: Eqn, group: Group) -> Refusal | None:
        """Take a product with the rows of a product in (attention), as its only use."""
        x, y = eqn.invars
        is_mine = isinstance(x, Var) and self.group_of.get(x) is group
        is_product = group.has_product and not group.has_window
        if not is_mine or not is_product or group.kept is None:
            return Refusal.PRODUCT
        if x.aval.shape != group.space or not _contracts_rows(eqn):
            return Refusal.PRODUCT
        if y in self.group_of and self.group_of[y] is group:
            return Refusal.VIEW
        mine = {*group.eqns, eqn}
        for var in (v for e in group.eqns for v in e.outvars):
            is_read = var in self.outputs or not self.users[var] <= mine
            if is_read and var.aval.shape not in self._shapes_of_rows(group):
                return Refusal.SHARED
        group.space, group.kept = eqn.outvars[0].aval.shape, None
        group.is_stream = True
        return None

    def _shapes_of_rows(self, group: Group) -> tuple[Shape, Shape]:
        """Return the shapes of values of a row: what a maximum or a sum is."""
        assert group.kept is not None
        kept = tuple(group.space[d] for d in group.kept)
        return kept, (*kept, *[1] * (len(group.space) - len(kept)))

    # --- joining groups

    def _join(
        self, home: Group, other: Group, eqn: Eqn, reads: Sequence[Read]
    ) -> Refusal | None:
        """Merge the group of another operand into the group of an equation."""
        if len(home.eqns) + len(other.eqns) > self.limits.max_equations:
            return Refusal.SIZE
        if eqn.primitive is conv_general_p:
            return Refusal.PRODUCT
        refusal = self._merged(home, other, eqn, reads)
        if refusal is None:
            return None
        can_move = other.is_pointwise or other.is_short
        return self._absorbed(home, other, eqn, reads) if can_move else refusal

    def _merged(
        self, home: Group, other: Group, eqn: Eqn, reads: Sequence[Read]
    ) -> Refusal | None:
        """Merge two groups whose loops are the same."""
        if eqn.primitive is dot_general_p:
            return Refusal.PRODUCT
        loops = merged_loops(home, other)
        if loops is None:
            return _clash(home, other)
        if not self.dependencies.can_merge(home.number, other.number):
            return Refusal.CYCLE
        has_window = home.has_window or other.has_window
        both = Group(-1, *loops, has_window=has_window)
        misfit = self._misfit(eqn, other, reads, both)
        for one, two in ((home, other), (other, home)):
            misfit = misfit or self._reads_misfit(one, two, both)
        if misfit is None:
            home.space, home.kept = loops
            self._take(home, other)
        return misfit

    def _reads_misfit(
        self, reader: Group, source: Group, both: Group
    ) -> Refusal | None:
        """Return why a group cannot read another where it is computed."""
        if not self.dependencies.depends(reader.number, source.number):
            return None
        found = (self._misfit(e, source, self.reads[e], both) for e in reader.eqns)
        return next((m for m in found if m is not None), None)

    def _absorbed(
        self, home: Group, other: Group, eqn: Eqn, reads: Sequence[Read]
    ) -> Refusal | None:
        """Compute a group where the only equation that needs it reads it."""
        inside = {*other.eqns, eqn}
        made = (v for e in other.eqns for v in e.outvars)
        if other.has_turns:
            return Refusal.TURNS
        if other.is_pinned or any(not self.users[v] <= inside for v in made):
            return Refusal.SHARED
        if self.dependencies.depends(other.number, home.number):
            return Refusal.CYCLE
        mine = [(v, at) for v, at in reads if self.group_of.get(v) is other]
        if self._is_read_from_memory(eqn, mine):
            return Refusal.MEMORY
        shape = read_shape(eqn)
        if other.is_short and not all(_is_along_last(at, shape) for _, at in mine):
            return Refusal.SPACE
        reads_rows = other.has_rows or (
            other.is_short and any(v.aval.shape == other.space for v, _ in mine)
        )
        if reads_rows and home.is_column:
            return Refusal.AXES
        elements = max(prod(shape), 1)
        evaluations = sum(_evaluations(at, shape) for _, at in mine)
        if eqn.primitive is dot_general_p:
            if other.work > PROLOGUE_WORK or not other.is_pointwise:
                return Refusal.PRODUCT
        elif not _is_worth_repeating(other, evaluations, elements):
            return Refusal.COST
        self._take(home, other)
        home.has_rows |= reads_rows
        # What is repeated in turn by a reader of this group is all of it.
        home.work += other.work * max(evaluations / elements - 1.0, 0.0)
        return None

    def _is_read_from_memory(self, eqn: Eqn, reads: Sequence[Read]) -> bool:
        """Tell whether one of the variables read is what a gather or a loop indexes."""
        indexed = [x for i, x in enumerate(eqn.invars) if reads_memory(eqn, i)]
        sources = {v for x in indexed for v, _ in self._behind(x, None, ())}
        return any(v in sources for v, _ in reads)

    def _take(self, home: Group, other: Group) -> None:
        """Move everything of a group into another."""
        home.is_pinned |= other.is_pinned
        home.has_product |= other.has_product
        home.has_window |= other.has_window
        home.is_heavy |= other.is_heavy
        home.has_rows |= other.has_rows
        home.is_stream |= other.is_stream
        home.has_turns |= other.has_turns
        home.work += other.work
        self.dependencies.merge(home.number, other.number)
        for eqn in other.eqns:
            for var, _ in self.reads[eqn]:
                for source in (var, *self._behind_repeated(var), *self._whole_of(var)):
                    readers = self.readers.setdefault(source, {})
                    readers.pop(other, None)
                    readers[home] = None
            for var in eqn.outvars:
                self.group_of[var] = home
        home.eqns.extend(other.eqns)
        other.eqns = []

    def _merge_siblings(self) -> None:
        """Merge groups with the same loops that read the same array of that shape."""
        for var, readers in self.readers.items():
            self._merge([g for g in readers if g.space == var.aval.shape])
        for eqn in self.graph.eqns:
            if eqn.primitive is complex_p:  # both parts lie together
                made = (self.group_of.get(x) for x in eqn.invars if isinstance(x, Var))
                self._merge([g for g in made if g is not None])

    def _merge(self, groups: Sequence[Group]) -> None:
        """Merge those groups that can be one kernel."""
        same = [g for g in groups if g.eqns and not (g.is_opaque or g.has_product)]
        for n, other in enumerate(same[1:], 1):
            earlier = (g for g in same[:n] if g.eqns and g is not other)
            home = next((g for g in earlier if self._can_be_one(g, other)), None)
            if home is not None:
                self.context.stats.fired["fuse_siblings"] += 1
                self._take(home, other)

    def _can_be_one(self, home: Group, other: Group) -> bool:
        """Tell whether two groups are one kernel; give the first the loops of both."""
        loops = merged_loops(home, other)
        size = len(home.eqns) + len(other.eqns)
        if loops is None or size > self.limits.max_equations or not home.space:
            return False
        if not self.context.may_fire("fuse_siblings"):
            return False
        if not self.dependencies.can_merge(home.number, other.number):
            return False
        has_window = home.has_window or other.has_window
        both = Group(-1, *loops, has_window=has_window)
        pairs = ((home, other), (other, home))
        if any(self._reads_misfit(a, b, both) for a, b in pairs):
            return False
        home.space, home.kept = loops
        return True

    def _recompute(self) -> None:
        """Let groups compute again what costs more to store and to load."""
        again = Recomputation(
            self.graph,
            self.groups,
            self.group_of,
            self.reads,
            frozenset(self.lazy_cost),
            frozenset(self.repeated),
            self.limits,
        )
        for var, loaded in again.found(self.context).items():
            self.repeated[var] = work_of(self.definitions[var]), loaded

    # --- where operands are read

    def _bases(self, eqn: Eqn) -> Iterator[Read]:
        """Yield the variables behind the operands, with the position they are read at.

        The position is None where it is not a plain view of the equation's own.
        """
        shape = read_shape(eqn)
        at = positions(shape)
        is_reduction = eqn.primitive.name in REDUCE_OPS
        is_plain = is_reduction or eqn.primitive.kind is Kind.ELEMENTWISE
        is_plain |= eqn.primitive is scan_p and self._is_fusible(eqn)
        for i, x in enumerate(eqn.invars):
            here: Map | None = at if is_plain and not reads_memory(eqn, i) else None
            if eqn.primitive is update_slice_p and i == 0:
                here = at
            if eqn.primitive is gather_p and i:
                here = at[: x.aval.ndim]
            if not x.aval.shape:
                here = ()
            yield from self._behind(x, here, shape)

    def _behind(self, x: Atom, at: Map | None, shape: Shape) -> Iterator[Read]:
        if isinstance(x, Literal):
            return
        if x not in self.lazy_cost:
            yield x, at
            return
        eqn = self.definitions[x]
        extents = {f"a{d}": n for d, n in enumerate(shape)}
        for operand in eqn.invars:
            inner: Map | None = ()  # of a scalar
            if at is None:
                inner = None
            elif eqn.primitive in VIEWS:
                inner = through_view(eqn, at, extents)
            yield from self._behind(operand, inner, shape)


def _reason(alone: Eqn | None) -> Refusal:
    """Return why nothing joins an equation that is no part of a group."""
    if alone is not None and alone.primitive is fusion_p:
        return Refusal.PRODUCT
    if alone is not None and is_in_pieces(alone):
        return Refusal.PIECES
    if alone is not None and alone.primitive in OF_STEPS:
        return Refusal.STEPS
    return Refusal.EXTERN


def bodies_of_kernels(graph: Graph, limits: Limits) -> set[Graph]:
    """Return the bodies of the loops that kernels of a target can hold.

    Carries of rank 0 beside arrays have no place in a kernel, so nothing may read them.
    """
    read = {x for e in graph.eqns for x in e.invars} | set(graph.outvars)
    found: dict[Graph, bool] = {}
    for eqn in graph.eqns:
        if eqn.primitive is scan_p:
            body = subgraph(eqn.params, "body")
            is_kernel = can_turn(eqn, limits) and not has_read_numbers(eqn, read)
            found[body] = found.get(body, True) and is_kernel
    return {body for body, is_kernel in found.items() if is_kernel}


def can_turn(eqn: Eqn, limits: Limits) -> bool:
    """Tell whether a kernel of a target can hold an equation as a loop."""
    if not is_pointwise_loop(eqn):
        return False
    body = subgraph(eqn.params, "body")
    inner = [e for e in body.eqns if e.primitive is not broadcast_in_dim_p]
    return len(inner) <= limits.max_equations and all(
        can_turn(e, limits) if e.primitive is scan_p else limits.accepts(e)
        for e in inner
    )


def may_join_turns(eqn: Eqn) -> bool:
    """Tell whether an equation may stand in a kernel with a loop of its elements."""
    return eqn.primitive.kind is Kind.ELEMENTWISE or eqn.primitive is scan_p


def _contracts_rows(eqn: Eqn) -> bool:
    """Tell whether a product contracts the last axis of its left operand alone."""
    contract, batch = eqn.params["contract"], eqn.params["batch"]
    assert isinstance(contract, tuple)
    assert isinstance(batch, tuple)
    shared = batch[0]
    assert isinstance(shared, tuple)
    is_last = contract[0] == (eqn.invars[0].aval.ndim - 1,)
    return is_last and shared == tuple(range(len(shared)))


def _clash(home: Group, other: Group) -> Refusal:
    """Return why two groups have no loops in common."""
    if home.space != other.space:
        return Refusal.SPACE
    is_number = () in (home.kept, other.kept)
    is_heavy = home.is_heavy or other.is_heavy
    return Refusal.THREADS if is_heavy and is_number else Refusal.AXES


def _is_heavy(product: Eqn) -> bool:
    """Tell whether a product is worth several threads, and its result little beside it.

    A sum over several axes that follows it is done by one thread.
    """
    work = work_of(product)
    return work >= HEAVY_ELEMENT and work * product.outvars[0].aval.size >= HEAVY


def reduced_axes(eqn: Eqn) -> Shape:
    """Return the axes that a reduction removes."""
    if "axes" in eqn.params:
        return ints(eqn.params, "axes")
    axis = eqn.params["axis"]
    assert isinstance(axis, int)
    return (axis,)


def _is_worth_repeating(group: Group, evaluations: float, elements: int) -> bool:
    """Tell whether computing a group where it is read costs less than storing it.

    If it is computed `evaluations` times for `elements` of its reader.
    """
    total = evaluations * group.work
    limit = max(DUPLICATED_WORK * elements, DUPLICATED_TOTAL)
    return evaluations <= prod(group.space) or total <= limit


def _is_along_last(at: Map | None, shape: Shape) -> bool:
    """Tell whether what is read varies in the innermost loop.

    The loops of a sum stand inside those of elements, and are not moved out of them.
    """
    last = f"a{len(shape) - 1}"
    return at is not None and any(last in axes_in(index) for index in at)


def _evaluations(at: Map | None, shape: Shape) -> float:
    """Return how often a value is computed that loops over `shape` read at `at`.

    Once for each iteration of the innermost loop that it varies in; as scalars where
    that is not the last one.
    """
    if at is None:
        return prod(shape)
    used = {int(name[1:]) for index in at for name in axes_in(index)}
    inner = max(used, default=-1) + 1
    times = prod(shape[:inner])
    return times if inner == len(shape) else times * SCALAR_PENALTY
