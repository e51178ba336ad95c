"""What the steps of the native call entry are written with.

A call is a list of *steps* in memory: each is the address of a small function and the
words it reads, and each ends by jumping to the next (threaded code). The functions are
compiled once in a process; only the lists differ between specialisations, so that a new
one costs no compilation. Needs `Layout`, the places of fields in the C structs of
CPython and NumPy; establishes the conventions of steps.

A step is ``ptr step(ptr op, ptr frame, ptr args, ptr value)``: `op` are its own words,
`frame` the memory of the call, `args` the arguments, `value` the object that the step
before looked up. Steps name places in the frame by their offset in bytes. A step
returns what the call returns, NULL for an error, `MISS` when the call is not the one
that the list is for, or `MISS_HELD` when references are held by then.
"""

from collections.abc import Callable, Sequence

from ..text import Emitter
from .layout import Layout

MISS = 1
MISS_HELD = 2
WORD = 8
LANES = 8  # words that a step may read at once, and so beyond the end of a frame
# Places in a frame, in bytes: the next free frame, the arena, and two words for what a
# step needs for a moment.
NEXT, ARENA, KEY, VALUE, FRAME_BYTES = 0, 8, 16, 24, 32
_PARAMETERS = ["ptr %op", "ptr %frame", "ptr %args", "ptr %value"]


class Head:
    """Words at the start of a list: what a call is told by first, and its frames."""

    FRAMES = 0  # free ones, linked by `NEXT`
    STEPS = 1  # address of the first step
    POSITIONAL = 2  # number of arguments
    NAMED = 3
    CONFIG = 4  # number of the process's configuration, as of when it was compared
    OVERRIDE = 5  # what overrides it there, or None
    CLEAN_FROM = 6  # places in the frame that hold references after the call
    CLEAN_TO = 7
    NAMES = 8  # the names of arguments, then the steps


def step_symbol(name: str) -> str:
    """Return the symbol of a step."""
    return f"step.{name}"


class StepWriter(Emitter):
    """Writes one step, or another function of the entry's module."""

    __slots__ = ("_exits", "_op", "layout", "value")

    def __init__(self, layout: Layout, declarations: dict[str, str]) -> None:
        super().__init__(declarations)
        self.layout = layout
        self.value = "%value"
        self._op = "%op"
        self._exits: dict[str, str] = {}

    # Words and fields

    def word(self, index: int) -> str:
        """Load word `index` of this step."""
        return self.load("i64", self.gep("i64", self._op, index), WORD)

    def pointer(self, index: int) -> str:
        """Load word `index` of this step as an address."""
        return self.load("ptr", self.gep("i64", self._op, index), WORD)

    def place(self, index: int) -> str:
        """Return the address in the frame that word `index` names."""
        return self.gep("i8", "%frame", self.word(index))

    def field(self, type_: str, pointer: str, offset: int) -> str:
        """Load a field of a struct."""
        align = 4 if type_ == "i32" else WORD
        return self.load(type_, self.gep("i8", pointer, offset), align)

    def type_of(self, pointer: str) -> str:
        """Load the type of an object."""
        return self.field("ptr", pointer, self.layout.type)

    # Leaving

    def require(self, condition: str, otherwise: int = MISS) -> None:
        """Go on if an ``i1`` holds; else the call is a miss."""
        self._branch(condition, f"inttoptr (i64 {otherwise} to ptr)")

    def require_equal(self, type_: str, a: str, b: str) -> None:
        """Go on if two values are equal; else the call is a miss."""
        self.require(self.op(f"icmp eq {type_} {a}, {b}"))

    def check(self, condition: str) -> None:
        """Go on if an ``i1`` holds; else an exception was set."""
        self._branch(condition, "null")

    def check_object(self, pointer: str) -> None:
        """Go on if an object was made; else an exception was set."""
        self.check(self.op(f"icmp ne ptr {pointer}, null"))

    def _branch(self, condition: str, result: str) -> None:
        label = self._exits.setdefault(result, f"exit.{len(self._exits)}")
        go_on = self.fresh("ok")
        self.line(f"br i1 {condition}, label %{go_on}, label %{label}, !prof !2")
        self.label(go_on)

    def step_into(self, words: int, value: str) -> None:
        """Be the step so many words later from here on, with the value it is given."""
        self._op = self.gep("i64", self._op, words)
        self.value = value

    def go_on(self, words: int | str, value: str = "") -> None:
        """End this step, of so many words, with a jump to the next."""
        step = self.gep("i64", self._op, words)
        function = self.load("ptr", step, WORD)
        self._jump(function, step, value or self.value)

    def jump_unless(self, condition: str, step: str) -> None:
        """Go on if an ``i1`` holds; else be another step, with the same words."""
        go_on, other = self.fresh("ok"), self.fresh("other")
        self.line(f"br i1 {condition}, label %{go_on}, label %{other}, !prof !2")
        self.label(other)
        self._jump(f"@{step_symbol(step)}", self._op, self.value)
        self.label(go_on)

    def _jump(self, function: str, op: str, value: str) -> None:
        arguments = f"ptr {op}, ptr %frame, ptr %args, ptr {value}"
        self.ret("ptr", self.op(f"musttail call ptr {function}({arguments})"))

    # Whole functions

    def finish(self, name: str, parameters: Sequence[str] = tuple(_PARAMETERS)) -> str:
        """Return the text of the function; ``ptr name(parameters)``."""
        for result, label in self._exits.items():
            self.label(label)
            self.ret("ptr", result)
        return self.function(name, parameters, result="ptr")


Step = Callable[[StepWriter], None]
