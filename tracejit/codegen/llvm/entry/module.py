"""The module of the native call entry: its steps, and the function that is called.

``ptr tracejit_call(ptr self, ptr args, i64 nargsf, ptr names)`` is a `vectorcallfunc`
of CPython. It goes through the lists of steps that `self` refers to (a tuple of objects
whose first slot is an array of words, see `Head`) until one fits; if none does, or a
trace is running in the process, the Python function `SLOW` gets the call.
``void tracejit_add_frame(ptr head, ptr frame)`` gives a list another frame. Both need
the GIL, which is what keeps lists and frames whole: nothing between looking at them and
changing them lets go of it.
"""

from collections.abc import Callable

from ....records import dataclass
from ..target import Target
from ..text import module_text
from .layout import Layout
from .match import MATCH_STEPS
from .results import RESULT_STEPS
from .run import RUN_STEPS
from .writer import (
    MISS,
    MISS_HELD,
    NEXT,
    WORD,
    Head,
    Step,
    StepWriter,
    step_symbol,
)

CALL_SYMBOL = "tracejit_call"
ADD_FRAME_SYMBOL = "tracejit_add_frame"
# Imported: how many traces run in the process; the number of its configuration, then
# whether one was ever overridden; the `ContextVar` of overrides; the slow function.
TRACING, CONFIG, OVERRIDES, SLOW = (
    "tracejit_tracing",
    "tracejit_config",
    "tracejit_overrides",
    "tracejit_slow",
)
STEPS: dict[str, Step] = {**MATCH_STEPS, **RUN_STEPS, **RESULT_STEPS}
_OBJECTS = ("PyArray_Type", TRACING, CONFIG, OVERRIDES, SLOW)
_LIKELY = '!2 = !{!"branch_weights", i32 2000, i32 1}\n'
_COUNT = (1 << 63) - 1  # bits of the count in what a vectorcall gets


@dataclass(frozen=True)
class EntryCode:
    """The module and the symbols of others that it needs.

    Parameters
    ----------
    text : str
    functions : tuple of str
        Of CPython, NumPy and C.
    objects : tuple of str
        Data whose addresses are imported.
    """

    text: str
    functions: tuple[str, ...]
    objects: tuple[str, ...]


def emit_entry(target: Target, layout: Layout) -> EntryCode:
    """Return the code of the native call entry.

    Parameters
    ----------
    target : Target
    layout : Layout
        Of the Python and NumPy of this process.
    """
    declarations: dict[str, str] = {}
    functions = []
    for name, step in STEPS.items():
        writer = StepWriter(layout, declarations)
        step(writer)
        functions.append(writer.finish(step_symbol(name)))
    writer = StepWriter(layout, declarations)
    functions.append(_CallWriter(writer).write())
    functions.append(_add_frame(StepWriter(layout, declarations)))
    globals_ = [f"@{name} = external global i8" for name in _OBJECTS]
    text = module_text(target, declarations.values(), functions, globals_) + _LIKELY
    return EntryCode(text, tuple(declarations), _OBJECTS)


def _add_frame(w: StepWriter) -> str:
    _push_frame(w, "%head", "%frame")
    w.ret()
    return w.function(ADD_FRAME_SYMBOL, ["ptr %head", "ptr %frame"])


def _push_frame(w: StepWriter, head: str, frame: str) -> None:
    frames = w.gep("i64", head, Head.FRAMES)
    first = w.load("ptr", frames, WORD)
    w.store("ptr", first, w.gep("i8", frame, NEXT), WORD)
    w.store("ptr", frame, frames, WORD)


