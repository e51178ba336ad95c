"""Lowering: a graph with fusion groups becomes a Program.

Each `fusion`, `dot_general` and `conv_general` equation is a kernel, views are aliases
of buffers with other strides, and everything else is an `Extern` step. Results that are
an argument, a constant or an alias are copied into buffers of their own.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ..errors import InternalError
from ..ir.aval import Shape, ShapedArray
from ..ir.graph import Atom, Eqn, Graph, Literal, Var
from ..ir.ops.contract import dot_general_p, free_axes
from ..ir.ops.control import call_p, cond_p, fusion_p
from ..ir.ops.conv import conv_general_p
from ..ir.ops.shape import (
    broadcast_in_dim_p,
    constant_p,
    ints,
    reshape_p,
    rev_p,
    slice_p,
    transpose_p,
)
from ..ir.primitive import ArrayConstant
from ..kernels.conv import conv_kernel
from ..kernels.kernel import Axis, Buffer, Contract, Kernel, Load, Store, Value
from ..kernels.lower import Space, kernel_of
from ..kernels.maps import axis
from ..kernels.schedule import Role, Schedule
from .program import Copy, Extern, If, Program, ProgramBuffer, Run, Step, Storage

Strides = Sequence[Shape | None]


def lower_graph(graph: Graph, in_strides: Strides) -> Program:
    """Return the Program of a graph.

    Parameters
    ----------
    graph : Graph
        After fusion.
    in_strides : sequence of (tuple of int or None)
        Element strides of the arguments; None for C-contiguous.
    """
    lowering = _Lowering(graph.name)
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


@dataclass
class _Lowering:
    """The program under construction."""

    name: str
    buffers: dict[str, ProgramBuffer] = field(default_factory=dict)
    home: dict[Var, ProgramBuffer] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    claimed: dict[Var, ProgramBuffer] = field(default_factory=dict)
    kernels: int = 0

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
        for i, x in enumerate(graph.outvars):
            if not isinstance(x, Var) or x in self.claimed or x not in made_by:
                continue
            if made_by[x].primitive in (*ALIASES, constant_p):
                continue
            self.claimed[x] = self.buffer(x.aval, Storage.OUTPUT, index=i)

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
        for eqn in eqns:
            if eqn.primitive is fusion_p:
                self.fusion(eqn)
            elif eqn.primitive in (dot_general_p, conv_general_p):
                self.contraction(eqn)
            elif eqn.primitive is constant_p:
                value = eqn.params["value"]
                assert isinstance(value, ArrayConstant)
                var = eqn.outvars[0]
                self.home[var] = self.buffer(
                    var.aval, Storage.CONSTANT, data=value.array
                )
            elif eqn.primitive in ALIASES and self.alias(eqn):
                continue
            elif eqn.primitive is call_p:
                self.call(eqn)
            elif eqn.primitive is cond_p:
                self.cond(eqn)
            else:
                self.extern(eqn)

    def extern(self, eqn: Eqn) -> None:
        ins = tuple(self.operand(x).name for x in eqn.invars)
        outs = tuple(self.result(v).name for v in eqn.outvars)
        self.steps.append(Extern(eqn.primitive, eqn.params, ins, outs, eqn.source))

    def fusion(self, eqn: Eqn) -> None:
        graph, column, space = (eqn.params[k] for k in ("graph", "column", "space"))
        assert isinstance(graph, Graph)
        assert isinstance(space, tuple)
        ins = [self.operand(x) for x in eqn.invars]
        outs = [self.result(v) for v in eqn.outvars]
        kernel, schedule = kernel_of(
            graph,
            Space(space, bool(column)),  # type: ignore[arg-type]
            self.kernel_name(),
            [b.strides for b in ins],
            [b.strides for b in outs],
        )
        self.run(kernel, schedule, ins, outs, eqn.source)

    def kernel_name(self) -> str:
        self.kernels += 1
        return f"{self.name}_k{self.kernels - 1}"

    def run(
        self,
        kernel: Kernel,
        schedule: Schedule,
        ins: Sequence[ProgramBuffer],
        outs: Sequence[ProgramBuffer],
        source: tuple[str, ...],
    ) -> None:
        names = tuple(b.name for b in ins), tuple(b.name for b in outs)
        self.steps.append(Run(kernel, schedule, *names, source))

    def contraction(self, eqn: Eqn) -> None:
        avals = [x.aval for x in (*eqn.invars, *eqn.outvars)]
        is_conv = eqn.primitive is conv_general_p
        if avals[0].dtype.kind == "c" or not avals[2].size:
            self.extern(eqn)
            return
        if is_conv and not (avals[0].size and avals[1].size):
            self.extern(eqn)
            return
        ins = [self.operand(x) for x in eqn.invars]
        out = self.result(eqn.outvars[0])
        if is_conv:
            strides = [b.strides for b in ins]
            kernel, schedule = conv_kernel(
                eqn, self.kernel_name(), strides, out.strides
            )
        else:
            kernel, schedule = contraction_kernel(eqn, self.kernel_name(), ins, out)
        self.run(kernel, schedule, ins, [out], eqn.source)

    # --- views of buffers

    def alias(self, eqn: Eqn) -> bool:
        """Give a view the memory of its operand; False when strides cannot."""
        x = eqn.invars[0]
        if isinstance(x, Literal):
            return False
        source = self.home[x]
        found = _view_strides(eqn, source.strides)
        if found is None:
            self._reshaped_copy(eqn, source)
            return True
        strides, offset = found
        if source.storage is Storage.ALIAS:
            offset += source.offset
        base = source.base if source.storage is Storage.ALIAS else source.name
        var = eqn.outvars[0]
        self.home[var] = self.buffer(
            var.aval, Storage.ALIAS, strides=strides, base=base, offset=offset
        )
        return True

    def _reshaped_copy(self, eqn: Eqn, source: ProgramBuffer) -> None:
        """A reshape of memory that is not contiguous: copy, then reshape."""
        x, var = eqn.invars[0], eqn.outvars[0]
        copy = self.buffer(x.aval, Storage.ARENA)
        self.steps.append(Copy(source.name, copy.name, eqn.source))
        self.home[var] = self.buffer(var.aval, Storage.ALIAS, base=copy.name, offset=0)

    # --- sub-graphs

    def call(self, eqn: Eqn) -> None:
        graph = eqn.params["graph"]
        assert isinstance(graph, Graph)
        for var, x in zip(graph.invars, eqn.invars, strict=True):
            self.home[var] = self.operand(x)
        self.equations(graph.eqns)
        for var, x in zip(eqn.outvars, graph.outvars, strict=True):
            self.home[var] = self.operand(x)

    def cond(self, eqn: Eqn) -> None:
        predicate = self.operand(eqn.invars[0])
        outs = [self.result(v) for v in eqn.outvars]
        branches = []
        for name in ("on_true", "on_false"):
            graph = eqn.params[name]
            assert isinstance(graph, Graph)
            branches.append(self.branch(graph, eqn.invars[1:], outs))
        self.steps.append(If(predicate.name, branches[0], branches[1], eqn.source))

    def branch(
        self, graph: Graph, args: Sequence[Atom], outs: Sequence[ProgramBuffer]
    ) -> tuple[Step, ...]:
        outer, self.steps = self.steps, []
        for var, x in zip(graph.invars, args, strict=True):
            self.home[var] = self.operand(x)
        self.equations(graph.eqns)
        for x, out in zip(graph.outvars, outs, strict=True):
            self.steps.append(Copy(self.operand(x).name, out.name))
        mine, self.steps = self.steps, outer
        return tuple(mine)

    def finish(self, graph: Graph) -> list[str]:
        """Return the output buffers, copying results that live elsewhere."""
        names = []
        used: set[str] = set()
        for i, x in enumerate(graph.outvars):
            home = self.operand(x)
            if home.storage is Storage.OUTPUT and home.name not in used:
                used.add(home.name)
                names.append(home.name)
                continue
            out = self.buffer(x.aval, Storage.OUTPUT, index=i)
            self.steps.append(Copy(home.name, out.name))
            names.append(out.name)
        return names


ALIASES = (reshape_p, transpose_p, slice_p, rev_p, broadcast_in_dim_p)


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


# --- contractions -----------------------------------------------------------------


def contraction_kernel(
    eqn: Eqn, name: str, ins: Sequence[ProgramBuffer], out: ProgramBuffer
) -> tuple[Kernel, Schedule]:
    """Return the kernel of a `dot_general`: axes b (batch), i, j, k, merged to few."""
    contract, batch = eqn.params["contract"], eqn.params["batch"]
    assert isinstance(contract, tuple)
    assert isinstance(batch, tuple)
    sides = []
    for n, pair in enumerate(zip(contract, batch, strict=True)):
        summed, shared = (tuple(int(a) for a in p) for p in pair)  # type: ignore[union-attr, arg-type]
        sides.append((summed, shared, free_axes(len(ins[n].shape), summed, shared)))
    (kx, bx, ix), (ky, by, jy) = sides
    nb, ni = len(bx), len(ix)
    dims = [
        *(_Dim("b", (bx[d], by[d], d)) for d in range(nb)),
        *(_Dim("i", (ix[d], None, nb + d)) for d in range(ni)),
        *(_Dim("j", (None, jy[d], nb + ni + d)) for d in range(len(jy))),
        *(_Dim("k", (kx[d], ky[d], None)) for d in range(len(kx))),
    ]
    return _contraction(name, dims, [*ins, out], eqn)


@dataclass(frozen=True)
class _Dim:
    """One axis of a contraction and the axis it is of lhs, rhs and result."""

    role: str
    places: tuple[int | None, int | None, int | None]


@dataclass(frozen=True)
class _Merged:
    """Adjacent axes as one: extent, and the stride in lhs, rhs and result."""

    role: str
    extent: int
    strides: tuple[int | None, int | None, int | None]


def _merged(dims: Sequence[_Dim], buffers: Sequence[ProgramBuffer]) -> list[_Merged]:
    out: list[_Merged] = []
    for dim in dims:
        strides: list[int | None] = []
        extent = 1
        for place, buffer in zip(dim.places, buffers, strict=True):
            strides.append(None if place is None else buffer.strides[place])
            if place is not None:
                extent = buffer.shape[place]
        one = _Merged(dim.role, extent, tuple(strides))  # type: ignore[arg-type]
        if out and out[-1].role == dim.role and _can_merge(out[-1], one):
            outer = out.pop()
            one = _Merged(dim.role, outer.extent * extent, one.strides)
        elif extent == 1 and any(m.role == dim.role for m in out):
            continue
        out.append(one)
    return out


def _can_merge(outer: _Merged, inner: _Merged) -> bool:
    if outer.extent == 1:
        return True
    pairs = zip(outer.strides, inner.strides, strict=True)
    return all(a is None or b is None or a == b * inner.extent for a, b in pairs)


def _contraction(
    name: str, dims: Sequence[_Dim], buffers: Sequence[ProgramBuffer], eqn: Eqn
) -> tuple[Kernel, Schedule]:
    merged = _merged(dims, buffers)
    for role, at in (("i", (0, None, 0)), ("j", (None, 0, 0)), ("k", (0, 0, None))):
        if not any(m.role == role for m in merged):
            merged.append(_Merged(role, 1, at))
    counts: dict[str, int] = {}
    names = []
    for m in merged:
        n = counts.get(m.role, 0)
        counts[m.role] = n + 1
        names.append(m.role if not n else f"{m.role}{n}")
    params = []
    for which, label in enumerate(("a", "b", "c")):
        uses = [
            (n, m)
            for n, m in zip(names, merged, strict=True)
            if m.strides[which] is not None
        ]
        shape = tuple(m.extent for _, m in uses)
        strides = tuple(int(m.strides[which] or 0) for _, m in uses)
        buffer = Buffer(label, buffers[which].dtype, shape, strides)
        params.append((buffer, tuple(n for n, _ in uses)))
    summed = tuple(n for n, m in zip(names, merged, strict=True) if m.role == "k")
    return _contract_body(name, names, merged, params, summed, eqn)


def _contract_body(
    name: str,
    names: Sequence[str],
    merged: Sequence[_Merged],
    params: Sequence[tuple[Buffer, tuple[str, ...]]],
    summed: tuple[str, ...],
    eqn: Eqn,
) -> tuple[Kernel, Schedule]:
    (a, a_axes), (b, b_axes), (c, c_axes) = params
    x = Value("x", frozenset(a_axes), a.dtype)
    y = Value("y", frozenset(b_axes), b.dtype)
    z = Value("z", frozenset(c_axes), c.dtype)
    body = (
        Load(x, a.name, tuple(axis(n) for n in a_axes)),
        Load(y, b.name, tuple(axis(n) for n in b_axes)),
        Contract(z, summed, x, y),
        Store(c.name, tuple(axis(n) for n in c_axes), z),
    )
    axes = tuple(Axis(n, m.extent) for n, m in zip(names, merged, strict=True))
    kernel = Kernel(name, (a, b), (c,), axes, body, eqn.source)
    roles = {
        n: Role.GRID if m.role == "b" else Role.TILE
        for n, m in zip(names, merged, strict=True)
    }
    if not summed:
        raise InternalError(f"{name} contracts no axes")
    return kernel, Schedule(tuple(names), roles)
