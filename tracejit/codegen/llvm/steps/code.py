"""What writers of steps that are no loop nests take, and what they give."""

from collections.abc import Callable, Sequence

from ....records import dataclass
from ..jobs import RangeJob
from ..sharing import Ranges, Threading
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


def step_over(
    setting: Setting,
    ranges: Ranges,
    body: Emitter,
    pointers: Sequence[str],
    work: int,
    per_thread: int,
    can_fail: bool = False,
    in_place: bool = False,
) -> StepCode:
    """Return a step that runs all ranges, on several threads if that pays.

    Parameters
    ----------
    setting : Setting
    ranges : Ranges
    body : Emitter
        Of the function of a range.
    pointers : sequence of str
        The parameters of the step, in order.
    work : int
        Estimated nanoseconds.
    per_thread : int
        How many ranges there are for each thread.
    can_fail, in_place : bool
        See `StepCode`.
    """
    own = [f"ptr {p}" for p in (*pointers, "%shared", "%own", "%err")]
    limited = [*own, "i64 %begin", "i64 %end"]
    inner = body.function(ranges.symbol, limited, linkage="internal")
    em, job = setting.new_emitter(), None
    if setting.threading.shares(work):
        task = RangeJob(setting.symbol, setting.threading, work, can_fail, per_thread)
        job = task.emit(em, setting.new_emitter(), ranges, pointers, "task")
    if job is None:
        values = [("ptr", p) for p in (*pointers, "%scratch", "%scratch", "%err")]
        limits = [("i64", "0"), ("i64", str(ranges.extent))]
        em.call("void", ranges.symbol, [*values, *limits])
    em.ret()
    names = [f"ptr {p}" for p in (*pointers, "%scratch", "%err")]
    text = em.function(setting.symbol, names, linkage="internal")
    return StepCode(
        "\n".join((inner, *([job.text] if job else ()), text)),
        job.scratch_bytes if job else ranges.own_bytes,
        can_fail,
        work if job else 0,
        in_place,
    )