class _CallWriter:
    """Writes `tracejit_call`."""

    def __init__(self, w: StepWriter) -> None:
        self.w = w

    def write(self) -> str:
        w = self.w
        self.found = w.op("alloca ptr, align 8")
        tracing = w.load("i64", f"@{TRACING}", WORD)
        self._slow_unless(w.op(f"icmp eq i64 {tracing}, 0"))
        chain = w.field("ptr", "%self", w.layout.chain)
        self._slow_unless(w.op(f"icmp ne ptr {chain}, null"))
        self.positional = w.op(f"and i64 %nargsf, {_COUNT}")
        self.named = self._count_names()
        self.override = self._override()
        self.config = w.load("i64", f"@{CONFIG}", WORD)
        # Replaced by another thread, it must live until this call is over.
        w.extern("void", "Py_IncRef", [("ptr", chain)])
        self._ask_all(chain)
        w.extern("void", "Py_DecRef", [("ptr", chain)])
        w.line("br label %slow")
        w.label("slow")
        w.ret("ptr", self._call_slow())
        parameters = ["ptr %self", "ptr %args", "i64 %nargsf", "ptr %names"]
        return w.finish(CALL_SYMBOL, parameters)

    def _slow_unless(self, condition: str) -> None:
        w = self.w
        go_on = w.fresh("ok")
        w.line(f"br i1 {condition}, label %{go_on}, label %slow, !prof !2")
        w.label(go_on)

    def _count_names(self) -> str:
        w = self.w
        given = w.op("icmp ne ptr %names, null")
        with w.if_(given, [("i64", "0")]) as branch:
            branch.yield_([w.field("i64", "%names", w.layout.size)])
        return branch.results[0]

    def _override(self) -> str:
        """Return what overrides the configuration here; null where nothing ever did."""
        w = self.w
        used = w.load("i64", w.gep("i64", f"@{CONFIG}", 1), WORD)
        with w.if_(w.op(f"icmp ne i64 {used}, 0"), [("ptr", "null")]) as branch:
            variable = ("ptr", f"@{OVERRIDES}")
            arguments = [variable, ("ptr", "null"), ("ptr", self.found)]
            w.extern("i32", "PyContextVar_Get", arguments)
            found = w.load("ptr", self.found, WORD)
            w.extern("void", "Py_DecRef", [("ptr", found)])
            branch.yield_([found])
        return branch.results[0]

    def _ask_all(self, chain: str) -> None:
        """Run the first list that fits and return its result; else fall through."""
        w = self.w
        items = w.gep("i8", chain, w.layout.tuple_items)
        with w.loop(0, w.field("i64", chain, w.layout.size), 1) as loop:
            entry = w.load("ptr", w.gep("ptr", items, loop.index), WORD)
            words = w.field("ptr", entry, w.layout.first_slot)
            head = w.field("ptr", words, w.layout.array_data)
            with w.if_(self._may_fit(head)) as branch:
                self._ask(chain, head)
                branch.yield_([])
            loop.yield_([])

    def _may_fit(self, head: str) -> str:
        """Return whether counts and configuration are those of a list."""
        w = self.w
        wrong = "0"
        for place, found in (
            (Head.POSITIONAL, self.positional),
            (Head.NAMED, self.named),
            (Head.CONFIG, self.config),
        ):
            expected = w.load("i64", w.gep("i64", head, place), WORD)
            differs = w.op(f"xor i64 {expected}, {found}")
            wrong = w.op(f"or i64 {wrong}, {differs}")
        expected = w.load("ptr", w.gep("i64", head, Head.OVERRIDE), WORD)
        unused = w.op(f"icmp eq ptr {self.override}, null")
        same = w.op(f"icmp eq ptr {self.override}, {expected}")
        right = w.op(f"icmp eq i64 {wrong}, 0")
        return w.op(f"and i1 {right}, {w.op(f'or i1 {unused}, {same}')}")

    def _ask(self, chain: str, head: str) -> None:
        """Run the steps of a list if names fit and a frame is free."""
        w = self.w
        frames = w.gep("i64", head, Head.FRAMES)
        frame = w.load("ptr", frames, WORD)
        free = w.op(f"icmp ne ptr {frame}, null")
        with w.if_(w.op(f"and i1 {free}, {self._names_fit(head)}")) as branch:
            w.store("ptr", w.load("ptr", w.gep("i8", frame, NEXT), WORD), frames, WORD)
            steps = w.load("ptr", w.gep("i64", head, Head.STEPS), WORD)
            first = w.load("ptr", steps, WORD)
            arguments = f"ptr {steps}, ptr {frame}, ptr %args, ptr null"
            result = w.op(f"call ptr {first}({arguments})")
            self._unless(result, MISS, lambda: self._clean(head, frame))
            _push_frame(w, head, frame)
            number = w.op(f"ptrtoint ptr {result} to i64")
            missed = w.op(f"sub i64 {number}, {MISS}")
            over = w.op(f"icmp ugt i64 {missed}, {MISS_HELD - MISS}")
            with w.if_(over) as done:
                w.extern("void", "Py_DecRef", [("ptr", chain)])
                after = w.fresh("unreachable")
                w.ret("ptr", result)
                w.label(after)
                done.yield_([])
            branch.yield_([])

    def _unless(self, result: str, sentinel: int, then: Callable[[], None]) -> None:
        w = self.w
        number = w.op(f"ptrtoint ptr {result} to i64")
        with w.if_(w.op(f"icmp ne i64 {number}, {sentinel}")) as branch:
            then()
            branch.yield_([])

    def _names_fit(self, head: str) -> str:
        """Return whether the names of arguments are a list's, by identity."""
        w = self.w
        items = w.gep("i8", "%names", w.layout.tuple_items)
        expected = w.gep("i64", head, Head.NAMES)
        with w.loop(0, self.named, 1, [("i64", "0")]) as loop:
            a = w.load("i64", w.gep("i64", items, loop.index), WORD)
            b = w.load("i64", w.gep("i64", expected, loop.index), WORD)
            differs = w.op(f"xor i64 {a}, {b}")
            loop.yield_([w.op(f"or i64 {loop.carried[0]}, {differs}")])
        return w.op(f"icmp eq i64 {loop.results[0]}, 0")

    def _clean(self, head: str, frame: str) -> None:
        """Drop the references that a call left in its frame."""
        w = self.w
        start = w.load("i64", w.gep("i64", head, Head.CLEAN_FROM), WORD)
        end = w.load("i64", w.gep("i64", head, Head.CLEAN_TO), WORD)
        with w.loop(start, end, WORD) as loop:
            place = w.gep("i8", frame, loop.index)
            found = w.load("ptr", place, WORD)
            with w.if_(w.op(f"icmp ne ptr {found}, null")) as branch:
                w.store("ptr", "null", place, WORD)
                w.extern("void", "Py_DecRef", [("ptr", found)])
                branch.yield_([])
            loop.yield_([])

    def _call_slow(self) -> str:
        """Call the slow function with `self` before the arguments."""
        w = self.w
        positional = w.op(f"and i64 %nargsf, {_COUNT}")
        count = w.op(f"add i64 {positional}, {self._count_names()}")
        words = w.op(f"add i64 {count}, 1")
        size = w.op(f"shl i64 {words}, 3")
        memory = w.extern("ptr", "PyMem_Malloc", [("i64", size)])
        none = w.op(f"icmp eq ptr {memory}, null")
        with w.if_(none, unlikely=True) as branch:
            failed = w.extern("ptr", "PyErr_NoMemory", [])
            after = w.fresh("unreachable")
            w.ret("ptr", failed)
            w.label(after)
            branch.yield_([])
        w.store("ptr", "%self", memory, WORD)
        rest = w.gep("ptr", memory, 1)
        with w.loop(0, count, 1) as loop:
            value = w.load("ptr", w.gep("ptr", "%args", loop.index), WORD)
            w.store("ptr", value, w.gep("ptr", rest, loop.index), WORD)
            loop.yield_([])
        given = w.op(f"add i64 {positional}, 1")
        arguments = [("ptr", f"@{SLOW}"), ("ptr", memory), ("i64", given)]
        result = w.extern("ptr", "PyObject_Vectorcall", [*arguments, ("ptr", "%names")])
        w.extern("void", "PyMem_Free", [("ptr", memory)])
        return result
