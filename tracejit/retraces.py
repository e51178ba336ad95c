"""Why a function was traced again: a light record of each trace, compared with others.

Needs what each trace was made for (`tracing.leaves`), the switches, and what was there
before. Establishes `History`: the last traces of one function, and for each the changes
against the closest earlier one. It keeps no array and no code alive, and is touched
only when a function is traced.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from . import config
from .records import dataclass
from .tracing.leaves import ArgumentLeaf, DescribedCall, place_name, value_text
from .tracing.tree import Path, TreeSpec

if TYPE_CHECKING:
    from .compiled import Compiled

KEPT = 256  # traces of one function that are remembered
_SWITCHES = tuple(name for name, s in config.SWITCHES.items() if s.in_cache_key)


@dataclass(frozen=True)
class Change:
    """One thing in which a call differs from one that was traced before.

    Parameters
    ----------
    code : str
        Of `tracejit.debug.reasons`.
    subject : str
        An argument's leaf, a switch, a captured name.
    before, after : str
        What it was and is, in words.
    source : str
        The user's line that made it matter, if one did.
    """

    code: str
    subject: str
    before: str
    after: str
    source: str = ""

    def __str__(self) -> str:
        where = f" (asked at {self.source})" if self.source else ""
        if not self.before:
            return f"{self.subject}: {self.after}{where}"
        return f"{self.subject}: {self.after}, was {self.before}{where}"


@dataclass(eq=False)
class Trace:
    """What one trace of a function was made for.

    Parameters
    ----------
    number : int
        From 1.
    call : DescribedCall
    switches : tuple
        The values of those that code depends on.
    device : str
    dynamic : frozenset of int
        Int leaves that were run-time values.
    asked : dict of int to str
        Leaves whose values the trace asked for, with the user's lines.
    is_ready : bool
        Whether it was compiled: nothing failed.
    lost : str
        A code that says why its code is not there any more; empty while it is.
    closest : int
        Number of the closest earlier trace, 0 for a first one.
    changes : tuple of Change
        Against that.
    """

    number: int
    call: DescribedCall
    switches: tuple[config.Value, ...]
    device: str
    dynamic: frozenset[int]
    asked: dict[int, str]
    is_ready: bool = False
    lost: str = ""
    closest: int = 0
    changes: tuple[Change, ...] = ()

    def __str__(self) -> str:
        if not self.closest:
            leaves = ", ".join(f"{x.name}: {x.text}" for x in self.call.leaves)
            return f"trace {self.number}: first, for {leaves or 'no arguments'}"
        changes = "; ".join(f"{c.code} {c}" for c in self.changes)
        return f"trace {self.number}, closest is trace {self.closest}: {changes}"


class History:
    """The traces of one function.

    Attributes
    ----------
    traces : deque of Trace
        The last ones.
    count : int
        Of all traces.
    overlaps : int
        Calls that ran in NumPy, as their arguments overlapped.
    """

    def __init__(self) -> None:
        self.traces: deque[Trace] = deque(maxlen=KEPT)
        self.count = 0
        self.overlaps = 0
        self._warned: set[tuple[str, str]] = set()

    def begin(
        self,
        call: DescribedCall,
        device: str,
        dynamic: frozenset[int],
        stale: "Compiled | None" = None,
    ) -> Trace:
        """Add a trace that is about to be made, with what differs from earlier ones.

        Parameters
        ----------
        call : DescribedCall
        device : str
        dynamic : frozenset of int
        stale : Compiled, optional
            What was compiled for such calls, if it captured what is no longer there.
        """
        self.count += 1
        trace = Trace(self.count, call, config.cache_key(), device, dynamic, {})
        earlier = [t for t in self.traces if t.is_ready]
        if stale is not None:
            trace.closest = self._number_of(stale, earlier)
            trace.changes = tuple(_stale(stale))
        elif earlier:
            closest, trace.changes = closest_of(trace, earlier)
            trace.closest = closest.number
        self.traces.append(trace)
        return trace

    def end(self, trace: Trace, compiled: "Compiled") -> None:
        """Note that a trace was compiled."""
        trace.asked = dict(compiled.recording.asked)
        trace.is_ready = True

    def lose(self, compiled: "Compiled", code: str) -> None:
        """Note why the code of a trace is not there any more."""
        for trace in self.traces:
            if trace.call is compiled.recording.call:
                trace.lost = code

    def lose_all(self, code: str) -> None:
        """Note the same for all traces."""
        for trace in self.traces:
            trace.lost = trace.lost or code

    def new_cause(self, trace: Trace) -> Change | None:
        """Return the first change of a trace that was not warned of, and note it."""
        for change in trace.changes:
            key = change.code, change.subject
            if key not in self._warned:
                self._warned.add(key)
                return change
        return None

    def _number_of(self, compiled: "Compiled", earlier: Sequence[Trace]) -> int:
        same = (t.number for t in earlier if t.call is compiled.recording.call)
        return next(same, earlier[-1].number if earlier else 0)


def closest_of(
    trace: Trace, earlier: Sequence[Trace]
) -> tuple[Trace, tuple[Change, ...]]:
    """Return the earlier trace with the fewest changes, the latest of such, and these.

    Where there are none, the reason why its code is not there any more.
    """
    found = ((t, (*differences(t, trace),)) for t in reversed(earlier))
    best, changes = min(found, key=lambda row: len(row[1]))
    if changes:
        return best, changes
    code = best.lost or "RETRACE_REPLACED"
    return best, (
        Change(code, "the same call", "", f"compiled by trace {best.number}"),
    )


def differences(old: Trace, new: Trace) -> Iterator[Change]:
    """Yield in what one trace's call differs from that of another."""
    yield from _tree_changes(old, new)
    yield from _leaf_changes(old, new)
    yield from _alias_changes(old.call, new.call)
    for name, a, b in zip(_SWITCHES, old.switches, new.switches, strict=True):
        if a != b:
            yield Change("RETRACE_SWITCH", name, repr(a), repr(b))
    if old.device != new.device:
        yield Change("RETRACE_DEVICE", "the device", old.device, new.device)


