"""LLVM IR as text: types, constants, and an emitter with loops and branches.

Needs nothing but strings: no llvmlite, no IR objects (they are ten times slower than
text). Establishes well-formed SSA: `Emitter` hands out unique names, tracks the block
it writes into and places the phi nodes of loops and branches itself. What a function
refers to outside itself (declarations of intrinsics, constant tables) is collected in
two dictionaries that functions of one module share, and `module_text` prints once.

    em = Emitter()
    with em.loop(0, "%n", 16, [(T, "zeroinitializer")]) as loop:
        x = em.load(T, em.gep("float", "%x", loop.index), align=4)
        loop.yield_([em.op(f"fadd {T} {loop.carried[0]}, {x}")])
    em.store(T, loop.results[0], "%out", align=4)
    em.ret()
    text = em.function("partial_sums", ["ptr noalias %x", "ptr noalias %out", "i64 %n"])

Types are plain strings (``"float"``, ``"<16 x float>"``); `vec` makes them, and one
lane means the scalar type everywhere.
"""

import math
import re
import struct
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from types import TracebackType
from typing import Self

from .target import Target

FLOAT_BITS = {"half": 16, "bfloat": 16, "float": 32, "double": 64}
_FLOAT_SUFFIX = {"half": "f16", "bfloat": "bf16", "float": "f32", "double": "f64"}
_VECTOR = re.compile(r"<(\d+) x (\w+)>$")
# Metadata that every module defines: !0 marks a branch that is rarely taken, !1 a
# non-temporal store.
_METADATA = '!0 = !{!"branch_weights", i32 1, i32 2000}\n!1 = !{i32 1}\n'

Value = str | int
Carried = Sequence[tuple[str, str]]


@cache
def vec(element: str, lanes: int) -> str:
    """Return the type of ``lanes`` elements: the scalar type for one lane.

    Examples
    --------
    >>> vec("float", 16), vec("float", 1)
    ('<16 x float>', 'float')
    """
    return element if lanes == 1 else f"<{lanes} x {element}>"


@cache
def shape_of(type_: str) -> tuple[str, int]:
    """Return (element type, lanes) of a scalar or vector type.

    Examples
    --------
    >>> shape_of("<8 x double>"), shape_of("i64")
    (('double', 8), ('i64', 1))
    """
    match = _VECTOR.match(type_)
    return (match[2], int(match[1])) if match else (type_, 1)


@cache
def bits_of(element: str) -> int:
    """Return the number of bits of a scalar type; pointers have 64."""
    if element == "ptr":
        return 64
    return FLOAT_BITS.get(element) or int(element[1:])


@cache
def suffix(type_: str) -> str:
    """Return a type as the names of overloaded intrinsics spell it.

    Examples
    --------
    >>> suffix("<16 x float>"), suffix("i32"), suffix("ptr")
    ('v16f32', 'i32', 'p0')
    """
    element, lanes = shape_of(type_)
    name = "p0" if element == "ptr" else _FLOAT_SUFFIX.get(element, element)
    return name if lanes == 1 else f"v{lanes}{name}"


def float_literal(element: str, value: float) -> str:
    """Return the exact hexadecimal literal of ``value`` rounded to ``element``.

    Rounds to nearest even, once; overflow gives an infinity. NaN keeps its sign only.

    Parameters
    ----------
    element : str
        ``half``, ``bfloat``, ``float`` or ``double``.
    value : float

    Examples
    --------
    >>> float_literal("float", 0.1), float_literal("bfloat", 1.0)
    ('0x3FB99999A0000000', '0xR3F80')
    """
    if element == "double":
        return f"0x{_double_bits(value):016X}"
    if element == "float":
        return f"0x{_double_bits(_round('f', value)):016X}"
    if element == "half":
        return f"0xH{struct.unpack('<H', struct.pack('<e', _round('e', value)))[0]:04X}"
    return f"0xR{_bfloat_bits(value):04X}"


