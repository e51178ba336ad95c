"""Lists of steps, and the memory of calls that run them."""

from array import array
from collections.abc import Sequence

import numpy as np

from ....codegen.llvm.entry.writer import ARENA, FRAME_BYTES, LANES, WORD, Head
from ..arena import Arena, ArenaPool
from .machine import Machine

_FRAMES = 8  # how many calls of one list can run at once; others go through Python


class StepList:
    """Writes a list of steps, and lays out the frame that they work in.

    Parameters
    ----------
    machine : Machine
    positional : int
        Number of positional arguments.
    names : sequence of str
        Names of the others.

    Attributes
    ----------
    words : array of int
        The head, the names and the steps.
    pointers : dict of int to int
        Places of a frame that hold the address of another place.
    """

    def __init__(self, machine: Machine, positional: int, names: Sequence[str]) -> None:
        self.machine = machine
        self.words = array("q", [0] * Head.NAMES)
        self.pointers: dict[int, int] = {}
        self.frame_bytes = FRAME_BYTES
        self._objects: list[object] = []
        self.words[Head.POSITIONAL] = positional
        self.words[Head.NAMED] = len(names)
        self.words.extend(self.hold(name) for name in names)
        self.first = len(self.words)

    def add(self, step: str, *words: int) -> None:
        """Append a step and the words that it reads."""
        self.words.append(self.machine.steps[step])
        self.words.extend(words)

    def hold(self, value: object) -> int:
        """Keep an object as long as the list; return its address."""
        self._objects.append(value)
        return id(value)

    def place(self, words: int = 1) -> int:
        """Return a new place in the frame for so many words."""
        start = self.frame_bytes
        self.frame_bytes += words * WORD
        return start

    def clean(self, first: int, end: int) -> None:
        """Have references at these places dropped after each call."""
        self.words[Head.CLEAN_FROM], self.words[Head.CLEAN_TO] = first, end

    def finish(self, arenas: ArenaPool) -> "NativeCall":
        """Return the list as something that calls can run."""
        return NativeCall(self, arenas, tuple(self._objects))


class _FirstSlot:
    __slots__ = ("words",)


class NativeCall(_FirstSlot):
    """A list of steps with frames, which machine code looks at.

    Parameters
    ----------
    steps : StepList
    arenas : ArenaPool
        Of the program that it runs.
    objects : tuple
        What the steps refer to by address.
    """

    __slots__ = ("_arenas", "_frames", "_machine", "_objects", "_override", "_steps")

    def __init__(
        self, steps: StepList, arenas: ArenaPool, objects: tuple[object, ...]
    ) -> None:
        self.words = np.array(steps.words, np.int64)
        self.words[Head.STEPS] = self.words.ctypes.data + steps.first * WORD
        self.words[Head.CONFIG] = -1
        self._steps, self._machine = steps, steps.machine
        self._arenas, self._objects = arenas, objects
        self._frames: list[tuple[np.ndarray, Arena]] = []
        self._override: object = None
        self.add_frame()

    def add_frame(self) -> None:
        """Let one more call run at the same time, up to a limit."""
        if len(self._frames) >= _FRAMES:
            return
        frame = np.zeros(self._steps.frame_bytes // WORD + LANES, np.int64)
        start = frame.ctypes.data
        arena = self._arenas.acquire()
        frame[ARENA // WORD] = arena.address
        for place, target in self._steps.pointers.items():
            frame[place // WORD] = start + target
        self._frames.append((frame, arena))
        self._machine.add_frame(self.words.ctypes.data, start)

    def confirm(self, config: int, override: object) -> None:
        """Note a configuration under which the list is right.

        Parameters
        ----------
        config : int
            The number of the process's configuration.
        override : object
            What overrides it, or None.
        """
        if self.words[Head.FRAMES] == 0:
            self.add_frame()
        if self.words[Head.CONFIG] != config or self._override is not override:
            self.words[Head.CONFIG] = -1  # until both words are there
            self._override = override
            self.words[Head.OVERRIDE] = id(override)
            self.words[Head.CONFIG] = config
