"""Arguments of a traced function, written on the command line.

Needs `numpy` and the names of dtypes. Establishes `parse_argument`: the text of one
``--arg`` to the value that the function is given. Arrays are of zeros: their values do
not matter, as a function is traced for shapes and dtypes.
"""

import ast
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import click
import numpy as np

from .. import config
from ..errors import ParseError
from ..ir.dtypes import NAME_TO_DTYPE

Value: TypeAlias = (
    np.ndarray
    | np.generic
    | int
    | float
    | complex
    | str
    | bytes
    | bool
    | list["Value"]
    | tuple["Value", ...]
    | dict["Value", "Value"]
    | None
)

GRAMMAR = """\
f32[8,16]        an array of that dtype and shape; f32[] has rank 0
f32              a NumPy scalar
3  0.5  2+1j     a Python number
true  none  'x'  True, None, a string
@data.npy        the array in a file
[..] (..) {k:..} a list, tuple or dict of these: [(f32[8,4], f32[4]), none]
name=...         any of these, as the keyword argument `name`
dtypes: """ + ", ".join(NAME_TO_DTYPE)
ROWS = "".join(f"  {row}\n" for row in GRAMMAR.splitlines())
# The end of the help of commands that take a function and its arguments.
HELP_END = f"""\
\b
An --arg is one of:
{ROWS}
\b
Exit codes:
  0  done
  1  the function, or its file, failed
  2  the command line is wrong
"""
argument_option = click.option(
    "--arg",
    "arguments",
    multiple=True,
    metavar="SPEC",
    help="One argument of the function; see below. Repeat it for each.",
)


