"""Reads the text form of kernels that `printer` writes.

Values written inside a line get names of their own, ``e0, e1, ...``, that no other
value of the kernel has. Infix operations inside others stand in parentheses.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import count
from typing import TypeAlias, TypeVar

import numpy as np

from ..ir.aval import Shape
from ..ir.dtypes import INT64, NAME_TO_DTYPE
from ..ir.graph import Literal
from ..ir.parser import TextParser, Token, parse_scalar, token_pattern
from ..ir.primitive import REGISTRY, Kind, Params, Primitive
from .kernel import (
    Axis,
    Bound,
    Buffer,
    Carried,
    Compute,
    Contract,
    Iota,
    Kernel,
    KernelOp,
    Load,
    Operand,
    Reduce,
    Repeat,
    Store,
    Value,
    computed_dtype,
    dense_strides,
)
from .kernel import default_dtype as default_dtype_of
from .maps import Affine, AxisIndex, FloorDiv, IndexAtom, Map, Mod, ValueIndex
from .printer import INFIX, literal_dtype
from .schedule import Placement, Role, Schedule

PATTERN = token_pattern("//|==|!=|<=|>=|[-+*/<>&|^?]")
LITERALS = ("number", "bits", "complex")
STARTS = ("store",)  # words a line of the body begins with, besides values
OPERATORS = {sign: REGISTRY[name] for name, sign in INFIX.items()}
ROLES = {role.value: role for role in Role}
PLACEMENTS = {placement.value: placement for placement in Placement}

T = TypeVar("T")
Piece: TypeAlias = Operand | Token | Compute  # a token is a literal without dtype


def parse_kernel(text: str) -> tuple[Kernel, Schedule | None]:
    """Parse one kernel, and its schedule if the text has one.

    Raises
    ------
    ParseError
        With line and column of the first token that does not fit.
    """
    parser = KernelParser(text)
    found = parser.kernel()
    if not parser.at_end():
        raise parser.fail(parser.peek(), "the end of the text")
    return found


class KernelParser(TextParser):
    """Parses kernels; the parser of programs derives from it."""

    def __init__(self, text: str) -> None:
        super().__init__(text, PATTERN)
        self.values: dict[str, Value] = {}
        self.buffers: dict[str, Buffer] = {}
        self.body: list[KernelOp] = []
        self.taken = {t.text[1:] for t in self.tokens if t.kind == "var"}
        self.numbers = count()

    def kernel(self) -> tuple[Kernel, Schedule | None]:
        """Read ``kernel @name(inputs) -> (outputs) axes(...) { ... }``."""
        self.values, self.buffers, self.body = {}, {}, []
        self.skip_comments()
        self.expect("kernel")
        name = self.kind("name", "a kernel name such as @softmax").removeprefix("@")
        inputs = self.parameters()
        self.expect("->")
        outputs = self.parameters()
        self.buffers = {b.name: b for b in (*inputs, *outputs)}
        self.expect("axes")
        axes = self.listed("(", ")", self.axis)
        self.expect("{")
        source = self.source()
        self.skip_comments()
        schedule = self.schedule() if self.accept("schedule") else None
        while not self.accept("}"):
            self.operation(Kernel(name, inputs, outputs, axes, ()))
            self.skip_comments()
        kernel = Kernel(name, inputs, outputs, axes, tuple(self.body), source)
        return kernel, schedule

    def listed(self, start: str, stop: str, one: Callable[[], T]) -> tuple[T, ...]:
        """Read items between brackets, with commas between them."""
        self.expect(start)
        out = []
        while not self.accept(stop):
            out.append(one())
            if self.peek().text != stop:
                self.expect(",")
        return tuple(out)

    def var(self) -> str:
        """Read a name such as %x."""
        return self.kind("var", "a name such as %x")[1:]

    def integer(self) -> int:
        """Read an integer."""
        return int(self.kind("number", "an integer"))

    def parameters(self) -> tuple[Buffer, ...]:
        return self.listed("(", ")", self.parameter)

    def parameter(self) -> Buffer:
        name = self.var()
        self.expect(":")
        return Buffer(name, *self.type())

    def type(self) -> tuple[np.dtype, Shape, Shape]:
        """Read ``f32[2,3] strides(1,2)``: dtype, shape and strides."""
        aval = self.aval()
        strides = dense_strides(aval.shape)
        if self.accept("strides"):
            strides = self.listed("(", ")", self.integer)
        return aval.dtype, aval.shape, strides

    def axis(self) -> Axis:
        name = self.kind("name", "the name of an axis")
        self.expect(":")
        return Axis(name, self.integer())

    def schedule(self) -> Schedule:
        roles: dict[str, Role] = {}
        placements: dict[str, Placement] = {}
        while self.peek().kind == "name" and self.peek().text not in STARTS:
            token = self.next()
            if self.accept(":"):
                roles[token.text] = self.one_of(ROLES, self.next())
            else:
                placement = self.one_of(PLACEMENTS, token)
                placements[self.var()] = placement
            if not self.accept(","):
                break
        return Schedule(tuple(roles), roles, placements)

    def one_of(self, known: Mapping[str, T], token: Token) -> T:
        """Return what a token names."""
        if token.text not in known:
            *names, last = known
            raise self.fail(token, f"{', '.join(names)} or {last}")
        return known[token.text]

    # --- operations

    def operation(self, kernel: Kernel) -> None:
        if self.accept("store"):
            buffer = self.buffer()
            at = self.map()
            self.expect("=")
            value = self.resolved(self.operand_of(self.expression()), buffer.dtype)
            self.body.append(Store(buffer.name, at, value))
            return
        token = self.peek()
        name = self.var()
        if name in self.values:
            raise self.fail(token, f"a name that is not bound yet, not %{name}")
        axes = frozenset[str]()
        if self.peek().text == "{":
            axes = frozenset(self.listed("{", "}", self.axis_name))
        dtype = self.dtype() if self.accept(":") else None
        self.expect("=")
        op = self.right_side(Value(name, axes, dtype or INT64), kernel)
        if dtype is None:
            value = Value(name, axes, default_dtype_of(op, kernel))
            op = replace(op, result=value)
        self.values[name] = op.result
        self.body.append(op)

    def right_side(
        self, result: Value, kernel: Kernel
    ) -> Load | Compute | Iota | Reduce | Contract | Repeat | Carried:
        word = self.peek().text
        if self.accept("repeat"):
            return self.repeat(result, kernel)
        if self.accept("carried"):
            place = self.integer()
            self.expect("of")
            return Carried(result, self.value(), place)
        if self.accept("load"):
            return self.load(result)
        if self.accept("iota"):
            return Iota(result, self.index())
        if word in ("reduce", "contract"):
            return self.over_axes(result)
        token = self.peek()
        op = self.expression()
        if not isinstance(op, Compute):
            raise self.fail(token, "an operation")
        return replace(op, result=result)

    def repeat(self, result: Value, kernel: Kernel) -> Repeat:
        """Read a loop; see `printer`."""
        turn = Value(self.var(), frozenset(), INT64)
        self.expect("<")
        count = self.integer()
        self.expect("with")
        carries, inits = [], []
        while True:
            carry, init = self.carry()
            carries.append(carry)
            inits.append(init)
            if not self.accept(","):
                break
        self.values.update((v.name, v) for v in (turn, *carries))
        outer, self.body = self.body, []
        self.expect("{")
        self.skip_comments()
        while not self.accept("}"):
            self.operation(kernel)
            self.skip_comments()
        body, self.body = tuple(self.body), outer
        self.expect("next")
        nexts = []
        for k, carry in enumerate(carries):
            if k:
                self.expect(",")
            nexts.append(self.resolved(self.simple(), carry.dtype))
        ends = tuple(carries), tuple(inits), body, tuple(nexts)
        return Repeat(result, turn, count, *ends)

    def carry(self) -> tuple[Value, Operand]:
        """Read ``%z{i}: f32 = 0.0``."""
        name = self.var()
        axes = frozenset[str]()
        if self.peek().text == "{":
            axes = frozenset(self.listed("{", "}", self.axis_name))
        self.expect(":")
        value = Value(name, axes, self.dtype())
        self.expect("=")
        return value, self.resolved(self.simple(), value.dtype)

    def simple(self) -> Operand | Token:
        """Read a value or a literal."""
        return self.value() if self.peek().kind == "var" else self.number()

    def load(self, result: Value) -> Load:
        buffer = self.buffer()
        at = self.map()
        bounds: list[Bound] = []
        if self.accept("where"):
            bounds.append(self.bound())
            while self.accept(","):
                bounds.append(self.bound())
        fill: Literal | None = None
        if self.accept("else"):
            fill = self.typed(self.number(), buffer.dtype)
        clip = self.peek().text == "clip"
        check: tuple[int, ...] = ()
        if self.accept("clip") or self.accept("check"):
            check = self.listed("(", ")", self.integer)
        return Load(result, buffer.name, at, tuple(bounds), fill, check, clip)

    def bound(self) -> Bound:
        for text in ("0", "<="):
            self.expect(text)
        index = self.index()
        self.expect("<")
        return Bound(index, self.integer())

    def over_axes(self, result: Value) -> Reduce | Contract:
        is_reduce = self.next().text == "reduce"
        op = self.kind("name", "the name of a reduction") if is_reduce else ""
        unrounded = is_reduce and self.accept("unrounded")
        self.expect("over")
        axes = [self.axis_name()]
        while self.accept(","):
            axes.append(self.axis_name())
        self.expect(":")
        if is_reduce:
            operand = self.resolved(self.operand_of(self.expression()), None)
            return Reduce(result, op, tuple(axes), operand, unrounded)
        lhs = self.value()
        self.expect("*")
        return Contract(result, tuple(axes), lhs, self.value())

    def buffer(self) -> Buffer:
        token = self.peek()
        name = self.var()
        if name not in self.buffers:
            raise self.fail(token, "a buffer of the kernel")
        return self.buffers[name]

    def value(self) -> Value:
        token = self.peek()
        name = self.var()
        if name not in self.values:
            raise self.fail(token, "a value bound before")
        return self.values[name]

    def axis_name(self) -> str:
        return self.kind("name", "the name of an axis")

    def dtype(self) -> np.dtype:
        token = self.next()
        if token.text not in NAME_TO_DTYPE:
            raise self.fail(token, "a dtype such as f32")
        return NAME_TO_DTYPE[token.text]

    # --- expressions

    def expression(self) -> Piece:
        """Read ``a``, ``a + b`` or ``f(a, b)``."""
        left = self.primary()
        primitive = OPERATORS.get(self.peek().text)
        if primitive is None:
            return left
        first = self.operand_of(left)
        self.next()
        return self.applied(primitive, [first, self.operand_of(self.primary())], {})

    def primary(self) -> Piece:
        token = self.peek()
        if token.kind == "var":
            return self.value()
        if token.kind in LITERALS or token.text in ("true", "false"):
            return self.number()
        if self.accept("("):
            inner = self.expression()
            self.expect(")")
            return inner
        primitive = REGISTRY.get(self.next().text)
        if primitive is None or primitive.kind is not Kind.ELEMENTWISE:
            raise self.fail(token, "a value or an elementwise primitive")
        operands = self.listed("(", ")", lambda: self.operand_of(self.expression()))
        params = self.params(primitive) if self.peek().text == "{" else {}
        return self.applied(primitive, operands, params)

    def number(self) -> Literal | Token:
        """Read a literal; one that does not say its dtype waits for it."""
        if self.tokens[self.at + 1 : self.at + 2] and (
            self.tokens[self.at + 1].text == ":"
        ):
            return self.literal(None)
        return self.next()

    def operand_of(self, piece: Piece) -> Operand | Token:
        """Give an expression inside another one a name, and put it in the body."""
        if not isinstance(piece, Compute):
            return piece
        self.body.append(piece)
        return piece.result

    def applied(
        self,
        primitive: Primitive,
        operands: Sequence[Operand | Token],
        params: Params,
    ) -> Compute:
        dtype = literal_dtype([x for x in operands if isinstance(x, Value)])
        known = tuple(self.resolved(x, dtype) for x in operands)
        axes = (x.axes for x in known if isinstance(x, Value))
        name = next(n for n in (f"e{i}" for i in self.numbers) if n not in self.taken)
        result = Value(name, frozenset[str]().union(*axes), INT64)
        op = Compute(result, primitive, known, params)
        return replace(op, result=replace(result, dtype=computed_dtype(op)))

    def resolved(self, x: Operand | Token, dtype: np.dtype | None) -> Operand:
        """Give a literal that does not say its dtype that of its neighbours."""
        return x if isinstance(x, Value) else self.typed(x, dtype)

    def typed(self, x: Literal | Token, dtype: np.dtype | None) -> Literal:
        if isinstance(x, Literal):
            return x
        if dtype is None:
            raise self.fail(x, "a literal with its dtype, e.g. 1.0:f32")
        return Literal(parse_scalar(x.text, dtype), dtype)

    # --- index expressions

    def map(self) -> Map:
        return self.listed("[", "]", self.index)

    def index(self) -> Affine:
        """Read ``2*i - j + (k // 4) + 1``; terms stay in their order."""
        terms: list[tuple[IndexAtom, int]] = []
        constant = 0
        sign = -1 if self.accept("-") else 1
        while True:
            factor = sign
            atom: IndexAtom | None = None
            if self.peek().kind == "number":
                factor *= self.integer()
                atom = self.atom() if self.accept("*") else None
            else:
                atom = self.atom()
            if atom is None:
                constant += factor
            else:
                terms.append((atom, factor))
            if self.peek().text not in ("+", "-"):
                return Affine(tuple(terms), constant)
            sign = 1 if self.next().text == "+" else -1

    def atom(self) -> IndexAtom:
        if self.peek().kind == "var":
            return ValueIndex(self.value().name)
        if not self.accept("("):
            return AxisIndex(self.axis_name())
        inner = self.index()
        token = self.next()
        if token.text not in ("//", "mod"):
            raise self.fail(token, "'//' or 'mod'")
        divisor = self.integer()
        self.expect(")")
        return (FloorDiv if token.text == "//" else Mod)(inner, divisor)
