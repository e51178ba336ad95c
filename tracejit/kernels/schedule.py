"""The schedule: how the axes of a kernel become loops, apart from what it computes."""

import enum
from collections.abc import Mapping
from dataclasses import field

from ..records import dataclass


class Role(enum.Enum):
    """What an axis becomes."""

    GRID = "grid"  # iterations independent of each other, may run anywhere
    SEQUENTIAL = "sequential"  # a plain loop
    VECTOR = "vector"  # the lanes of vectors, with a masked tail
    TILE = "tile"  # blocked by a micro-kernel (contractions)


class Placement(enum.Enum):
    """Where a value used in several phases of a loop lives."""

    RECOMPUTE = "recompute"  # computed again in each phase
    SCRATCH = "scratch"  # kept in a row buffer between phases
    BLOCK = "block"  # one for each block, kept in a row until all blocks are combined


@dataclass(frozen=True)
class Schedule:
    """How one kernel runs.

    Parameters
    ----------
    loops : tuple of str
        All axes, outermost first.
    roles : mapping of axis name to Role
        At most one VECTOR axis; axes after it in `loops` are reduced sequentially.
    placements : mapping of value name to Placement
        For values used in more than one phase; others need none.
    """

    loops: tuple[str, ...]
    roles: Mapping[str, Role]
    placements: Mapping[str, Placement] = field(default_factory=dict)

    @property
    def vector_axis(self) -> str | None:
        """The axis that becomes vector lanes, if any."""
        return next((a for a in self.loops if self.roles[a] is Role.VECTOR), None)
