"""Reads the text form that `printer` writes.

A recursive-descent parser over a token list; errors carry line and column.
"""

import re
from collections import ChainMap
from collections.abc import MutableMapping

import numpy as np

from ..errors import ParseError
from ..records import dataclass
from . import ops as _ops  # noqa: F401  (fills the registry)
from .aval import ShapedArray
from .dtypes import NAME_TO_DTYPE
from .graph import Atom, Eqn, Graph, Literal, Var
from .primitive import (
    REGISTRY,
    ArrayConstant,
    HostObject,
    Param,
    ParamKind,
    Primitive,
)
from .printer import Scalar

_TOKENS = r"""
    (?P<space>[ \t\r\n]+)
  | (?P<source>;[^\n]*)
  | (?P<dense>dense<[^>]*>)
  | (?P<string>"[^"\n]*")
  | (?P<bits>bits\(0x[0-9a-f]+\))
  | (?P<complex>complex\((?:[^()]|\([^()]*\))*\))
  | (?P<arrow>->)
  | (?P<number>[-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|inf\b|nan\b))
  | (?P<var>%[A-Za-z0-9_.]+)
  | (?P<name>@?[A-Za-z_][A-Za-z0-9_.]*)
    """


def token_pattern(operators: str = "") -> re.Pattern[str]:
    """Return what a token of text is, with more that come before punctuation."""
    more = f"| (?P<operator>{operators})" if operators else ""
    return re.compile(rf"{_TOKENS} {more} | (?P<punct>[{{}}()\[\],:=])", re.VERBOSE)


TOKEN = token_pattern()


@dataclass(frozen=True)
class Token:
    """One token: its kind, text, and offset in the source."""

    kind: str
    text: str
    offset: int


def parse_graph(text: str) -> Graph:
    """Parse one graph.

    Parameters
    ----------
    text : str
        As `printer.format_graph` writes it. ``; file.py:3`` at the end of a line is
        its source.

    Raises
    ------
    ParseError
        With line and column of the first token that does not fit.
    """
    graphs = parse_graphs(text)
    if len(graphs) != 1:
        raise ParseError(f"expected one graph, found {len(graphs)}")
    return graphs[0]


def parse_graphs(text: str) -> list[Graph]:
    """Parse all graphs of a file, in order."""
    parser = TextParser(text)
    graphs = []
    while not parser.at_end():
        graphs.append(parser.graph())
    return graphs


def _tokens(text: str, pattern: re.Pattern[str]) -> list[Token]:
    out = []
    at = 0
    while at < len(text):
        match = pattern.match(text, at)
        if match is None:
            raise _error(text, at, f"unexpected character {text[at]!r}")
        kind = match.lastgroup or ""
        if kind != "space":
            out.append(Token(kind, match.group(), at))
        at = match.end()
    return out


def _error(text: str, offset: int, message: str) -> ParseError:
    line = text.count("\n", 0, offset) + 1
    column = offset - (text.rfind("\n", 0, offset) + 1) + 1
    return ParseError(message, line=line, column=column)


