"""What passes leave behind for users to ask about: decisions, as data.

Needs equations. Establishes the records of `PassContext.notes`; each is also a line of
text. What to do about one says `tracejit.debug.reasons`.
"""

from ..ir.aval import ShapedArray
from ..ir.graph import Eqn, Var
from ..ir.printer import format_eqn
from ..ir.rerolling import Rolled
from ..records import dataclass
from .groups import Refusal


@dataclass(frozen=True)
class Boundary:
    """Why a kernel reads a value from memory that another kernel computed.

    Parameters
    ----------
    producer, consumer : Eqn
        The equations on the two sides.
    value : Var
        What goes through memory.
    reason : Refusal
    """

    producer: Eqn
    consumer: Eqn
    value: Var
    reason: Refusal

    def __str__(self) -> str:
        lines = " and ".join(
            ", ".join(e.source) or format_eqn(e) for e in (self.producer, self.consumer)
        )
        made, used = self.producer.primitive.name, self.consumer.primitive.name
        return f"{self.reason.name}: {made} → {used} ({lines}): {self.reason.value}"


@dataclass(frozen=True)
class LaidOut:
    """A transposed matrix that was copied, as many products read it.

    Parameters
    ----------
    aval : ShapedArray
    products : int
        How many read it.
    source : tuple of str
    """

    aval: ShapedArray
    products: int
    source: tuple[str, ...]

    def __str__(self) -> str:
        where = ", ".join(self.source)
        return f"laid out: {self.aval}, read by {self.products} products ({where})"


@dataclass(frozen=True)
class TakenApart:
    """Arrays of short vectors that are computed component by component.

    Parameters
    ----------
    aval : ShapedArray
        The largest of them.
    equations : int
    source : tuple of str
    """

    aval: ShapedArray
    equations: int
    source: tuple[str, ...]

    def __str__(self) -> str:
        where = ", ".join(self.source)
        return f"taken apart: {self.aval}, {self.equations} equations ({where})"


@dataclass(frozen=True)
class ComputedAgain:
    """A value that the kernels which read it compute, instead of loading it.

    Parameters
    ----------
    aval : ShapedArray
    readers : int
        How many groups compute it.
    operations : int
        Equations that each of them adds at most.
    source : tuple of str
    """

    aval: ShapedArray
    readers: int
    operations: int
    source: tuple[str, ...]

    def __str__(self) -> str:
        where = ", ".join(self.source)
        return f"computed again: {self.aval}, in {self.readers} groups ({where})"


Note = Boundary | Rolled | LaidOut | TakenApart | ComputedAgain