# --- containers -------------------------------------------------------------------


def _tree_changes(old: Trace, new: Trace) -> Iterator[Change]:
    # What the calls have in common, the longer one has a name for.
    names = max(old.call.parameters, new.call.parameters, key=len)
    leaves = [{x.name: x.text for x in t.call.leaves} for t in (old, new)]
    for path, before, after in _mismatches(old.call.spec, new.call.spec, ()):
        name = place_name(path, names)
        sides = zip((before, after), leaves, strict=True)
        texts = [known.get(name) or _described(spec) for spec, known in sides]
        yield Change("RETRACE_TREE", name, *texts)


def _mismatches(
    old: TreeSpec, new: TreeSpec, path: Path
) -> Iterator[tuple[Path, TreeSpec, TreeSpec]]:
    """Yield where containers differ, and what stands there, outermost first."""
    if old == new:
        return
    if old.kind is not new.kind or old.keys != new.keys:
        yield path, old, new
        return
    for key, a, b in zip(old.keys, old.children, new.children, strict=True):
        yield from _mismatches(a, b, (*path, key))


def _described(spec: TreeSpec) -> str:
    """Return a container in words; leaves have texts of their own."""
    if spec.kind is None:
        return "a value"
    if spec.kind is type(None):
        return "None"
    if spec.kind is dict:
        return f"a dict of {', '.join(map(value_text, spec.keys)) or 'nothing'}"
    return f"a {spec.kind.__name__} of {len(spec.keys)}"


# --- leaves -----------------------------------------------------------------------


def _leaf_changes(old: Trace, new: Trace) -> Iterator[Change]:
    """Yield how leaves differ that both calls have, by their names."""
    before = {x.name: (i, x) for i, x in enumerate(old.call.leaves)}
    for k, leaf in enumerate(new.call.leaves):
        if leaf.name not in before:
            continue
        i, earlier = before[leaf.name]
        change = _leaf_change(earlier, leaf)
        if change is not None:
            yield change
        elif i in old.asked and earlier.value != leaf.value:
            yield Change(
                "RETRACE_ASKED", leaf.name, earlier.text, leaf.text, old.asked[i]
            )
        elif k in new.dynamic and i not in old.dynamic:
            yield Change("RETRACE_INT", leaf.name, earlier.text, leaf.text)


def _leaf_change(old: ArgumentLeaf, new: ArgumentLeaf) -> Change | None:
    code = ""
    if old.kind != new.kind:
        code = "RETRACE_KIND"
    elif old.aval is not None and new.aval is not None:
        code = _array_change(old, new)
    elif old.kind == "static" and (old.type, old.identity) != (new.type, new.identity):
        is_object = old.identity and new.identity
        code = "RETRACE_OBJECT" if is_object else "RETRACE_VALUE"
    elif old.kind == "static" and old.value != new.value:
        code = "RETRACE_VALUE"
    if not code:
        return None
    same = code == "RETRACE_OBJECT" and old.text == new.text
    after = f"another {new.type} object" if same else new.text
    return Change(code, new.name, old.text, after)


def _array_change(old: ArgumentLeaf, new: ArgumentLeaf) -> str:
    assert old.aval is not None
    assert new.aval is not None
    if old.aval.dtype != new.aval.dtype:
        return "RETRACE_DTYPE"
    if old.aval.shape != new.aval.shape:
        return "RETRACE_SHAPE"
    if old.strides != new.strides:
        return "RETRACE_STRIDES"
    return "RETRACE_DEVICE" if old.place != new.place else ""


def _alias_changes(old: DescribedCall, new: DescribedCall) -> Iterator[Change]:
    if old.aliases == new.aliases or len(old.leaves) != len(new.leaves):
        return
    for i, leaf in enumerate(new.leaves):
        before = old.aliases[i] if old.aliases else i
        after = new.aliases[i] if new.aliases else i
        if before != after:
            yield Change(
                "RETRACE_ALIASES",
                leaf.name,
                _shared(old, i, before),
                _shared(new, i, after),
            )


def _shared(call: DescribedCall, leaf: int, first: int) -> str:
    return "apart" if leaf == first else f"the same array as {call.leaves[first].name}"


# --- captures ---------------------------------------------------------------------


def _stale(compiled: "Compiled") -> Iterator[Change]:
    """Yield what is no longer where compiled code found it."""
    recording = compiled.recording
    for capture in recording.captures:
        if not capture.is_current():
            before, after = value_text(capture.owner), _now(capture.getter)
            note = f"another array, {after}" if before == after else after
            yield Change("RETRACE_CAPTURE", capture.name, before, note)
    for constant in recording.constants:
        if not constant.is_current():
            before, after = value_text(constant.value), _now(constant.getter)
            yield Change("RETRACE_CONSTANT", constant.name, before, after)


def _now(getter: object) -> str:
    """Return what a place holds now, as text."""
    try:
        return value_text(getter())  # type: ignore[operator]
    except (KeyError, IndexError, AttributeError, ValueError, TypeError):
        return "nothing"