class TextParser:
    """Holds the tokens and the position; one method per construct.

    Parsers of other levels derive from it.

    Parameters
    ----------
    text : str
    pattern : re.Pattern
        One named group per kind of token.
    """

    def __init__(self, text: str, pattern: re.Pattern[str] = TOKEN) -> None:
        self.text = text
        self.tokens = _tokens(text, pattern)
        self.at = 0

    def at_end(self) -> bool:
        self.skip_comments()
        return self.at >= len(self.tokens)

    def skip_comments(self) -> None:
        while self.at < len(self.tokens) and self.tokens[self.at].kind == "source":
            self.at += 1

    def peek(self) -> Token:
        if self.at < len(self.tokens):
            return self.tokens[self.at]
        return Token("end", "end of text", len(self.text))

    def next(self) -> Token:
        token = self.peek()
        self.at += 1
        return token

    def fail(self, token: Token, expected: str) -> ParseError:
        return _error(
            self.text, token.offset, f"expected {expected}, found {token.text!r}"
        )

    def expect(self, text: str) -> Token:
        token = self.next()
        if token.text != text:
            raise self.fail(token, repr(text))
        return token

    def accept(self, text: str) -> bool:
        if self.peek().text == text:
            self.at += 1
            return True
        return False

    def kind(self, kind: str, what: str) -> str:
        token = self.next()
        if token.kind != kind:
            raise self.fail(token, what)
        return token.text

    def source(self) -> tuple[str, ...]:
        """Read the user lines at the end of this line; other comments are skipped."""
        end = self.tokens[self.at - 1].offset
        if self.peek().kind != "source" or "\n" in self.text[end : self.peek().offset]:
            return ()
        return tuple(s.strip() for s in self.next().text[1:].split(",") if s.strip())

    # --- graphs and equations

    def graph(self) -> Graph:
        self.skip_comments()
        self.expect("graph")
        name = self.kind("name", "a graph name such as @main").removeprefix("@")
        env: dict[str, Var] = {}
        self.expect("(")
        invars = self.binders(env, ")")
        self.expect(")")
        self.expect("->")
        self.expect("(")
        out_avals = self.avals()
        self.expect("{")
        self.skip_comments()
        eqns = []
        while self.peek().text != "return":
            eqns.append(self.eqn(env))
        place = self.peek()
        outs = self.returned(env)
        wanted, found = (
            f"({', '.join(map(str, avals))})"
            for avals in (out_avals, [x.aval for x in outs])
        )
        if wanted != found:
            text = f"expected results of types {wanted}, found {found}"
            raise _error(self.text, place.offset, text)
        return Graph(name, invars, outs, eqns)

    def binders(self, env: MutableMapping[str, Var], stop: str) -> tuple[Var, ...]:
        out = []
        while self.peek().text != stop:
            token = self.peek()
            name = self.kind("var", "a variable such as %x").removeprefix("%")
            if name in env:
                raise _error(self.text, token.offset, f"%{name} is bound twice")
            self.expect(":")
            var = Var(self.aval(), "" if name.isdigit() else name)
            out.append(var)
            env[name] = var
            if not self.accept(","):
                break
        return tuple(out)

    def avals(self) -> tuple[ShapedArray, ...]:
        out = []
        while not self.accept(")"):
            out.append(self.aval())
            self.accept(",")
        return tuple(out)

    def aval(self) -> ShapedArray:
        token = self.next()
        if token.text not in NAME_TO_DTYPE:
            raise self.fail(token, "a type such as f32[2,3]")
        self.expect("[")
        dims = []
        while not self.accept("]"):
            dims.append(int(self.kind("number", "an extent")))
            self.accept(",")
        return ShapedArray(tuple(dims), NAME_TO_DTYPE[token.text])

    def eqn(self, env: dict[str, Var]) -> Eqn:
        bound: dict[str, Var] = {}  # what it binds it cannot read
        names = ChainMap(bound, env)
        outvars = self.binders(names, "=") if self.peek().kind == "var" else ()
        if outvars:
            self.expect("=")
        token = self.next()
        primitive = REGISTRY.get(token.text)
        if primitive is None:
            raise self.fail(token, "the name of a primitive")
        dtype = outvars[0].aval.dtype if outvars else None
        ins = self.operands(env, dtype)
        params = self.params(primitive) if self.peek().text == "{" else {}
        env.update(bound)
        eqn = Eqn(primitive, ins, params, outvars, self.source())
        self.skip_comments()
        return eqn

    def operands(self, env: dict[str, Var], dtype: np.dtype | None) -> tuple[Atom, ...]:
        out: list[Atom] = []
        while True:
            atom = self.operand(env, dtype)
            if atom is None:
                return tuple(out)
            out.append(atom)
            if not self.accept(","):
                return tuple(out)

    def operand(self, env: dict[str, Var], dtype: np.dtype | None) -> Atom | None:
        token = self.peek()
        if token.kind == "var":
            self.at += 1
            if token.text[1:] not in env:
                raise _error(self.text, token.offset, f"{token.text} is not bound")
            return env[token.text[1:]]
        if token.kind in ("number", "bits", "complex") or token.text in (
            "true",
            "false",
        ):
            return self.literal(dtype)
        return None

    def literal(self, dtype: np.dtype | None) -> Literal:
        token = self.next()
        if self.accept(":"):
            name = self.next()
            if name.text not in NAME_TO_DTYPE:
                raise self.fail(name, "a dtype")
            dtype = NAME_TO_DTYPE[name.text]
        if dtype is None:
            raise self.fail(token, "a literal with its dtype, e.g. 1.0:f32")
        return Literal(parse_scalar(token.text, dtype), dtype)

    def returned(self, env: dict[str, Var]) -> tuple[Atom, ...]:
        self.expect("return")
        outs = self.operands(env, None)
        self.skip_comments()
        self.expect("}")
        return outs

    # --- params

    def params(self, primitive: Primitive) -> dict[str, Param]:
        self.expect("{")
        out: dict[str, Param] = {}
        while not self.accept("}"):
            token = self.next()
            kind = primitive.params.get(token.text)
            if kind is None:
                names = ", ".join(primitive.params) or "none"
                raise self.fail(token, f"a param of {primitive.name} ({names})")
            self.expect("=")
            out[token.text] = self.param(kind)
            self.accept(",")
        return out

    def param(self, kind: ParamKind) -> Param:
        token = self.peek()
        if token.text == "graph":
            return self.graph()
        if token.text == "host" and kind is ParamKind.HOST:
            return self.host_function()
        if kind is ParamKind.AVALS and token.text in NAME_TO_DTYPE:
            return self.aval()
        if token.kind == "dense":
            return _dense(self.next().text)
        if token.text == "(":
            return self.tuple_param(kind)
        self.at += 1
        if token.kind == "string":
            return token.text[1:-1]
        if token.text in ("true", "false"):
            return token.text == "true"
        if token.text == "none":
            return None
        if token.text in NAME_TO_DTYPE:
            return NAME_TO_DTYPE[token.text]
        if token.kind == "number":
            is_float = kind is ParamKind.FLOAT
            return float(token.text) if is_float else int(token.text)
        raise self.fail(token, f"a param value ({kind.value})")

    def host_function(self) -> HostObject:
        self.expect("host")
        token = self.peek()
        name = self.kind("string", "the name of a host function")[1:-1]
        found = HostObject.named(name)
        if found is None:
            raise _error(
                self.text,
                token.offset,
                f"{name} is no Python function of this process: callbacks are read "
                "back only where they were traced",
            )
        return found

    def tuple_param(self, kind: ParamKind) -> tuple[Param, ...]:
        self.expect("(")
        out: list[Param] = []
        while not self.accept(")"):
            out.append(self.param(kind))
            self.accept(",")
        return tuple(out)


