"""Stages of compilation that can be held, printed and measured.

`Traced` is the graph of a function at given arguments, `Lowered` the program of kernels,
`Compiled` what runs.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from .ir.graph import Graph
from .ir.interp import evaluate
from .ir.printer import format_graph
from .tracing.record import OutputLeaf, Recording, StaticLeaf, ViewLeaf
from .tracing.trace import Kind
from .tracing.tree import unflatten

Strides = tuple[tuple[int, ...] | None, ...]


@dataclass(frozen=True)
class Traced:
    """A function's graph at given arguments."""

    recording: Recording
    in_strides: Strides

    @property
    def graph(self) -> Graph:
        return self.recording.graph

    def as_text(self) -> str:
        return format_graph(self.graph)

    def lower(self) -> "Lowered":
        return Lowered(self.recording, self.in_strides)


@dataclass(frozen=True)
class Lowered:
    recording: Recording
    in_strides: Strides

    def compile(self) -> "Compiled":
        return Compiled(self.recording)


class Compiled:
    """What runs, with the plan that feeds it and makes results."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording

    def captures_current(self) -> bool:
        return all(c.is_current() for c in self.recording.captures)

    def writes_overlap(self, leaves: list[Any]) -> bool:
        writes = self.recording.writes
        if not writes:
            return False
        arrays = [x for x in leaves if isinstance(x, np.ndarray)]
        return any(
            x is not leaves[i] and np.may_share_memory(x, leaves[i])
            for i, _ in writes
            for x in arrays
        )

    def __call__(self, leaves: list[Any]) -> Any:
        inputs = []
        for feed, aval in zip(
            self.recording.inputs, self.recording.graph.in_avals, strict=True
        ):
            x = leaves[feed] if isinstance(feed, int) else feed.array
            inputs.append(np.asarray(x, aval.dtype))
        outs = [np.array(o, order="C") for o in evaluate(self.recording.graph, inputs)]
        for leaf, out in self.recording.writes:
            if not leaves[leaf].flags.writeable:
                raise ValueError("assignment destination is read-only")
            np.copyto(leaves[leaf], outs[out])
        results = [make_result(r, leaves, outs) for r in self.recording.results]
        return unflatten(self.recording.spec, results)


class _Memory:
    """Presents memory of `base` to NumPy with another offset, shape and strides."""

    def __init__(self, base: np.ndarray, leaf: ViewLeaf) -> None:
        self.base = base
        assert leaf.dtype is not None
        interface = dict(base.__array_interface__)
        address, read_only = interface["data"]
        interface.update(
            data=(address + leaf.offset, read_only or not leaf.writeable),
            shape=leaf.shape,
            strides=leaf.strides,
            typestr=leaf.dtype.str,
        )
        self.__array_interface__ = interface


def make_result(leaf: Any, leaves: list[Any], outs: list[np.ndarray]) -> Any:
    """Return one result leaf of a call."""
    if isinstance(leaf, StaticLeaf):
        return leaf.value
    if isinstance(leaf, OutputLeaf):
        out = outs[leaf.index]
        if leaf.kind is Kind.ARRAY:
            return out
        return out[()] if leaf.kind is Kind.SCALAR else out.item()
    base = leaves[leaf.argument] if leaf.argument >= 0 else outs[leaf.output]
    return base if leaf.whole else np.asarray(_Memory(base, leaf))