def isa_option(what: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return the option that chooses the instruction set of `what` is shown."""
    return click.option(
        "--isa",
        type=click.Choice(config.SWITCHES["isa"].choices),
        default=None,
        help=f"Instruction set of {what}; the best one of this machine otherwise.",
    )


_DTYPE = "|".join(NAME_TO_DTYPE)
_KEYWORD = re.compile(r"\s*([A-Za-z_]\w*)\s*=(?!=)")
_SPACE = re.compile(r"\s*")
_ARRAY = re.compile(rf"({_DTYPE})\[([\d\s,]*)\]")
_SCALAR = re.compile(rf"({_DTYPE})(?![\w\[])")
_FILE = re.compile(r"@\s*([^,()\[\]{}]+)")
_STRING = re.compile(r"'[^'\\]*'|\"[^\"\\]*\"")
_WORD = re.compile(r"[^\s,()\[\]{}:]+")
_WORDS: dict[str, Value] = {
    "true": True,
    "false": False,
    "none": None,
    "inf": float("inf"),
    "-inf": float("-inf"),
    "nan": float("nan"),
}


Sampler: TypeAlias = Callable[[np.ndarray | np.generic], np.ndarray | np.generic]


def parse_argument(
    text: str, sampler: Sampler | None = None
) -> tuple[str | None, Value]:
    """Return the keyword, if the text names one, and the value of one argument.

    Parameters
    ----------
    text : str
        See `GRAMMAR`.
    sampler : callable, optional
        Gives the values of arrays and scalars of which the text says the type alone,
        from one of zeros.

    Raises
    ------
    ParseError
        With the column at which the text stops to make sense.

    Examples
    --------
    >>> parse_argument("n=(3, none)")
    ('n', (3, None))
    """
    keyword = _KEYWORD.match(text)
    reader = _Reader(text, keyword.end() if keyword else 0, sampler)
    value = reader.value()
    reader.skip_space()
    if reader.at < len(text):
        raise reader.error("expected the end of the argument")
    return (keyword.group(1) if keyword else None), value


class _Reader:
    """Reads one value; `at` is the position in the text."""

    def __init__(self, text: str, at: int, sampler: Sampler | None = None) -> None:
        self.text, self.at, self.sampler = text, at, sampler

    def error(self, message: str) -> ParseError:
        rest = self.text[self.at :]
        found = repr(rest) if rest else "the end"
        return self.fault(f"{message}, found {found}")

    def fault(self, message: str) -> ParseError:
        return ParseError(message, line=1, column=self.at + 1)

    def match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """Step over `pattern` if it is next."""
        found = pattern.match(self.text, self.at)
        if found:
            self.at = found.end()
        return found

    def skip_space(self) -> None:
        self.match(_SPACE)

    def accept(self, mark: str) -> bool:
        """Step over one punctuation mark if it is next."""
        self.skip_space()
        if not self.text.startswith(mark, self.at):
            return False
        self.at += len(mark)
        return True

    def value(self) -> Value:
        if self.accept("["):
            return self.items("]")[0]
        if self.accept("("):
            return self.parenthesised()
        if self.accept("{"):
            return self.dictionary()
        start = self.at
        for pattern, make in _LEAVES:
            found = self.match(pattern)
            if found is None:
                continue
            try:
                made = make(found)
                if make in (_array, _scalar) and self.sampler is not None:
                    made = self.sampler(made)  # type: ignore[arg-type]
                return made
            except (SyntaxError, ValueError, OSError, MemoryError) as error:
                self.at = start
                reason = _reason(error)
                raise (
                    self.fault(reason) if reason else self.error("expected a value")
                ) from error
        raise self.error("expected a value")

    def items(self, stop: str) -> tuple[list[Value], bool]:
        """Read up to `stop`; return the values and whether a comma is last."""
        found: list[Value] = []
        comma = False
        while not self.accept(stop):
            if found and not comma:
                raise self.error(f"expected ',' or {stop!r}")
            found.append(self.value())
            comma = self.accept(",")
        return found, comma

    def parenthesised(self) -> Value:
        found, comma = self.items(")")
        return found[0] if len(found) == 1 and not comma else tuple(found)

    def dictionary(self) -> dict[Value, Value]:
        found: dict[Value, Value] = {}
        comma = True
        while not self.accept("}"):
            if not comma:
                raise self.error("expected ',' or '}'")
            key = self.key()
            if not self.accept(":"):
                raise self.error("expected ':'")
            found[key] = self.value()
            comma = self.accept(",")
        return found

    def key(self) -> Value:
        self.skip_space()
        start = self.at
        key = self.value()
        try:
            hash(key)
        except TypeError as error:
            self.at = start
            raise self.error("this cannot be a key of a dict") from error
        return key


def _reason(error: Exception) -> str:
    """Say why a value that is written rightly cannot be made; else nothing."""
    if isinstance(error, OSError):
        return f"cannot read {error.filename}: {(error.strerror or '').lower()}"
    if isinstance(error, MemoryError) or "too big" in str(error):
        return "an array of this size does not fit in memory"
    return str(error) if isinstance(error, ArrayFileError) else ""


class ArrayFileError(ValueError):
    """A file that does not hold one array."""


def _array(found: re.Match[str]) -> Value:
    shape = tuple(int(n) for n in found.group(2).split(",") if n.strip())
    return np.zeros(shape, NAME_TO_DTYPE[found.group(1)])


def _scalar(found: re.Match[str]) -> Value:
    zero: np.generic = NAME_TO_DTYPE[found.group(1)].type(0)
    return zero


def _file(found: re.Match[str]) -> Value:
    path = Path(found.group(1).strip())
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ArrayFileError(f"{path} is not a .npy file of numbers") from error
    if not isinstance(array, np.ndarray):
        raise ArrayFileError(f"{path} holds several arrays; save one with np.save")
    return array


def _word(found: re.Match[str]) -> Value:
    text = found.group()
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    value: Value = ast.literal_eval(text)
    return value


_LEAVES: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], Value]], ...] = (
    (_ARRAY, _array),
    (_SCALAR, _scalar),
    (_FILE, _file),
    (_STRING, lambda found: found.group()[1:-1]),
    (_WORD, _word),
)
