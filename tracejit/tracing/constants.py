"""Captured constants: numbers, strings and functions that a trace took for granted.

What a function's code names (closure cells, globals, attributes and items of these, and
the same of Python functions that it calls) is Python's business while it is traced, and
a constant afterwards. Each such place is a guard, as for captured arrays: when
something else is there at a later call, the function is traced again.

Only what the code could have looked at is guarded: attributes that it names, items of
small containers. Installed libraries are taken to stay as they are.
"""

from collections.abc import Iterator, Sequence
from dataclasses import field
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np

from ..records import dataclass
from .capture import (
    AttributeOf,
    Constant,
    Getter,
    ItemOf,
    LengthOf,
    function_places,
    names_in,
    unwrapped,
)
from .source import is_library

MAX_CONSTANTS = 128
MAX_DEPTH = 4
MAX_ITEMS = 32  # in a container whose items are guarded

NUMBERS = (bool, int, float, complex, str, bytes, type(None), np.generic, np.dtype)
FUNCTIONS = (FunctionType, BuiltinFunctionType, np.ufunc)


@dataclass(frozen=True)
class CapturedConstant:
    """A value found outside of the arguments.

    Parameters
    ----------
    value : object
        A number, string or function; for a container its length.
    name : str
        The place as Python would write it.
    getter : callable
        Looks at the place again.
    """

    value: object
    name: str
    getter: Getter

    def is_current(self) -> bool:
        """Tell whether the same value is still at the place."""
        try:
            now = self.getter()
        except (KeyError, IndexError, AttributeError, ValueError, TypeError):
            return False
        if now is self.value:
            return True
        is_number = type(now) is type(self.value) and isinstance(now, NUMBERS)
        return is_number and repr(now) == repr(self.value)


def captured_constants(
    function: object, roots: Sequence[tuple[str, Getter]]
) -> tuple[CapturedConstant, ...]:
    """Return the constants that a function's code can have looked at.

    Parameters
    ----------
    function : callable
    roots : sequence of (str, callable)
        Further named places: arguments that are opaque objects.
    """
    search = _Search()
    layers, owners = _layers(function)
    names = frozenset().union(*(names_in(f.__code__) for f in layers))
    for name, getter in (*roots, *owners):
        search.children(name, getter, getter(), names, 0)
    for layer in layers:
        search.function("", layer)
    return tuple(search.found)


def _layers(function: Any) -> tuple[list[FunctionType], list[tuple[str, Getter]]]:
    """Return the user's functions in a callable, and what these belong to."""
    found = list(unwrapped(function))
    layers = [x for name, x in found if not name and is_user_code(x)]
    return layers, [(name, Constant(x)) for name, x in found if name]


def is_user_code(function: Any) -> bool:
    """Tell whether a function is written in Python, outside of libraries."""
    code = getattr(function, "__code__", None)
    return isinstance(code, CodeType) and not is_library(code.co_filename)


@dataclass
class _Search:
    """Walks what code names, each object once."""

    found: list[CapturedConstant] = field(default_factory=list)
    seen: set[int] = field(default_factory=set)

    def function(self, name: str, function: FunctionType) -> None:
        """Visit what the code of a Python function names."""
        names = frozenset(names_in(function.__code__))
        for place, getter in function_places(function):
            self.visit(f"{name}{place}", getter, names, 0)

    def visit(self, name: str, getter: Getter, names: frozenset[str], at: int) -> None:
        try:
            value = getter()
        except (ValueError, KeyError, AttributeError):
            return  # an empty cell, a name not yet bound
        if isinstance(value, (*NUMBERS, *FUNCTIONS)):
            self.add(CapturedConstant(value, name, getter))
        self.children(name, getter, value, names, at)

    def add(self, constant: CapturedConstant) -> None:
        if len(self.found) < MAX_CONSTANTS:
            self.found.append(constant)

    def children(
        self, name: str, getter: Getter, value: Any, names: frozenset[str], at: int
    ) -> None:
        """Visit what code with these names can reach through a value."""
        if id(value) in self.seen or at > MAX_DEPTH or isinstance(value, NUMBERS):
            return
        self.seen.add(id(value))
        if isinstance(value, FunctionType) or hasattr(value, "__wrapped__"):
            for layer in _layers(value)[0]:
                self.function(f"{name}: ", layer)
        elif type(value) in (dict, list, tuple):
            self.items(name, getter, value, names, at)
        elif not isinstance(value, np.ndarray):
            reached = _reached(value, names)
            for attribute in _attributes(value, reached):
                place = f"{name}.{attribute}"
                self.visit(place, AttributeOf(getter, attribute), reached, at + 1)

    def items(
        self, name: str, getter: Getter, value: Any, names: frozenset[str], at: int
    ) -> None:
        if len(value) > MAX_ITEMS:
            return
        if not isinstance(value, tuple):
            count = f"len({name})"
            self.add(CapturedConstant(len(value), count, LengthOf(getter)))
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            self.visit(f"{name}[{key!r}]", ItemOf(getter, key), names, at + 1)


def _attributes(value: Any, names: frozenset[str]) -> Iterator[str]:
    """Yield the attributes that code names, of what the user wrote."""
    if isinstance(value, ModuleType):
        if is_library(getattr(value, "__file__", None) or "<frozen"):
            return
        own = vars(value)
    else:
        own = dict(getattr(value, "__dict__", {}))
        for kind in _classes(value):
            own.update((k, v) for k, v in vars(kind).items() if isinstance(v, NUMBERS))
    yield from sorted(names & own.keys())


def _classes(value: Any) -> list[type]:
    """Return the classes of an object that may hold constants; a class itself."""
    kind = value if isinstance(value, type) else type(value)
    return [k for k in kind.__mro__ if k.__module__ not in ("builtins", "numpy")]


def _reached(value: Any, names: frozenset[str]) -> frozenset[str]:
    """Add what the methods name that code with these names can call."""
    found, pending = set(names), list(names)
    classes = [] if isinstance(value, ModuleType) else _classes(value)
    while pending:
        name = pending.pop()
        for kind in classes:
            method = vars(kind).get(name)
            method = getattr(method, "fget", method)  # a property
            method = getattr(method, "__wrapped__", method)
            if method is not None and is_user_code(method):
                more = names_in(method.__code__) - found
                found |= more
                pending.extend(more)
    return frozenset(found)
