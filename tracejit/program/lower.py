"""Lowering: a graph with fusion groups becomes a Program.

Each `fusion`, `dot_general` and `conv_general` equation is a kernel, views are aliases
of buffers with other strides, and everything else is an `Extern` step. Results that are
an argument, a constant or an alias are copied into buffers of their own. With
`complex_views` the parts of a complex array are views too, and what makes both parts of
one writes them to its memory.
"""

from collections.abc import Mapping, Sequence
from dataclasses import field, replace

import numpy as np

from ..ir.aval import Shape, ShapedArray
from ..ir.dtypes import real_dtype
from ..ir.graph import Atom, Eqn, Graph, Var, structure_of, subgraph
from ..ir.ops.contract import dot_general_p
from ..ir.ops.control import cond_p, fusion_p, inlined_graph
from ..ir.ops.conv import conv_general_p
from ..ir.ops.custom import barrier_p
from ..ir.ops.elementwise import complex_p, imag_p, real_p
from ..ir.ops.loops import ScanParams, WhileParams, scan_p, while_p
from ..ir.ops.shape import (
    broadcast_in_dim_p,
    constant_p,
    ints,
    reshape_p,
    rev_p,
    slice_p,
    sliding_window_p,
    transpose_p,
)
from ..ir.primitive import ArrayConstant, Params
from ..kernels.conv import conv_kernel
from ..kernels.kernel import Kernel
from ..kernels.lower import Space, kernel_of, lines_of
from ..kernels.schedule import Schedule
from ..kernels.views import VIEWS
from ..records import dataclass
from .pieces import is_in_pieces, is_piece, pieces_of
from .program import (
    Copy,
    Extern,
    If,
    Loop,
    Move,
    Program,
    ProgramBuffer,
    Purpose,
    Run,
    Step,
    Storage,
    While,
)

Strides = Sequence[Shape | None]


@dataclass(frozen=True)
class Part:
    """Where in the memory of an input a result lies; the rest is as it was.

    Parameters
    ----------
    input : int
    start, stride : tuple of int
        Of the slice, along each axis of the input.
    """

    input: int
    start: Shape
    stride: Shape


def lower_graph(
    graph: Graph,
    in_strides: Strides,
    complex_views: bool = False,
    out_strides: Mapping[int, Shape] | None = None,
    parts: Mapping[int, Part] | None = None,
) -> Program:
    """Return the Program of a graph.

    Parameters
    ----------
    graph : Graph
        After fusion.
    in_strides : sequence of (tuple of int or None)
        Element strides of the arguments; None for C-contiguous.
    complex_views : bool
        Whether ``real``, ``imag`` and ``complex`` are views, and no steps.
    out_strides : mapping of int to tuple of int, optional
        Element strides of results that are not C-contiguous: in another order of axes,
        or as the arguments are that they are to lie in the memory of.
    parts : mapping of int to Part, optional
        Results that are parts of others: these have the shape of an input, and begin
        as a copy of it.
    """
    lowering = _Lowering(graph.name, complex_views, out_strides or {}, parts or {})
    inputs = []
    for i, (var, strides) in enumerate(zip(graph.invars, in_strides, strict=True)):
        made = strides if strides is not None else contiguous(var.aval.shape)
        buffer = lowering.buffer(var.aval, Storage.INPUT, strides=made, index=i)
        lowering.home[var] = buffer
        inputs.append(buffer.name)
    lowering.claim_outputs(graph)
    lowering.equations(graph.eqns)
    outputs = lowering.finish(graph)
    return Program(
        graph.name,
        tuple(lowering.buffers.values()),
        tuple(inputs),
        tuple(outputs),
        tuple(lowering.steps),
    )


def contiguous(shape: Shape) -> Shape:
    """Return the element strides of a C-contiguous array."""
    out, step = [], 1
    for n in reversed(shape):
        out.append(step)
        step *= max(n, 1)
    return tuple(reversed(out))


def strides_in_order(shape: Shape, order: Shape) -> Shape:
    """Return the element strides of an array whose axes lie in an order.

    Examples
    --------
    >>> strides_in_order((2, 3), (1, 0))
    (1, 2)
    """
    inner = contiguous(tuple(shape[d] for d in order))
    return tuple(inner[order.index(d)] for d in range(len(shape)))


