"""Captured arrays: where an array that is not an argument was found.

An array used by a traced function is passed by reference at each call, and the place
it was found (a global, a closure cell, an attribute or item of what these hold) is a
guard: when another object is there at a later call, the function is traced again.
"""

import functools
from collections.abc import Callable, Iterator
from dataclasses import field
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from ..ir.graph import Var
from ..ir.placed import Placed
from ..records import dataclass

MAX_DEPTH = 5
MAX_OBJECTS = 20_000
Getter = Callable[[], Any]
Found = np.ndarray | Placed


@dataclass(frozen=True, eq=False)
class Constant:
    """An object that is known."""

    value: Any

    def __call__(self) -> Any:
        """Return the object."""
        return self.value


@dataclass(frozen=True, eq=False)
class CellOf:
    """What is in a closure's cell."""

    cell: Any

    def __call__(self) -> Any:
        """Return what is in the cell."""
        return self.cell.cell_contents


@dataclass(frozen=True, eq=False)
class ItemOf:
    """An item of what another getter finds."""

    getter: Getter
    key: Any

    def __call__(self) -> Any:
        """Return the item."""
        return self.getter()[self.key]


@dataclass(frozen=True, eq=False)
class AttributeOf:
    """An attribute of what another getter finds."""

    getter: Getter
    name: str

    def __call__(self) -> Any:
        """Return the attribute."""
        return getattr(self.getter(), self.name)


@dataclass(frozen=True, eq=False)
class LengthOf:
    """The length of what another getter finds."""

    getter: Getter

    def __call__(self) -> Any:
        """Return the length."""
        return len(self.getter())


@dataclass(eq=False)
class CapturedArray:
    """An array found outside of the arguments.

    Parameters
    ----------
    array : numpy.ndarray
        What is passed: the array found, or a view of it.
    owner : object
        The object found at the place; `array` shares its memory.
    name : str
        The place as Python would write it.
    getter : callable
        Looks at the place again.
    var : Var
        The graph input it became.
    """

    array: np.ndarray
    owner: object
    name: str
    getter: Getter
    var: Var | None = None

    def is_current(self) -> bool:
        """Tell whether the same object is still at the place."""
        try:
            return self.getter() is self.owner
        except (KeyError, IndexError, AttributeError, ValueError):
            return False


@dataclass
class CaptureFinder:
    """Looks for arrays in what a function can reach by name.

    Parameters
    ----------
    function : callable
        Searched: closure cells, globals its code (and the code of functions it
        reaches) names, and the object it is bound to.
    roots : list of (str, callable)
        Further named places, such as arguments that are opaque objects.
    """

    function: object
    roots: list[tuple[str, Getter]] = field(default_factory=list)
    _found: dict[int, tuple[str, Getter, Found]] | None = None

    def find(self, array: np.ndarray) -> CapturedArray | None:
        """Return where `array`, or the array it is a view of, was found."""
        hit = self.table().get(id(array)) or self.table().get(id(_memory(array)))
        if hit is None:
            return None
        name, getter, owner = hit
        found = owner if isinstance(owner, np.ndarray) else owner.shadow
        if _memory(found) is not _memory(array):
            return None
        return CapturedArray(array, owner, name, getter)

    def table(self) -> dict[int, tuple[str, Getter, Found]]:
        """Return the arrays in reach by identity, searched once."""
        if self._found is None:
            self._found = {}
            search = _Search(self._found)
            for name, getter in (*self.roots, *_places(self.function)):
                search.visit(name, getter, 0)
        return self._found


def _memory(array: np.ndarray) -> object:
    """Return the object that owns the memory of `array`."""
    owner: Any = array
    while isinstance(owner, np.ndarray) and owner.base is not None:
        owner = owner.base
    return owner


@dataclass
class _Search:
    """Walks objects depth first, each once."""

    found: dict[int, tuple[str, Getter, Found]]
    seen: set[int] = field(default_factory=set)

    def visit(self, name: str, getter: Getter, depth: int) -> None:
        try:
            value = getter()
        except (ValueError, KeyError, AttributeError):
            return  # an empty cell, a name not yet bound
        if isinstance(value, np.ndarray | Placed):
            array = value if isinstance(value, np.ndarray) else value.shadow
            for key in (id(array), id(_memory(array))):
                self.found.setdefault(key, (name, getter, value))
            return
        if id(value) in self.seen or depth > MAX_DEPTH or len(self.seen) > MAX_OBJECTS:
            return
        self.seen.add(id(value))
        for child_name, child in _children(name, getter, value):
            self.visit(child_name, child, depth + 1)


def unwrapped(function: Any) -> Iterator[tuple[str, Any]]:
    """Yield what a callable is made of: functions, and the objects they belong to.

    A partial, a bound method, a callable object and what ``functools.wraps`` wraps are
    callables around others, which come first. Functions have no name.
    """
    if isinstance(function, functools.partial):
        # its keywords are parameters, as defaults are
        yield from ((f"partial.args[{i}]", x) for i, x in enumerate(function.args))
        yield from unwrapped(function.func)
    elif isinstance(function, MethodType):
        yield "self", function.__self__
        yield from unwrapped(function.__func__)
    elif hasattr(function, "__wrapped__"):
        yield from unwrapped(function.__wrapped__)
        yield "", function
    elif isinstance(function, FunctionType):
        yield "", function
    else:
        yield "self", getattr(function, "__self__", function)  # of a builtin method
        yield "", getattr(type(function), "__call__", None)  # noqa: B004


def _places(function: object) -> Iterator[tuple[str, Getter]]:
    """Yield names a function's code can look up, with how to look again."""
    for name, found in unwrapped(function):
        if isinstance(found, FunctionType) and not name:
            yield from function_places(found)
        else:
            yield name or "self", Constant(found)


def function_places(function: FunctionType) -> Iterator[tuple[str, Getter]]:
    """Yield closure cells, globals and defaults of a function."""
    cells = function.__closure__ or ()
    for name, cell in zip(function.__code__.co_freevars, cells, strict=True):
        yield name, CellOf(cell)
    namespace = function.__globals__
    for name in names_in(function.__code__):
        if name in namespace:
            yield name, ItemOf(Constant(namespace), name)
    for i, default in enumerate(function.__defaults__ or ()):
        yield f"{function.__name__}.__defaults__[{i}]", Constant(default)


def names_in(code: CodeType) -> set[str]:
    """Return the globals and attributes that code, and code inside of it, names."""
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names |= names_in(constant)
    return names


def _children(name: str, getter: Getter, value: object) -> Iterator[tuple[str, Getter]]:
    if isinstance(value, ModuleType | type | str | bytes | int | float):
        return
    if isinstance(value, FunctionType):
        yield from ((f"{name}: {n}", g) for n, g in function_places(value))
    elif isinstance(value, dict):
        for key in list(value):
            yield f"{name}[{key!r}]", ItemOf(getter, key)
    elif isinstance(value, list | tuple):
        for i in range(len(value)):
            yield f"{name}[{i}]", ItemOf(getter, i)
    elif callable(value) and hasattr(value, "__wrapped__"):
        yield f"{name}.__wrapped__", AttributeOf(getter, "__wrapped__")
    else:
        for attribute in list(getattr(value, "__dict__", ())):
            yield f"{name}.{attribute}", AttributeOf(getter, attribute)
