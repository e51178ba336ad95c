"""How often lines run again in loops of Python, told from calls of one function.

Needs the user's frame of each equation while it is recorded. What runs again comes by
the same path: the same instruction of the same code in each frame up to the traced
function. A helper that is called in eight places comes by eight paths, one that is
called in a loop of eight turns by one.
"""

import sys
from collections.abc import Iterable
from dataclasses import field
from types import FrameType

from ..records import dataclass

UNROLLED = 8  # turns of a loop from which on it is worth telling


@dataclass
class Turns:
    """What one trace, and those inside of it, recorded by which path.

    Parameters
    ----------
    counts : dict of (str, str, int) to int
        By line, primitive and path.
    """

    counts: dict[tuple[str, str, int], int] = field(default_factory=dict)
    _base: int = 0  # the frame that runs the trace: paths end there

    def start(self) -> None:
        """Note that the caller of this function runs the traced one."""
        self._base = self._base or id(sys._getframe(1))

    def record(self, frame: FrameType, made: Iterable[tuple[str, str]]) -> None:
        """Count lines and primitives that the instruction of a frame recorded."""
        path, counts = self._path(frame), self.counts
        for line, primitive in made:
            key = line, primitive, path
            counts[key] = counts.get(key, 0) + 1

    def of_lines(self) -> dict[str, int]:
        """Return how many turns lines have in loops, from `UNROLLED` on.

        The first turns may record less, as what they begin with is simpler: of the
        equations of a line the rarest kind counts.
        """
        found: dict[str, int] = {}
        for (line, _, _), count in self.counts.items():
            if count >= UNROLLED:
                found[line] = min(count, found.get(line, count))
        return found

    def _path(self, frame: FrameType | None) -> int:
        path = 0
        while frame is not None and id(frame) != self._base:
            path = hash((path, id(frame.f_code), frame.f_lasti))
            frame = frame.f_back
        return path