def _double_bits(value: float) -> int:
    bits: int = struct.unpack("<Q", struct.pack("<d", value))[0]
    return bits


def _round(code: str, value: float) -> float:
    """Round a double to the format that `struct` calls ``code`` (``e`` or ``f``)."""
    try:
        rounded: float = struct.unpack("<" + code, struct.pack("<" + code, value))[0]
    except OverflowError:
        return math.copysign(math.inf, value)
    return rounded


def _bfloat_bits(value: float) -> int:
    if math.isnan(value):
        return 0xFFC0 if math.copysign(1.0, value) < 0 else 0x7FC0
    single = _round("f", value)
    bits: int = struct.unpack("<I", struct.pack("<f", single))[0]
    # A tie that the first rounding made is broken by what it rounded away.
    if bits & 0xFFFF == 0x8000 and abs(single) != abs(value):
        bits += 1 if abs(value) > abs(single) else -1
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16) & 0xFFFF


def constant(element: str, value: float, lanes: int = 1) -> str:
    """Return the operand text of a constant, splatted over ``lanes``.

    Parameters
    ----------
    element : str
        A scalar type: a float type, ``i1`` to ``i64``, or ``ptr`` (with value 0).
    value : float or int or bool

    Examples
    --------
    >>> constant("i32", 7, 4), constant("double", 1.0)
    ('splat (i32 7)', '0x3FF0000000000000')
    """
    if element in FLOAT_BITS:
        text = float_literal(element, float(value))
    elif element == "ptr":
        text = "null"
    elif element == "i1":
        text = "true" if value else "false"
    else:
        text = str(int(value))
    return text if lanes == 1 else f"splat ({element} {text})"


def iota(element: str, lanes: int) -> str:
    """Return the constant vector 0, 1, 2, ... of an integer type (0 for one lane)."""
    if lanes == 1:
        return "0"
    return "<" + ", ".join(f"{element} {i}" for i in range(lanes)) + ">"


class Block:
    """A structured region: values enter it, and values leave it through phi nodes.

    What `Emitter.loop` and `Emitter.if_` return; used as a context manager. Inside,
    call `yield_` once with the values that leave. After it, `results` holds them.

    Attributes
    ----------
    index : str
        The counter of a loop.
    carried : list of str
        The values at the start of an iteration (of a loop), or that enter (a branch).
    results : list of str
        The values after the region.
    """

    __slots__ = (
        "_em",
        "_init",
        "_preheader",
        "_types",
        "_yielded",
        "carried",
        "index",
        "results",
    )

    def __init__(self, em: "Emitter", carried: Carried) -> None:
        self._em = em
        self._types = [type_ for type_, _ in carried]
        self._init = [init for _, init in carried]
        self._yielded: list[str] = []
        self._preheader = ""
        self.index = ""
        self.carried = self._init
        self.results: list[str] = []

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self._close()

    def _close(self) -> None:
        """End the region, and start what comes after it."""
        raise NotImplementedError

    def yield_(self, values: Sequence[str]) -> None:
        """Name the values that leave the region, one for each that is carried."""
        if len(values) != len(self._types):
            raise ValueError(f"yielded {len(values)} values for {len(self._types)}")
        self._yielded = list(values)

    def _leave(self, label: str, back: str) -> None:
        """Start the block after a region that may have been skipped."""
        em = self._em
        em.label(label)
        self.results = [
            em.op(f"phi {t} [ {init}, %{self._preheader} ], [ {value}, %{back} ]")
            for t, init, value in zip(
                self._types, self._init, self._yielded, strict=True
            )
        ]


