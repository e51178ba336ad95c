"""Error classes, their text, and the house rule on how a message starts."""

import ast
import pickle
from pathlib import Path

import pytest

import tracejit
from tracejit import errors
from tracejit.errors import ParseError, TracejitError

PACKAGE = Path(tracejit.__file__).parent
CLASSES = {
    name: value
    for name, value in vars(errors).items()
    if isinstance(value, type) and issubclass(value, TracejitError)
}


def test_text_has_message_source_and_hint():
    error = TracejitError("x is bad", source="model.py:12", hint="make it good")
    assert str(error) == "x is bad\n  at model.py:12\n  try: make it good"
    assert str(TracejitError("x is bad")) == "x is bad"


def test_parse_error_names_the_place():
    error = ParseError("expected '('", line=3, column=7, hint="close it")
    assert (error.line, error.column) == (3, 7)
    assert str(error) == "expected '(' (line 3, column 7)\n  try: close it"


@pytest.mark.parametrize(
    ("name", "builtin"),
    [
        ("ConcretizationError", TypeError),
        ("DTypeError", TypeError),
        ("IndexRangeError", IndexError),
        ("ParseError", ValueError),
        ("ShapeError", ValueError),
        ("UnsupportedError", NotImplementedError),
    ],
)
def test_is_caught_as_the_builtin(name, builtin):
    with pytest.raises(builtin, match="wrong"):
        raise CLASSES[name]("wrong")


@pytest.mark.parametrize("cls", CLASSES.values(), ids=CLASSES)
def test_survives_pickling(cls):
    error = pickle.loads(pickle.dumps(cls("wrong", source="a.py:1", hint="right")))
    assert type(error) is cls
    assert str(error) == "wrong\n  at a.py:1\n  try: right"


def test_parse_error_survives_pickling():
    error = pickle.loads(pickle.dumps(ParseError("wrong", line=2, column=5)))
    assert str(error) == "wrong (line 2, column 5)"
    assert (error.line, error.column) == (2, 5)


def first_text(call: ast.Call) -> str:
    """Return the literal text that the first argument of a call starts with."""
    node = call.args[0] if call.args else None
    if isinstance(node, ast.JoinedStr):
        node = node.values[0]
    is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
    return node.value if is_text else ""


def upper_case_messages(text: str) -> list[tuple[int, str]]:
    calls = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Call)]
    made = [(c, getattr(c.func, "attr", getattr(c.func, "id", ""))) for c in calls]
    found = [(c.lineno, first_text(c)) for c, name in made if name in CLASSES]
    return [(line, message) for line, message in found if message[:1].isupper()]


def test_scan_finds_upper_case_messages():
    text = "raise ShapeError(f'Bad {x}')\nraise errors.DTypeError('Bad', hint='Q')\n"
    assert upper_case_messages(text) == [(1, "Bad "), (2, "Bad")]
    assert not upper_case_messages("raise ShapeError(f'bad {X}')\nprint('Hello')")


def test_messages_start_in_lower_case():
    found = {
        str(path.relative_to(PACKAGE)): wrong
        for path in PACKAGE.rglob("*.py")
        if (wrong := upper_case_messages(path.read_text(encoding="utf-8")))
    }
    assert not found
