"""What writers of steps that are no loop nests take, and what they give."""

from collections.abc import Callable
from dataclasses import dataclass

from ..jobs import Threading
from ..target import Target
from ..text import Emitter

NewEmitter = Callable[[], Emitter]


@dataclass(frozen=True)
class StepCode:
    """The functions of a step.

    Parameters
    ----------
    text : str
        The last is ``void @symbol(ptr inputs..., ptr outputs..., ptr scratch,
        ptr err)``, without the first input if the step is `in_place`.
    scratch_bytes : int
        Aligned to 64 bytes.
    can_fail : bool
        Whether it may write the error word.
    shared_ns : int
        Estimated work that threads share; 0 if they share none.
    in_place : bool
        The first output has the values of the first input already: the caller copies.
    """

    text: str
    scratch_bytes: int = 0
    can_fail: bool = False
    shared_ns: int = 0
    in_place: bool = False


@dataclass(frozen=True)
class Setting:
    """Where a step is written: its name, and what its functions may use.

    Parameters
    ----------
    symbol : str
    target : Target
    new_emitter : callable
        Returns an emitter for one more function of the module.
    threading : Threading
    """

    symbol: str
    target: Target
    new_emitter: NewEmitter
    threading: Threading