class Loop(Block):
    """A counted loop; see `Emitter.loop`."""

    __slots__ = ("_exit", "_guarded", "_header", "_phis_at", "_start", "_step", "_stop")

    def __init__(
        self, em: "Emitter", start: Value, stop: Value, step: Value, carried: Carried
    ) -> None:
        super().__init__(em, carried)
        self._start, self._stop, self._step = start, stop, step
        known = isinstance(start, int) and isinstance(stop, int)
        self._guarded = not (known and int(start) < int(stop))

    def __enter__(self) -> Self:
        em = self._em
        self._header, self._exit = em.fresh("loop"), em.fresh("done")
        self._preheader = em.block
        if self._guarded:
            any_ = em.op(f"icmp slt i64 {self._start}, {self._stop}")
            em.line(f"br i1 {any_}, label %{self._header}, label %{self._exit}")
        else:
            em.line(f"br label %{self._header}")
        em.label(self._header)
        self.index = "%" + em.fresh("i")
        self.carried = ["%" + em.fresh("c") for _ in self._types]
        # The phi nodes name values that do not exist yet: keep their places.
        self._phis_at = len(em.lines)
        em.lines.extend([""] * (1 + len(self._types)))
        return self

    def _close(self) -> None:
        em = self._em
        next_ = em.op(f"add nsw i64 {self.index}, {self._step}")
        more = em.op(f"icmp slt i64 {next_}, {self._stop}")
        back = em.block
        em.line(f"br i1 {more}, label %{self._header}, label %{self._exit}")
        self._place_phis(next_, back)
        if self._guarded:
            self._leave(self._exit, back)
        else:
            em.label(self._exit)
            self.results = self._yielded

    def _place_phis(self, next_: str, back: str) -> None:
        rows = [("i64", self.index, self._start, next_)]
        rows += zip(self._types, self.carried, self._init, self._yielded, strict=True)
        lines, at, before = self._em.lines, self._phis_at, self._preheader
        for k, (type_, name, init, value) in enumerate(rows):
            lines[at + k] = (
                f"  {name} = phi {type_} [ {init}, %{before} ], [ {value}, %{back} ]"
            )


class Branch(Block):
    """A region that runs only if a condition holds; see `Emitter.if_`."""

    __slots__ = ("_condition", "_exit", "_unlikely")

    def __init__(
        self, em: "Emitter", condition: str, carried: Carried, unlikely: bool
    ) -> None:
        super().__init__(em, carried)
        self._condition, self._unlikely = condition, unlikely

    def __enter__(self) -> Self:
        em = self._em
        inside, self._exit = em.fresh("then"), em.fresh("done")
        self._preheader = em.block
        weight = ", !prof !0" if self._unlikely else ""
        em.line(
            f"br i1 {self._condition}, label %{inside}, label %{self._exit}{weight}"
        )
        em.label(inside)
        return self

    def _close(self) -> None:
        em = self._em
        back = em.block
        em.line(f"br label %{self._exit}")
        self._leave(self._exit, back)


NOTE = "  ; %"  # before the name of a value that a line computes


