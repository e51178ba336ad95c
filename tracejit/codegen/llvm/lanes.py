"""A notation for rules over lanes: `Lanes` turns operations into instructions."""

import numpy as np

from ...records import dataclass
from .target import Target
from .text import Emitter, constant, vec
from .values import register_type


@dataclass(frozen=True)
class Lanes:
    """What a rule works with: where to write, and the operands' common type.

    Parameters
    ----------
    em : Emitter
    target : Target
    dtype : numpy.dtype
        Of the operands (of the values, for `select`).
    lanes : int
    """

    em: Emitter
    target: Target
    dtype: np.dtype
    lanes: int

    @property
    def element(self) -> str:
        """The register type of one lane."""
        return register_type(self.dtype)

    @property
    def type(self) -> str:
        """The register type."""
        return vec(self.element, self.lanes)

    @property
    def mask(self) -> str:
        """The type of a mask."""
        return vec("i1", self.lanes)

    def const(self, value: float) -> str:
        """Return a constant of the operands' type."""
        return constant(self.element, value, self.lanes)

    def op(self, name: str, *values: str) -> str:
        """Append ``name type values``."""
        return self.em.op(f"{name} {self.type} {', '.join(values)}")

    def call(self, name: str, *values: str) -> str:
        """Call an intrinsic on the operands' type."""
        return self.em.intrinsic(name, self.type, *values)

    def select(self, mask: str, yes: str, no: str) -> str:
        """Choose lane by lane."""
        return self.em.op(
            f"select {self.mask} {mask}, {self.type} {yes}, {self.type} {no}"
        )

    def both(self, name: str, left: str, right: str) -> str:
        """Combine two masks by ``and``, ``or`` or ``xor``."""
        return self.em.op(f"{name} {self.mask} {left}, {right}")