@dataclass
class _Lowering:
    """The program under construction."""

    name: str
    complex_views: bool = False
    out_strides: Mapping[int, Shape] = field(default_factory=dict)
    parts: Mapping[int, Part] = field(default_factory=dict)
    wholes: dict[int, tuple[ProgramBuffer, ProgramBuffer]] = field(default_factory=dict)
    buffers: dict[str, ProgramBuffer] = field(default_factory=dict)
    home: dict[Var, ProgramBuffer] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    claimed: dict[Var, ProgramBuffer] = field(default_factory=dict)
    outputs: dict[int, ProgramBuffer] = field(default_factory=dict)
    kernels: int = 0
    known: dict[object, tuple[Kernel, Schedule]] = field(default_factory=dict)
    loops: int = 0

    def buffer(
        self,
        aval: ShapedArray,
        storage: Storage,
        strides: Shape | None = None,
        index: int = -1,
        base: str | None = None,
        offset: int = -1,
        data: np.ndarray | None = None,
    ) -> ProgramBuffer:
        """Add a buffer and return it."""
        kind = {Storage.INPUT: "x", Storage.OUTPUT: "y", Storage.CONSTANT: "c"}
        name = f"{kind.get(storage, 't')}{len(self.buffers)}"
        made = ProgramBuffer(
            name,
            aval.dtype,
            aval.shape,
            contiguous(aval.shape) if strides is None else strides,
            storage,
            index,
            base,
            offset,
            data,
        )
        self.buffers[name] = made
        return made

    def claim_outputs(self, graph: Graph) -> None:
        """Let equations write results straight into OUTPUT buffers."""
        made_by = {v: e for e in graph.eqns for v in e.outvars}
        for i, part in self.parts.items():
            self.claim_part(graph, i, part, made_by)
        for i, x in enumerate(graph.outvars):
            strides = self.out_strides.get(i, contiguous(x.aval.shape))
            found = None if i in self.parts else self._written(x, strides, made_by)
            if found is not None:
                self.outputs[i] = self.output(x, i)
                self._claim(found, self.outputs[i])

    def claim_part(
        self, graph: Graph, index: int, part: Part, made_by: Mapping[Var, Eqn]
    ) -> None:
        """Copy an input to a result, and let equations write their part of that."""
        source, x = self.home[graph.invars[part.input]], graph.outvars[index]
        whole = self.output(graph.invars[part.input], index)
        lines = _lines_of(graph).get(x, ())
        self.copy(source, whole, Purpose.WHOLE, lines)
        steps = list(zip(whole.strides, part.start, part.stride, strict=True))
        strides = tuple(s * step for s, _, step in steps)
        offset = sum(s * start for s, start, _ in steps)
        place = self.piece_of(whole, x.aval.shape, strides, offset)
        self.wholes[index] = whole, place
        self._claim(self._written(x, strides, made_by), place)

    def finish_part(self, x: Atom, index: int) -> str:
        """Copy what is not there yet; return the result that a part is of."""
        whole, place = self.wholes[index]
        self.copy(self.operand(x), place, Purpose.WHOLE)
        return whole.name

    def output(self, x: Atom, index: int) -> ProgramBuffer:
        """Add the buffer of a result."""
        strides = self.out_strides.get(index)
        return self.buffer(x.aval, Storage.OUTPUT, strides, index)

    def result(self, var: Var) -> ProgramBuffer:
        """Return the buffer an equation writes `var` to."""
        if var not in self.home:
            found = self.claimed.get(var)
            self.home[var] = found or self.buffer(var.aval, Storage.ARENA)
        return self.home[var]

    def operand(self, x: Atom) -> ProgramBuffer:
        """Return the buffer of an operand; literals become constants."""
        if isinstance(x, Var):
            return self.home[x]
        return self.buffer(x.aval, Storage.CONSTANT, data=np.asarray(x.value))

    def equations(self, eqns: Sequence[Eqn]) -> None:
        """Lower equations in order."""
        joined = self.claim_parts(eqns) if self.complex_views else {}
        self.claim_pieces(eqns)
        for eqn in eqns:
            graph = inlined_graph(eqn)
            if graph is not None:
                self.inline(eqn, graph)
            elif eqn.primitive is fusion_p:
                self.fusion(eqn)
            elif eqn.primitive is dot_general_p:
                self.contraction(eqn)
            elif eqn.primitive is conv_general_p:
                self.convolution(eqn)
            elif eqn.primitive is constant_p:
                value = eqn.params["value"]
                assert isinstance(value, ArrayConstant)
                var = eqn.outvars[0]
                self.home[var] = self.buffer(
                    var.aval, Storage.CONSTANT, data=value.array
                )
            elif eqn.primitive in VIEWS:
                self.alias(eqn)
            elif self.complex_views and eqn.primitive in (real_p, imag_p):
                whole = self.operand(eqn.invars[0])
                part = self.part_of(whole, int(eqn.primitive is imag_p))
                self.home[eqn.outvars[0]] = part
            elif eqn in joined:
                self.join(eqn, joined[eqn])
            elif is_in_pieces(eqn):
                self.join_pieces(eqn)
            elif eqn.primitive is barrier_p:
                self.barrier(eqn)
            elif eqn.primitive is cond_p:
                self.cond(eqn)
            elif eqn.primitive is scan_p:
                self.scan(eqn)
            elif eqn.primitive is while_p:
                self.while_(eqn)
            else:
                self.extern(eqn)

    def extern(self, eqn: Eqn) -> None:
        ins = tuple(self.operand(x).name for x in eqn.invars)
        outs = tuple(self.result(v).name for v in eqn.outvars)
        step = Extern(eqn.primitive, eqn.params, ins, outs, eqn.source, eqn.outvars)
        self.steps.append(step)

    def fusion(self, eqn: Eqn) -> None:
        """Add the kernel of a group."""
        graph = subgraph(eqn.params)
        ins = [self.operand(x) for x in eqn.invars]
        outs = [self.result(v) for v in eqn.outvars]
        kernel, schedule = self.kernel_of(
            graph,
            Space(ints(eqn.params, "space"), ints(eqn.params, "reduced")),
            tuple(b.strides for b in ins),
            tuple(b.strides for b in outs),
        )
        names = tuple(b.name for b in ins), tuple(b.name for b in outs)
        ends = (graph,), eqn.outvars
        self.steps.append(Run(kernel, schedule, *names, eqn.source, *ends))

    def kernel_of(
        self,
        graph: Graph,
        space: Space,
        in_strides: tuple[Shape, ...],
        out_strides: tuple[Shape, ...],
    ) -> tuple[Kernel, Schedule]:
        """Return the kernel of a group: repeated layers are lowered once.

        For a group like an earlier one it is that one's, with a name of its own (what
        is merged may keep it) and the lines of the group itself. `share_kernels` knows
        such kernels by their one body.
        """
        name = self.kernel_name()
        key = (structure_of(graph), space, in_strides, out_strides)
        known = self.known.get(key)
        if known is None:
            known = kernel_of(graph, space, name, in_strides, out_strides)
            self.known[key] = known
            return known
        kernel, schedule = known
        return replace(kernel, name=name, source=lines_of(graph)), schedule

    def kernel_name(self) -> str:
        self.kernels += 1
        return f"{self.name}_k{self.kernels - 1}"

    def contraction(self, eqn: Eqn) -> None:
        """Add a product that no group has: its own group, if it is one of numbers."""
        aval = eqn.outvars[0].aval
        has_arrays = all(isinstance(x, Var) for x in eqn.invars)
        if has_arrays and aval.size and aval.dtype.kind != "c":
            self.fusion(group_of_one(eqn))
        else:
            self.extern(eqn)

    def convolution(self, eqn: Eqn) -> None:
        """Add the kernel of a convolution of numbers, if there is anything to sum."""
        avals = [x.aval for x in (*eqn.invars, *eqn.outvars)]
        if avals[0].dtype.kind == "c" or not all(a.size for a in avals):
            self.extern(eqn)
            return
        ins = [self.operand(x) for x in eqn.invars]
        out = self.result(eqn.outvars[0])
        strides = [b.strides for b in ins]
        kernel, schedule = conv_kernel(eqn, self.kernel_name(), strides, out.strides)
        names = tuple(b.name for b in ins), (out.name,)
        ends = (subgraph(group_of_one(eqn).params),), eqn.outvars
        self.steps.append(Run(kernel, schedule, *names, eqn.source, *ends))

    # --- parts of complex arrays

    def claim_parts(self, eqns: Sequence[Eqn]) -> dict[Eqn, Sequence[ProgramBuffer]]:
        """Let equations write parts to the memory of the complex arrays they make.

        Returns
        -------
        dict of Eqn to sequence of ProgramBuffer
            The places of both parts, for each equation that joins two of full shape.
        """
        made_by = {v: e for e in eqns for v in e.outvars}
        joined: dict[Eqn, Sequence[ProgramBuffer]] = {}
        for eqn in eqns:
            shape = eqn.outvars[0].aval.shape if eqn.outvars else ()
            full = all(x.aval.shape == shape for x in eqn.invars)
            if eqn.primitive is complex_p and full:
                whole = self.result(eqn.outvars[0])
                joined[eqn] = [self.part_of(whole, k) for k in (0, 1)]
                for x, part in zip(eqn.invars, joined[eqn], strict=True):
                    if isinstance(x, Var) and self._can_claim(x, made_by):
                        self.claimed[x] = part
        return joined

    def claim_pieces(self, eqns: Sequence[Eqn]) -> None:
        """Let equations write the pieces of an array to its memory."""
        made_by = {v: e for e in eqns for v in e.outvars}
        for eqn in filter(is_in_pieces, eqns):
            whole = self.result(eqn.outvars[0])
            for x, offset in pieces_of(eqn, whole.strides):
                self._claim(self._written(x, whole.strides, made_by), whole, offset)

    def join_pieces(self, eqn: Eqn) -> None:
        """Copy the pieces that are not there yet."""
        whole = self.result(eqn.outvars[0])
        for x, offset in pieces_of(eqn, whole.strides):
            home, shape = self.operand(x), x.aval.shape
            if not is_piece(home, whole, shape, offset):
                piece = self.piece_of(whole, shape, whole.strides, offset)
                self.copy(home, piece, Purpose.PIECE, eqn.source)

    def piece_of(
        self, whole: ProgramBuffer, shape: Shape, strides: Shape, offset: int
    ) -> ProgramBuffer:
        """Return the alias of a part of a buffer."""
        offset += whole.offset if whole.storage is Storage.ALIAS else 0
        made = self.buffer(
            ShapedArray(shape, whole.dtype),
            Storage.ALIAS,
            strides=strides,
            base=whole.base or whole.name,
            offset=offset,
        )
        return self.moving(made, whole.moves)

    def _written(
        self, x: Atom, strides: Shape, made_by: Mapping[Var, Eqn]
    ) -> tuple[Var, Shape] | None:
        """Return what a step writes: a value, or what it has the elements of.

        With its strides where those of the value are `strides`; None where it has a
        place already, or no step writes it. A reshape of what no step writes is
        perhaps a copy.
        """
        copied: tuple[Var, Shape] | None = None
        while isinstance(x, Var) and x in made_by:
            eqn = made_by[x]
            if eqn.primitive is transpose_p and not _is_reshape(eqn):
                moved = zip(ints(eqn.params, "perm"), strides, strict=True)
                x, strides = eqn.invars[0], tuple(s for _, s in sorted(moved))
                if strides != contiguous(x.aval.shape):  # a copy writes faster
                    break
                continue
            if not _is_reshape(eqn):
                return (x, strides) if self._can_claim(x, made_by) else copied
            (y,) = eqn.invars
            found = _reshaped_strides(x.aval.shape, strides, y.aval.shape)
            if found is None:
                break
            copied = (x, strides) if x not in self.claimed else None
            x, strides = y, found[0]
        return copied

    def _claim(
        self,
        written: tuple[Var, Shape] | None,
        whole: ProgramBuffer,
        offset: int = 0,
    ) -> None:
        """Let a step write its result to a part of a buffer."""
        if written is None:
            return
        x, strides = written
        shape = x.aval.shape
        is_whole = (shape, strides, offset) == (whole.shape, whole.strides, 0)
        piece = whole if is_whole else self.piece_of(whole, shape, strides, offset)
        self.claimed[x] = piece

    def _can_claim(self, x: Var, made_by: Mapping[Var, Eqn]) -> bool:
        """Tell whether a value is the result of a step, with no place of its own."""
        return x in made_by and x not in self.claimed and self._writes(made_by[x])

    def join(self, eqn: Eqn, parts: Sequence[ProgramBuffer]) -> None:
        """Copy what is not there yet."""
        for x, part in zip(eqn.invars, parts, strict=True):
            self.copy(self.operand(x), part, Purpose.PART, eqn.source)

    def _writes(self, eqn: Eqn) -> bool:
        is_view = self.complex_views and eqn.primitive in (real_p, imag_p)
        return _writes(eqn) and not is_view

    def part_of(self, x: ProgramBuffer, k: int) -> ProgramBuffer:
        """Return the alias of the real (0) or imaginary (1) parts of a buffer."""
        offset = x.offset if x.storage is Storage.ALIAS else 0
        made = self.buffer(
            ShapedArray(x.shape, real_dtype(x.dtype)),
            Storage.ALIAS,
            strides=tuple(2 * s for s in x.strides),
            base=x.base or x.name,
            offset=2 * offset + k,
        )
        return self.moving(made, tuple(Move(m.loop, 2 * m.step) for m in x.moves))

    # --- views of buffers

    def alias(self, eqn: Eqn) -> None:
        """Give a view the memory of its operand, or of a copy."""
        source = self.operand(eqn.invars[0])
        found = _view_strides(eqn, source.strides)
        if found is None:
            self._reshaped_copy(eqn, source)
            return
        strides, offset = found
        if source.storage is Storage.ALIAS:
            offset += source.offset
        base = source.base if source.storage is Storage.ALIAS else source.name
        var = eqn.outvars[0]
        made = self.buffer(
            var.aval, Storage.ALIAS, strides=strides, base=base, offset=offset
        )
        self.home[var] = self.moving(made, source.moves)

    def _reshaped_copy(self, eqn: Eqn, source: ProgramBuffer) -> None:
        """A reshape of memory that is not contiguous: copy, then reshape."""
        x, var = eqn.invars[0], eqn.outvars[0]
        place = self.claimed.get(var)
        if place is None:
            copy = self.buffer(x.aval, Storage.ARENA)
            place = self.buffer(var.aval, Storage.ALIAS, base=copy.name, offset=0)
        else:
            found = _reshaped_strides(var.aval.shape, place.strides, x.aval.shape)
            assert found is not None  # no other places are claimed
            copy = self.piece_of(place, x.aval.shape, found[0], 0)
        self.copy(source, copy, Purpose.RESHAPE, eqn.source)
        self.home[var] = place

    # --- sub-graphs

    def inline(self, eqn: Eqn, graph: Graph) -> None:
        """Lower the equations of the graph that an equation stands for."""
        self.enter(graph, [self.operand(x) for x in eqn.invars], {})
        for var, x in zip(eqn.outvars, graph.outvars, strict=True):
            self.home[var] = self.operand(x)

    def barrier(self, eqn: Eqn) -> None:
        """Give the results the memory of the operands: no step, no copy."""
        for var, x in zip(eqn.outvars, eqn.invars, strict=False):
            self.home[var] = self.operand(x)

    def enter(
        self,
        graph: Graph,
        ins: Sequence[ProgramBuffer],
        places: Mapping[Atom, ProgramBuffer],
    ) -> None:
        """Lower the equations of a sub-graph, which may have been lowered before.

        Results are written to `places`, where an equation can.
        """
        for var in (v for e in graph.eqns for v in e.outvars):
            self.home.pop(var, None)
            self.claimed.pop(var, None)
        self.home.update(zip(graph.invars, ins, strict=True))
        self.claim(graph, places)
        self.equations(graph.eqns)

    def cond(self, eqn: Eqn) -> None:
        predicate = self.operand(eqn.invars[0])
        outs = [self.result(v) for v in eqn.outvars]
        branches = []
        for name in ("on_true", "on_false"):
            graph = eqn.params[name]
            assert isinstance(graph, Graph)
            branches.append(self.branch(eqn, graph, outs))
        self.steps.append(If(predicate.name, branches[0], branches[1], eqn.source))

    def branch(
        self, eqn: Eqn, graph: Graph, outs: Sequence[ProgramBuffer]
    ) -> tuple[Step, ...]:
        return self.body(eqn, graph, [self.operand(x) for x in eqn.invars[1:]], outs)

    def body(
        self,
        eqn: Eqn,
        graph: Graph,
        ins: Sequence[ProgramBuffer],
        outs: Sequence[ProgramBuffer],
        carries: Sequence[ProgramBuffer] = (),
        purpose: Purpose = Purpose.BRANCH,
    ) -> tuple[Step, ...]:
        """Return the steps of a sub-graph of `eqn` from its operands to `outs`.

        First of the outs are what `carries` are to be afterwards: these are written
        when all else is done. `purpose` is that of copies to `outs`.
        """
        outer, self.steps = self.steps, []
        results = graph.outvars[len(carries) :]
        lines: dict[Atom, tuple[str, ...]] = dict.fromkeys(graph.invars, eqn.source)
        lines.update(_lines_of(graph))
        self.enter(graph, ins, dict(zip(results, outs, strict=True)))
        for x, out in zip(results, outs, strict=True):
            self.copy(self.operand(x), out, purpose, lines.get(x, ()))
        self.next_carries(graph.outvars[: len(carries)], carries, lines)
        mine, self.steps = self.steps, outer
        return tuple(mine)

    def claim(self, graph: Graph, places: Mapping[Atom, ProgramBuffer]) -> None:
        """Let equations write their results to places."""
        made_by = {v: e for e in graph.eqns for v in e.outvars}
        for x, place in places.items():
            self._claim(self._written(x, place.strides, made_by), place)

    def copy(
        self,
        source: ProgramBuffer,
        target: ProgramBuffer,
        purpose: Purpose,
        lines: tuple[str, ...] = (),
    ) -> None:
        """Copy what is not there yet."""
        if source is not target and not is_piece(source, target, target.shape, 0):
            self.steps.append(Copy(source.name, target.name, lines, purpose))

    def next_carries(
        self,
        values: Sequence[Atom],
        carries: Sequence[ProgramBuffer],
        lines: Mapping[Atom, tuple[str, ...]],
    ) -> None:
        """Copy what a turn gives to the carries, as if all at once."""
        homes = [self.operand(x) for x in values]
        roots = {c.base or c.name for c in carries}
        for i, (home, carry) in enumerate(zip(homes, carries, strict=True)):
            if home is not carry and (home.base or home.name) in roots:
                homes[i] = self.buffer(aval_of(home), Storage.ARENA)
                self.copy(home, homes[i], Purpose.CARRY, lines.get(values[i], ()))
        for x, home, carry in zip(values, homes, carries, strict=True):
            self.copy(home, carry, Purpose.CARRY, lines.get(x, ()))

    # --- loops

    def scan(self, eqn: Eqn) -> None:
        """Add a loop; slices of the xs and ys are aliases that move with it."""
        p = ScanParams.of(eqn.params)
        homes = [self.operand(x) for x in eqn.invars]
        fixed, inits, xs = p.split(homes)
        results = [self.result(v) for v in eqn.outvars]
        carries, ys = p.split_results(results)
        for init, carry in zip(inits, carries, strict=True):
            self.copy(init, carry, Purpose.START, eqn.source)
        if not p.length:
            return
        self.loops += 1
        name = f"i{self.loops - 1}"
        slices = [self.slice_of(x, p, name) for x in xs]
        places = [self.slice_of(y, p, name) for y in ys]
        ins = [*fixed, *carries, *slices]
        steps = self.body(eqn, p.body, ins, places, carries, Purpose.SLICE)
        self.steps.append(Loop(p.length, steps, eqn.source, name))

    def slice_of(self, x: ProgramBuffer, p: ScanParams, loop: str) -> ProgramBuffer:
        """Return the alias of one slice along axis 0, which moves with a loop."""
        step = x.strides[0]
        offset = x.offset if x.storage is Storage.ALIAS else 0
        made = self.buffer(
            ShapedArray(x.shape[1:], x.dtype),
            Storage.ALIAS,
            strides=x.strides[1:],
            base=x.base or x.name,
            offset=offset + (step * (p.length - 1) if p.reverse else 0),
        )
        move = Move(loop, -step if p.reverse else step)
        return self.moving(made, (*x.moves, move) if step else x.moves)

    def moving(self, alias: ProgramBuffer, moves: tuple[Move, ...]) -> ProgramBuffer:
        """Return an alias that was made just now, but moving."""
        if moves:
            alias = self.buffers[alias.name] = replace(alias, moves=moves)
        return alias

    def while_(self, eqn: Eqn) -> None:
        """Add the steps of the test and of the body, over carries in one place."""
        p = WhileParams.of(eqn.params)
        homes = [self.operand(x) for x in eqn.invars]
        for_test, for_body, inits = p.split(homes)
        carries = [self.result(v) for v in eqn.outvars]
        for init, carry in zip(inits, carries, strict=True):
            self.copy(init, carry, Purpose.START, eqn.source)
        predicate = self.buffer(p.test.out_avals[0], Storage.ARENA)
        test = self.body(eqn, p.test, [*for_test, *carries], [predicate])
        steps = self.body(eqn, p.body, [*for_body, *carries], [], carries)
        self.steps.append(While(predicate.name, test, steps, eqn.source))

    def finish(self, graph: Graph) -> list[str]:
        """Return the output buffers, copying results that live elsewhere."""
        lines = _lines_of(graph)
        names = []
        for i, x in enumerate(graph.outvars):
            if i in self.parts:
                names.append(self.finish_part(x, i))
                continue
            home = self.operand(x)
            out = self.outputs.get(i) or self.output(x, i)
            self.copy(home, out, Purpose.RESULT, lines.get(x, ()))
            names.append(out.name)
        return names