def parse_scalar(text: str, dtype: np.dtype) -> Scalar:
    """Read one number; its bits are those of `dtype`."""
    if text.startswith("bits("):
        raw = bytes.fromhex(text[len("bits(0x") : -1])[::-1]
        return np.asarray(np.frombuffer(raw, dtype)[0])
    if text.startswith("complex("):
        half = np.dtype(f"f{dtype.itemsize // 2}")
        re_, im = text[len("complex(") : -1].split(",")
        parts = [parse_scalar(re_.strip(), half), parse_scalar(im.strip(), half)]
        return np.asarray(np.array(parts, half).view(dtype)[0])
    if text in ("true", "false"):
        return np.asarray(text == "true", dtype)
    number = int(text) if dtype.kind in "iu" else float(text)
    return np.asarray(number).astype(dtype)


DENSE = re.compile(r"dense<(\w+)\[([\d,]*)\]: ?(.*)>", re.DOTALL)
DENSE_ITEM = re.compile(r"bits\(0x[0-9a-f]+\)|complex\((?:[^()]|\([^()]*\))*\)|[^\s]+")


def _dense(text: str) -> ArrayConstant:
    match = DENSE.fullmatch(text)
    if match is None or match.group(1) not in NAME_TO_DTYPE:
        raise ParseError(f"{text[:40]!r} is no array constant")
    dtype = NAME_TO_DTYPE[match.group(1)]
    shape = tuple(int(n) for n in match.group(2).split(",") if n)
    body = match.group(3)
    if body.startswith("0x"):
        return ArrayConstant(
            np.frombuffer(bytes.fromhex(body[2:]), dtype).reshape(shape)
        )
    items = [parse_scalar(t, dtype) for t in DENSE_ITEM.findall(body)]
    array = np.empty(len(items), dtype)
    for i, item in enumerate(items):
        array[i] = item
    return ArrayConstant(array.reshape(shape))
