"""Reads the text form of programs that `printer` writes."""

from dataclasses import replace

import numpy as np

from ..errors import ParseError
from ..ir.primitive import REGISTRY, ArrayConstant, ParamKind
from ..kernels.kernel import Kernel
from ..kernels.parser import KernelParser
from ..kernels.schedule import Schedule
from .program import (
    Copy,
    Extern,
    If,
    Loop,
    Move,
    Program,
    ProgramBuffer,
    Run,
    Step,
    Storage,
    While,
    with_kernels,
)

Names = tuple[str, ...]
Kernels = dict[str, tuple[Kernel, Schedule]]
_UNKNOWN = Kernel("?", (), (), (), ())  # until the kernels after the steps are read


def parse_program(text: str) -> Program:
    """Parse one program and the kernels it runs.

    Raises
    ------
    ParseError
        With line and column of the first token that does not fit, or naming a kernel
        that is run and not there.
    """
    parser = ProgramParser(text)
    program = parser.program()
    kernels: Kernels = {}
    while not parser.at_end():
        kernel, schedule = parser.kernel()
        if schedule is None:
            raise ParseError(f"kernel @{kernel.name} has no schedule")
        kernels[kernel.name] = kernel, schedule

    def linked(kernel: Kernel, schedule: Schedule) -> tuple[Kernel, Schedule]:
        if kernel.name not in kernels:
            message = f"kernel @{kernel.name} is run, but it is not in the text"
            raise ParseError(message)
        return kernels[kernel.name]

    return with_kernels(program, linked)


class ProgramParser(KernelParser):
    """Parses the program itself; kernels as `KernelParser` does."""

    def program(self) -> Program:
        self.skip_comments()
        self.expect("program")
        name = self.kind("name", "a program name such as @main").removeprefix("@")
        inputs = self.names()
        self.expect("->")
        outputs = self.names()
        arena = 0
        if self.accept("arena"):
            (arena,) = self.listed("(", ")", self.integer)
        self.expect("{")
        self.skip_comments()
        buffers = []
        while self.peek().kind == "var":
            buffers.append(self.program_buffer())
            self.skip_comments()
        steps = self.steps()
        return Program(name, tuple(buffers), inputs, outputs, steps, arena)

    def names(self) -> Names:
        return self.listed("(", ")", self.var)

    def program_buffer(self) -> ProgramBuffer:
        name = self.var()
        self.expect(":")
        dtype, shape, strides = self.type()
        self.expect("=")
        token = self.peek()
        word = self.kind("name", "where the buffer lives")
        if word not in STORAGES:
            raise self.fail(token, "input, output, arena, constant or alias")
        storage = Storage(word)
        made = ProgramBuffer(name, dtype, shape, strides, storage)
        if storage is Storage.CONSTANT:
            return replace(made, data=self.constant())
        if storage is Storage.ALIAS:
            base = self.var()
            self.expect("+")
            offset = self.integer()
            return replace(made, base=base, offset=offset, moves=self.moves())
        if storage is Storage.ARENA:
            return replace(made, offset=-1 if self.accept("?") else self.integer())
        made = replace(made, index=self.integer())
        if storage is Storage.OUTPUT and self.accept("in"):
            return replace(made, donor=self.var())
        return made

    def moves(self) -> tuple[Move, ...]:
        """Read ``+ 4*i5 + -1*i7``."""
        out = []
        while self.accept("+"):
            step = self.integer()
            self.expect("*")
            out.append(Move(self.kind("name", "the name of a loop"), step))
        return tuple(out)

    def constant(self) -> np.ndarray:
        value = self.param(ParamKind.ARRAY)
        if not isinstance(value, ArrayConstant):
            raise self.fail(self.peek(), "an array such as dense<f32[2]: 1.0 2.0>")
        return value.array

    # --- steps

    def steps(self) -> tuple[Step, ...]:
        """Read steps up to the closing brace."""
        out = []
        self.skip_comments()
        while not self.accept("}"):
            out.append(self.step())
            self.skip_comments()
        return tuple(out)

    def step(self) -> Step:
        token = self.next()
        if token.text == "run":
            name = self.kind("name", "a kernel name").removeprefix("@")
            ins, outs = self.arrow()
            kernel, plan = replace(_UNKNOWN, name=name), Schedule((), {})
            return Run(kernel, plan, ins, outs, self.source())
        if token.text == "extern":
            return self.extern()
        if token.text == "copy":
            source = self.var()
            self.expect("->")
            return Copy(source, self.var(), self.source())
        if token.text == "loop":
            return self.loop()
        if token.text == "while":
            predicate, lines, test = self.chosen_by()
            self.expect("do")
            self.expect("{")
            return While(predicate, test, self.steps(), lines)
        if token.text == "if":
            predicate, lines, on_true = self.chosen_by()
            self.expect("else")
            self.expect("{")
            return If(predicate, on_true, self.steps(), lines)
        raise self.fail(token, "run, extern, copy, loop, while or if")

    def loop(self) -> Loop:
        name = ""
        if self.peek().kind == "name":
            name = self.next().text
            self.expect(":")
        count = self.integer()
        self.expect("{")
        lines = self.source()
        return Loop(count, self.steps(), lines, name)

    def chosen_by(self) -> tuple[str, tuple[str, ...], tuple[Step, ...]]:
        """Read ``%predicate { steps }``: the predicate, source lines and steps."""
        predicate = self.var()
        self.expect("{")
        lines = self.source()
        return predicate, lines, self.steps()

    def arrow(self) -> tuple[Names, Names]:
        ins = self.names()
        self.expect("->")
        return ins, self.names()

    def extern(self) -> Extern:
        token = self.next()
        primitive = REGISTRY.get(token.text)
        if primitive is None:
            raise self.fail(token, "the name of a primitive")
        ins, outs = self.arrow()
        params = self.params(primitive) if self.peek().text == "{" else {}
        return Extern(primitive, params, ins, outs, self.source())


STORAGES = {s.value for s in Storage}