def aval_of(buffer: ProgramBuffer) -> ShapedArray:
    """Return shape and dtype of a buffer."""
    return ShapedArray(buffer.shape, buffer.dtype)


def _lines_of(graph: Graph) -> dict[Atom, tuple[str, ...]]:
    """Return the user's lines of what each value is computed by."""
    return {v: e.source for e in graph.eqns for v in e.outvars}


def _writes(eqn: Eqn) -> bool:
    """Tell whether an equation has steps of its own that write its results."""
    is_place = eqn.primitive in (*VIEWS, barrier_p, constant_p)
    return not is_place and inlined_graph(eqn) is None


def _is_reshape(eqn: Eqn) -> bool:
    """Tell whether elements follow one another in the result as in the operand."""
    if eqn.primitive is not transpose_p:
        return eqn.primitive is reshape_p
    shape = eqn.invars[0].aval.shape
    moved = [d for d in ints(eqn.params, "perm") if shape[d] != 1]
    return moved == sorted(moved)


def _view_strides(eqn: Eqn, strides: Shape) -> tuple[Shape, int] | None:
    """Return strides and offset of a view, in elements; None when it needs a copy."""
    shape, params = eqn.invars[0].aval.shape, eqn.params
    if eqn.primitive is transpose_p:
        return tuple(strides[p] for p in ints(params, "perm")), 0
    if eqn.primitive is slice_p:
        start, step = ints(params, "start"), ints(params, "stride")
        offset = sum(a * s for a, s in zip(start, strides, strict=True))
        return tuple(s * t for s, t in zip(strides, step, strict=True)), offset
    if eqn.primitive is rev_p:
        axes = ints(params, "axes")
        moved = [d for d in axes if shape[d]]
        offset = sum((shape[d] - 1) * strides[d] for d in moved)
        signed = (-s if d in axes else s for d, s in enumerate(strides))
        return tuple(signed), offset
    if eqn.primitive is broadcast_in_dim_p:
        out = [0] * len(ints(params, "shape"))
        for d, n, s in zip(ints(params, "dims"), shape, strides, strict=True):
            out[d] = 0 if n == 1 else s
        return tuple(out), 0
    if eqn.primitive is sliding_window_p:
        axis = params["axis"]
        assert isinstance(axis, int)
        return (*strides, strides[axis]), 0
    return _reshaped_strides(shape, strides, eqn.outvars[0].aval.shape)


