"""`dataclass` for the package's own classes, which costs little until one is used.

`dataclasses.dataclass` has Python compile the text of six methods of a frozen class,
a third of a millisecond. The package has some 250 such classes, of which most programs
use few. Here the work is done with the first instance, and text is compiled for
``__init__`` alone, of classes that have more than a `FEW`. Fields are those of
`dataclasses`: ``replace`` works on all objects. Ask objects for fields: a class without
any instance may not know them.
"""

import dataclasses
import threading
from collections.abc import Callable
from itertools import count
from operator import attrgetter
from reprlib import recursive_repr
from typing import TYPE_CHECKING, Any

_LOCK = threading.RLock()
_PUT_OFF = "__put_off__"
FEW = 16  # objects from which on a class gets an `__init__` of its own
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
        "__init__": _first_init(cls, fields, frozen),
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


def _first_init(
    cls: type, fields: tuple["dataclasses.Field[Any]", ...], frozen: bool
) -> Callable[..., None]:
    """Return an ``__init__`` that goes through the fields: for a class's first objects.

    Compiling its text takes as long as a hundred calls, and most classes have few
    objects. A call that does not fit is left to the other, which raises what is due.
    """
    given = [f.name for f in fields if f.init]
    needed = {
        f.name
        for f in fields
        if f.init and (f.default, f.default_factory) == (_MISSING, _MISSING)
    }
    has_more = hasattr(cls, "__post_init__")
    put, calls = object.__setattr__, count(1)

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        values = dict(zip(given, args, strict=False))
        fits = len(args) <= len(given) and not kwargs.keys() & values.keys()
        values |= kwargs
        if not (fits and needed <= values.keys() <= set(given)) or next(calls) > FEW:
            own = _init(cls, fields, frozen)
            type.__setattr__(cls, "__init__", own)
            return own(self, *args, **kwargs)
        for f in fields:
            if f.name in values:
                put(self, f.name, values[f.name])
            elif f.default_factory is not _MISSING:
                put(self, f.name, f.default_factory())
            elif f.init:
                put(self, f.name, f.default)
        if has_more:
            self.__post_init__()

    return __init__


def _init(
    cls: type, fields: tuple["dataclasses.Field[Any]", ...], frozen: bool
) -> Callable[..., None]:
    """Return the ``__init__`` of a class, as `dataclasses` would write it."""
    scope: dict[str, Any] = {"put": object.__setattr__, "missing": _MISSING}
    parameters, lines = ["self"], []
    for f in fields:
        value = f.name
        if f.default_factory is not _MISSING:
            scope[f"make_{f.name}"] = f.default_factory
            value = f"make_{f.name}()"
        if f.init:
            parameters.append(_parameter(f, scope))
            if value != f.name:
                value = f"{value} if {f.name} is missing else {f.name}"
        elif value == f.name:
            continue  # its default is the class's attribute
        lines.append(
            f"put(self, {f.name!r}, {value})" if frozen else f"self.{f.name} = {value}"
        )
    if hasattr(cls, "__post_init__"):
        lines.append("self.__post_init__()")
    body = "\n ".join(lines or ["pass"])
    exec(f"def __init__({', '.join(parameters)}):\n {body}", scope)
    made: Callable[..., None] = scope["__init__"]
    made.__qualname__ = f"{cls.__qualname__}.__init__"
    return made


def _parameter(f: "dataclasses.Field[Any]", scope: dict[str, Any]) -> str:
    if f.default is not _MISSING:
        scope[f"default_{f.name}"] = f.default
        return f"{f.name}=default_{f.name}"
    return f.name if f.default_factory is _MISSING else f"{f.name}=missing"


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
    is_single = len(names) == 1

    def __eq__(self: Any, other: object) -> bool:
        if other.__class__ is not self.__class__:
            return NotImplemented
        one, two = values(self), values(other)
        return (one,) == (two,) if is_single else bool(one == two)

    def __hash__(self: Any) -> int:
        return hash(values(self))

    return __eq__, __hash__


def _refuse(self: object, name: str, *value: object) -> None:
    verb = "assign to" if value else "delete"
    raise dataclasses.FrozenInstanceError(f"cannot {verb} field {name!r}")
