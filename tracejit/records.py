"""`dataclass` for the package's own classes, which costs little until one is used.

`dataclasses.dataclass` has Python compile the text of six methods of a frozen class,
a third of a millisecond. The package has some 250 such classes, of which most programs
use few. Here the work is done with the first instance, and text is compiled for
``__init__`` alone. Fields are those of `dataclasses`: ``replace`` works on all
objects. Ask objects for fields: a class without any instance may not know them.
"""

import dataclasses
import threading
import types
from collections.abc import Callable
from functools import cache
from operator import attrgetter
from reprlib import recursive_repr
from typing import TYPE_CHECKING, Any

_LOCK = threading.RLock()
_PUT_OFF = "__put_off__"
_MISSING = dataclasses.MISSING

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:

    def dataclass(cls=None, /, *, frozen=False, eq=True):
        """Return the class as a dataclass, made one with its first instance.

        Parameters
        ----------
        cls : type
        frozen, eq : bool
            As for `dataclasses.dataclass`.

        Examples
        --------
        >>> @dataclass(frozen=True)
        ... class Point:
        ...     x: int
        ...     y: int = 0
        >>> Point(1), Point(1) == Point(1, 0)
        (Point(x=1, y=0), True)
        """
        if cls is None:
            return lambda cls: dataclass(cls, frozen=frozen, eq=eq)
        setattr(cls, _PUT_OFF, (frozen, eq))
        for name in _missing(cls, eq):
            setattr(cls, name, _first_call(cls, name))
        return cls


def _missing(cls: type, eq: bool) -> list[str]:
    """Return the methods that a class is to get before it has fields."""
    names = ["__init__", "__repr__", *(["__eq__", "__hash__"] if eq else [])]
    # A class that defines `__eq__` has a `__hash__` of None.
    return [name for name in names if cls.__dict__.get(name) is None]


def _first_call(cls: type, name: str) -> Callable[..., Any]:
    """Return a method that makes the class a dataclass and calls the real one."""

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        _make(cls)
        return getattr(cls, name)(self, *args, **kwargs)

    method.is_first = True  # type: ignore[attr-defined]
    return method


def _make(cls: type) -> None:
    """Make a class a dataclass, and those before it that it is derived from."""
    with _LOCK:
        for base in reversed(cls.__mro__):
            if _PUT_OFF in base.__dict__:
                frozen, eq = base.__dict__[_PUT_OFF]
                delattr(base, _PUT_OFF)
                _complete(base, frozen, eq)


def _complete(cls: type, frozen: bool, eq: bool) -> None:
    dataclasses.dataclass(init=False, repr=False, eq=False)(cls)
    fields = dataclasses.fields(cls)
    compared = [f.name for f in fields if f.compare]
    methods: dict[str, Any] = {
        "__init__": _init(cls, fields, frozen),
        "__repr__": _repr,
    }
    if eq:
        methods["__eq__"], hashed = _comparison(compared)
        methods["__hash__"] = hashed if frozen else None
    if frozen:
        methods["__setattr__"], methods["__delattr__"] = _refuse, _refuse
    for name, method in methods.items():
        old = cls.__dict__.get(name)
        if old is None or hasattr(old, "is_first"):
            setattr(cls, name, method)


def _init(
    cls: type, fields: tuple["dataclasses.Field[Any]", ...], frozen: bool
) -> Callable[..., None]:
    """Return the ``__init__`` of fields of the same ways, with these names.

    Compiling its text would take twenty times as long.
    """
    ways = "".join(map(_way, fields))
    code = _template(ways, frozen, hasattr(cls, "__post_init__"))
    names = {f"field{i}": f.name for i, f in enumerate(fields)}
    renamed = code.replace(
        co_varnames=tuple(names.get(x, x) for x in code.co_varnames),
        co_names=tuple(names.get(x, x) for x in code.co_names),
        co_consts=tuple(
            names.get(x, x) if isinstance(x, str) else x for x in code.co_consts
        ),
    )
    scope: dict[str, Any] = {"put": object.__setattr__, "missing": _MISSING}
    scope |= {f"make{i}": f.default_factory for i, f in enumerate(fields)}
    given = [f for f, way in zip(fields, ways, strict=True) if way in "gm"]
    defaults = (
        f.default if f.default_factory is _MISSING else _MISSING
        for f in given
        if (f.default, f.default_factory) != (_MISSING, _MISSING)
    )
    made = types.FunctionType(renamed, scope, "__init__", tuple(defaults))
    made.__qualname__ = f"{cls.__qualname__}.__init__"
    return made


def _way(f: "dataclasses.Field[Any]") -> str:
    """Return how a field gets its value: `_VALUES`, or l for left as it is."""
    if f.default_factory is _MISSING:
        return "g" if f.init else "l"
    return "m" if f.init else "a"


# A field that is given, made if it is not given, or always made.
_VALUES = {
    "g": "field{i}",
    "m": "make{i}() if field{i} is missing else field{i}",
    "a": "make{i}()",
}


@cache
def _template(ways: str, frozen: bool, has_more: bool) -> types.CodeType:
    """Return the code of an ``__init__`` with fields called ``field0`` and so on."""
    put = "put(self, 'field{i}', {v})" if frozen else "self.field{i} = {v}"
    lines = [
        put.format(i=i, v=_VALUES[way].format(i=i))
        for i, way in enumerate(ways)
        if way in _VALUES
    ]
    last = "self.__post_init__()" if has_more else "pass"
    given = [f"field{i}" for i, way in enumerate(ways) if way in "gm"]
    body = "\n ".join([*lines, last])
    scope: dict[str, Any] = {}
    exec(f"def __init__({', '.join(['self', *given])}):\n {body}", scope)
    code: types.CodeType = scope["__init__"].__code__
    return code


@recursive_repr("...")
def _repr(self: Any) -> str:
    names = [f.name for f in dataclasses.fields(self) if f.repr]
    values = ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
    return f"{type(self).__qualname__}({values})"


def _comparison(
    names: list[str],
) -> tuple[Callable[[Any, object], bool], Callable[[Any], int]]:
    """Return ``__eq__`` and ``__hash__`` of the tuple of these fields."""
    values: Callable[[Any], Any] = attrgetter(*names) if names else lambda _: ()
    if len(names) == 1:
        value = values

        def values(x: Any) -> Any:
            return (value(x),)

    def __eq__(self: Any, other: object) -> bool:
        if other.__class__ is self.__class__:
            return bool(values(self) == values(other))
        return NotImplemented

    def __hash__(self: Any) -> int:
        return hash(values(self))

    return __eq__, __hash__


def _refuse(self: object, name: str, *value: object) -> None:
    verb = "assign to" if value else "delete"
    raise dataclasses.FrozenInstanceError(f"cannot {verb} field {name!r}")