def _reshaped_strides(
    shape: Shape, strides: Shape, target: Shape
) -> tuple[Shape, int] | None:
    real = [(n, s) for n, s in zip(shape, strides, strict=True) if n != 1]
    dense = contiguous(tuple(n for n, _ in real))
    if 0 in shape or tuple(s for _, s in real) == dense:
        return contiguous(target), 0
    kept = iter(strides[d] for d, n in enumerate(shape) if n != 1)
    if [n for n in shape if n != 1] == [n for n in target if n != 1]:
        return tuple(0 if n == 1 else next(kept) for n in target), 0
    return None


def group_of_one(eqn: Eqn) -> Eqn:
    """Return the fusion group of one equation that keeps its operands' axes."""
    ins = {x: Var(x.aval) for x in eqn.invars if isinstance(x, Var)}
    outs = tuple(Var(v.aval) for v in eqn.outvars)
    operands = tuple(ins[x] if isinstance(x, Var) else x for x in eqn.invars)
    inner = Eqn(eqn.primitive, operands, eqn.params, outs, eqn.source)
    graph = Graph(eqn.primitive.name, list(ins.values()), outs, [inner])
    params: Params = {"graph": graph, "space": eqn.outvars[0].aval.shape, "reduced": ()}
    return Eqn(fusion_p, tuple(ins), params, eqn.outvars, eqn.source)
