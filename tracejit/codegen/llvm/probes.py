"""Timestamps around the steps of a Program, for the profiler.

The host function reads a clock before each step and calls ``@tracejit_note`` after it,
which adds the time to the sums of the step and keeps the first `EVENTS` as they were.
Row 0 of the sums is the whole call, row 1 + n the step of number n, steps inside of
loops too, and the last row waking threads. Calls that run at the same time add to the
same sums.

What is noted lies in two tables of i64 that the caller provides:

- `SUMS_SYMBOL`: a row for each: ticks, how often it ran.
- `EVENTS_SYMBOL`: a head of `EVENT_WORDS` words (how many events there were, how many
  calls), then a row for each: call, row of the sums, ticks at start and end.

The clock is that of the processor: constant, the same on all cores, and read in a few
nanoseconds. `clock_text` is a function that gives it, to find out how fast it ticks.
"""

from .target import Target
from .text import Emitter

SUMS_SYMBOL = "tracejit_probe_sums"
EVENTS_SYMBOL = "tracejit_probe_events"
NOTE_SYMBOL = "tracejit_note"
CLOCK_SYMBOL = "tracejit_clock"
EVENTS = 1 << 14
EVENT_WORDS = 4
SUM_WORDS = 2


def has_clock(target: Target) -> bool:
    """Tell whether programs can read the clock of a processor."""
    return _is_x86(target) or target.triple.startswith(("aarch64", "arm64"))


def read_clock(em: Emitter, target: Target) -> str:
    """Write what reads the clock; return its ticks."""
    if _is_x86(target):
        name = "llvm.readcyclecounter"
        em.declarations[name] = f"declare i64 @{name}()"
        return em.op(f"call i64 @{name}()")
    return em.op('call i64 asm sideeffect "mrs $0, cntvct_el0", "=r"()')


def _is_x86(target: Target) -> bool:
    return target.triple.startswith(("x86_64", "amd64"))


def clock_text(target: Target) -> str:
    """Return the function ``i64 @tracejit_clock()``, that another module calls."""
    em = Emitter()
    em.ret("i64", read_clock(em, target))
    return "\n".join(
        [*em.declarations.values(), em.function(CLOCK_SYMBOL, [], result="i64")]
    )


def note_text(em: Emitter, target: Target) -> str:
    """Return the function that notes a step.

    Parameters
    ----------
    em : Emitter
        For one function of the module.
    target : Target
    """
    for symbol in (SUMS_SYMBOL, EVENTS_SYMBOL):
        em.globals_[symbol] = f"@{symbol} = external global i64"
    end = read_clock(em, target)
    ticks = em.op(f"sub i64 {end}, %start")
    place = em.op(f"mul i64 %row, {SUM_WORDS}")
    _add(em, em.gep("i64", f"@{SUMS_SYMBOL}", place), ticks)
    place = em.op(f"add i64 {place}, 1")
    _add(em, em.gep("i64", f"@{SUMS_SYMBOL}", place), "1")
    number = _add(em, f"@{EVENTS_SYMBOL}", "1")
    has_room = em.op(f"icmp ult i64 {number}, {EVENTS}")
    with em.if_(has_room) as branch:
        first = em.op(f"add i64 {number}, 1")
        first = em.op(f"mul i64 {first}, {EVENT_WORDS}")
        event = em.gep("i64", f"@{EVENTS_SYMBOL}", first)
        for k, word in enumerate(("%call", "%row", "%start", end)):
            em.store("i64", word, em.gep("i64", event, k), 8)
        branch.yield_([])
    em.ret()
    parameters = ["i64 %call", "i64 %row", "i64 %start"]
    attributes = "noinline nounwind"  # there are thousands of steps
    return em.function(
        NOTE_SYMBOL, parameters, linkage="internal", attributes=attributes
    )


def begin_call(em: Emitter) -> str:
    """Write what counts one more call; return its number."""
    return _add(em, em.gep("i64", f"@{EVENTS_SYMBOL}", 1), "1")


def note(em: Emitter, call: str, row: int, start: str) -> None:
    """Write the call that notes what began at `start`."""
    arguments = [("i64", call), ("i64", str(row)), ("i64", start)]
    em.call("void", NOTE_SYMBOL, arguments)


def _add(em: Emitter, place: str, value: str) -> str:
    return em.op(f"atomicrmw add ptr {place}, i64 {value} monotonic")