class Emitter:
    """Writes the body of one LLVM function.

    Parameters
    ----------
    declarations, globals_ : dict of str to str, optional
        Symbol → its ``declare`` line, symbol → its definition. Pass the same
        dictionaries to every function of a module.
    annotated : bool
        Whether `note` writes comments.

    Attributes
    ----------
    lines : list of str
        The body so far.
    block : str
        The label of the block being written.
    decoded : dict of str to str
        Registers that hold what others decode, by the names of the decoded ones: what
        is stored without a change needs no encoding.
    """

    __slots__ = (
        "_callees",
        "_count",
        "annotated",
        "block",
        "declarations",
        "decoded",
        "globals_",
        "lines",
    )

    def __init__(
        self,
        declarations: dict[str, str] | None = None,
        globals_: dict[str, str] | None = None,
        annotated: bool = False,
    ) -> None:
        self.annotated = annotated
        self.declarations = {} if declarations is None else declarations
        self.decoded: dict[str, str] = {}
        self.globals_ = {} if globals_ is None else globals_
        self.lines: list[str] = []
        self.block = "entry"
        self._count = 0
        self._callees: dict[tuple[str, str, int], str] = {}

    # Instructions

    def op(self, text: str) -> str:
        """Append an instruction that has a result; return the result's name."""
        self._count += 1
        name = f"%v{self._count}"
        self.lines.append(f"  {name} = {text}")
        return name

    def line(self, text: str) -> None:
        """Append an instruction that has no result."""
        self.lines.append("  " + text)

    def note(self, start: int, name: str) -> None:
        """Say which value of a kernel the lines from `start` on compute, in comments.

        ``%v3 = fadd float %v1, %v2  ; %total``
        """
        if self.annotated:
            for k in range(start, len(self.lines)):
                self.lines[k] += f"{NOTE}{name}"

    def fresh(self, prefix: str) -> str:
        """Return a name, without ``%``, that nothing in this function has."""
        self._count += 1
        return f"{prefix}.{self._count}"

    def label(self, name: str) -> None:
        """End the block (its terminator is already written) and start another."""
        self.lines.append(f"{name}:")
        self.block = name

    def call(
        self, result: str, symbol: str, arguments: Sequence[tuple[str, str]]
    ) -> str:
        """Call a function of this module; return its result ("" for ``void``).

        Parameters
        ----------
        result : str
            The result's type.
        symbol : str
            The name without ``@``.
        arguments : sequence of (type, value)
        """
        text = ", ".join(f"{type_} {value}" for type_, value in arguments)
        if result == "void":
            self.line(f"call void @{symbol}({text})")
            return ""
        return self.op(f"call {result} @{symbol}({text})")

    def extern(
        self,
        result: str,
        symbol: str,
        arguments: Sequence[tuple[str, str]],
        attributes: str = "",
    ) -> str:
        """Call a function from elsewhere, declaring it; see `call`."""
        if symbol not in self.declarations:
            types = ", ".join(type_ for type_, _ in arguments)
            line = f"declare {result} @{symbol}({types}) {attributes}".rstrip()
            self.declarations[symbol] = line
        return self.call(result, symbol, arguments)

    def intrinsic(self, name: str, type_: str, *values: str) -> str:
        """Call an intrinsic whose result and operands all have one type.

        Parameters
        ----------
        name : str
            Without the overload suffix: ``llvm.fma``, ``llvm.fabs``, ``llvm.umin``.
        type_ : str
        *values : str
        """
        key = (name, type_, len(values))
        callee = self._callees.get(key)
        if callee is None:
            callee = f"{name}.{suffix(type_)}"
            types = ", ".join([type_] * len(values))
            self.declarations[callee] = f"declare {type_} @{callee}({types})"
            self._callees[key] = callee
        text = f", {type_} ".join(values)
        return self.op(f"call {type_} @{callee}({type_} {text})")

    def ret(self, type_: str = "void", value: str = "") -> None:
        """Return from the function."""
        self.line(f"ret {type_} {value}".rstrip())

    # Memory

    def gep(self, element: str, pointer: str, index: Value) -> str:
        """Return the address ``index`` elements after ``pointer``."""
        if index == 0:
            return pointer
        return self.op(f"getelementptr {element}, ptr {pointer}, i64 {index}")

    def row(self, element: str, pointer: str, index: Value) -> str:
        """Return an address for the loops inside, which LLVM does not look behind.

        Its strength reduction otherwise follows the address of each access through all
        loops around it, which takes a fifth of all of its time (docs/performance.md).
        """
        at = self.gep(element, pointer, index)
        is_fixed = isinstance(index, int)
        return at if is_fixed else self.op(f"freeze ptr {at}")

    def load(self, type_: str, pointer: str, align: int) -> str:
        """Load; ``align`` is the alignment in bytes that is promised."""
        return self.op(f"load {type_}, ptr {pointer}, align {align}")

    def store(
        self,
        type_: str,
        value: str,
        pointer: str,
        align: int,
        nontemporal: bool = False,
    ) -> None:
        """Store. A non-temporal vector store must be aligned to its whole size."""
        hint = ", !nontemporal !1" if nontemporal else ""
        self.line(f"store {type_} {value}, ptr {pointer}, align {align}{hint}")

    def prefetch(self, pointer: str, is_written: bool, locality: int) -> None:
        """Fetch a line that is read or written later.

        `locality` says how near: 3 to all caches, 2 to all but the nearest, 0 for once.
        """
        hints = [("i32", str(int(n))) for n in (is_written, locality, 1)]
        self.extern("void", "llvm.prefetch.p0", [("ptr", pointer), *hints])

    def masked_load(
        self, type_: str, pointer: str, mask: str, align: int, other: str
    ) -> str:
        """Load the lanes whose mask bit is set; ``other`` fills the rest.

        Lanes that are off are not touched in memory. One lane has a mask ``i1`` too.
        """
        _, lanes = shape_of(type_)
        if lanes == 1:
            with self.if_(mask, [(type_, other)]) as branch:
                branch.yield_([self.load(type_, pointer, align)])
            return branch.results[0]
        # The form with a separate alignment is read by every LLVM; newer ones upgrade.
        return self.extern(
            type_,
            f"llvm.masked.load.{suffix(type_)}.p0",
            [
                ("ptr", pointer),
                ("i32", str(align)),
                (vec("i1", lanes), mask),
                (type_, other),
            ],
        )

    def masked_store(
        self, type_: str, value: str, pointer: str, mask: str, align: int
    ) -> None:
        """Store the lanes whose mask bit is set.

        Of one lane, a scalar: what LLVM makes of it itself, but LLVM 22.1 then writes
        all of an integer that was truncated for the store, behind the end of the memory
        (llvm/llvm-project#179489).
        """
        element, lanes = shape_of(type_)
        if lanes == 1:
            with self.if_(mask):
                self.store(type_, value, pointer, align)
            return
        if mask.count("i1 true") == 1:
            lane = mask[: mask.index("true")].count(",")
            single = self.op(f"extractelement {type_} {value}, i64 {lane}")
            self.store(element, single, self.gep(element, pointer, lane), align)
            return
        self.extern(
            "void",
            f"llvm.masked.store.{suffix(type_)}.p0",
            [
                (type_, value),
                ("ptr", pointer),
                ("i32", str(align)),
                (vec("i1", lanes), mask),
            ],
        )

    def lane_mask(self, lanes: int, count: str) -> str:
        """Return the mask whose first ``count`` (an ``i64`` >= 0) lanes are on."""
        wide = self.splat("i64", count, lanes)
        return self.op(f"icmp slt {vec('i64', lanes)} {iota('i64', lanes)}, {wide}")

    def table(self, symbol: str, element: str, values: Iterable[float | int]) -> str:
        """Return the address of a constant table, defined once for the module."""
        name = f"@{symbol}"
        if symbol not in self.globals_:
            items = [f"{element} {constant(element, value)}" for value in values]
            self.globals_[symbol] = (
                f"{name} = private unnamed_addr constant [{len(items)} x {element}] "
                f"[{', '.join(items)}], align 64"
            )
        return name

    # Vectors

    def splat(self, element: str, value: str, lanes: int) -> str:
        """Return a vector whose lanes all are the scalar ``value``."""
        if lanes == 1:
            return value
        type_ = vec(element, lanes)
        first = self.op(f"insertelement {type_} poison, {element} {value}, i64 0")
        return self.op(
            f"shufflevector {type_} {first}, {type_} poison, "
            f"{vec('i32', lanes)} zeroinitializer"
        )

    def shuffle(
        self, type_: str, first: str, second: str, picks: Sequence[int | None]
    ) -> str:
        """Return lanes of two vectors, those of ``second`` counted on; None for any.

        Parameters
        ----------
        type_ : str
            Of both vectors.
        """
        order = ", ".join(f"i32 {'poison' if k is None else k}" for k in picks)
        return self.op(
            f"shufflevector {type_} {first}, {type_} {second}, "
            f"<{len(picks)} x i32> <{order}>"
        )

    def any_lane(self, mask: str, lanes: int) -> str:
        """Return an ``i1``: whether any lane of a mask is on."""
        if lanes == 1:
            return mask
        bits = self.op(f"bitcast {vec('i1', lanes)} {mask} to i{lanes}")
        return self.op(f"icmp ne i{lanes} {bits}, 0")

    # Control flow

    def loop(
        self, start: Value, stop: Value, step: Value, carried: Carried = ()
    ) -> Loop:
        """Return a loop of an ``i64`` counter from ``start`` below ``stop``.

        Use it as a context manager: the body is what is emitted inside. It may run
        zero times unless both bounds are ints that say otherwise; ``step`` > 0.

        Parameters
        ----------
        start, stop, step : str or int
            SSA values or numbers; compared as signed.
        carried : sequence of (type, initial value)
            Values that go from one iteration to the next. The body must `yield_` them.
        """
        return Loop(self, start, stop, step, carried)

    def if_(
        self, condition: str, carried: Carried = (), *, unlikely: bool = False
    ) -> Branch:
        """Return a region that runs if ``condition`` (an ``i1``) holds.

        Parameters
        ----------
        carried : sequence of (type, value)
            Values that the region may replace; it must `yield_` them. `results` are
            the replaced ones if the region ran, else these.
        unlikely : bool
            Move the region out of the way of the fast path.
        """
        return Branch(self, condition, carried, unlikely)

    def if_else(
        self,
        condition: str,
        types: Sequence[str],
        then: Callable[[], Sequence[str]],
        otherwise: Callable[[], Sequence[str]],
    ) -> list[str]:
        """Emit one of two arms; return the values of the one that runs.

        Parameters
        ----------
        types : sequence of str
            The types of the values that both arms return.
        then, otherwise : callable
            Each emits its arm when called, and returns its values.
        """
        yes, no, done = self.fresh("then"), self.fresh("else"), self.fresh("done")
        self.line(f"br i1 {condition}, label %{yes}, label %{no}")
        arms = []
        for label, arm in ((yes, then), (no, otherwise)):
            self.label(label)
            values = arm()
            arms.append((values, self.block))
            self.line(f"br label %{done}")
        self.label(done)
        (yes_values, yes_end), (no_values, no_end) = arms
        return [
            self.op(f"phi {t} [ {a}, %{yes_end} ], [ {b}, %{no_end} ]")
            for t, a, b in zip(types, yes_values, no_values, strict=True)
        ]

    # The whole function

    def function(
        self,
        name: str,
        parameters: Sequence[str],
        *,
        result: str = "void",
        linkage: str = "",
        attributes: str = "nounwind",
    ) -> str:
        """Return the text of the function whose body was emitted.

        Parameters
        ----------
        name : str
            The symbol, without ``@``.
        parameters : sequence of str
            With attributes and names: ``"ptr noalias %x"``.
        linkage : str
            ``"internal"``, ``"private"`` or nothing.
        """
        head = " ".join(filter(None, ("define", linkage, result)))
        body = "\n".join(self.lines)
        signature = f"{head} @{name}({', '.join(parameters)}) {attributes}"
        return f"{signature} {{\nentry:\n{body}\n}}\n"


def module_text(
    target: Target,
    declarations: Iterable[str],
    functions: Iterable[str],
    globals_: Iterable[str] = (),
) -> str:
    """Return a whole module.

    Parameters
    ----------
    target : Target
    declarations, globals_ : iterable of str
        Lines, as ``Emitter.declarations.values()`` and ``Emitter.globals_.values()``
        have them; printed once each, sorted, so that equal modules have equal text.
    functions : iterable of str
        Texts from `Emitter.function`, printed in order.
    """
    head = [
        f'target datalayout = "{target.datalayout}"',
        f'target triple = "{target.triple}"',
        "",
        *sorted(set(globals_)),
        *sorted(set(declarations)),
        "",
    ]
    return "\n".join(head) + "\n" + "\n".join(functions) + "\n" + _METADATA
