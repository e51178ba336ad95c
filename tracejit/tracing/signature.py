"""Call signatures: arguments to leaves, leaves to the key that selects a trace.

`None`, booleans, strings and opaque objects specialise by value or identity; arrays by
shape, dtype and strides; ints and floats by type alone.
"""

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from types import FunctionType, MethodType
from typing import Any

import numpy as np

from ..errors import ArgumentError
from ..ir import dtypes as dt
from ..ir.placed import Placed
from ..records import dataclass
from .leaves import DescribedCall, described
from .tree import Path, TreeSpec, flatten, format_path, paths, unflatten

ARRAY, SCALAR, INT, FLOAT, COMPLEX, STATIC = (
    "array",
    "scalar",
    "int",
    "float",
    "complex",
    "static",
)


@dataclass(frozen=True)
class LeafKey:
    """What is known of one argument leaf at compile time.

    Parameters
    ----------
    kind : str
        array, scalar (NumPy), int, float, complex, or static.
    dtype : numpy.dtype, optional
    shape, strides : tuple of int
        Strides in bytes, () for C-contiguous arrays.
    value : object
        For static leaves: the value, or an `Identity`. For arrays on a device: its
        name.
    """

    kind: str
    dtype: np.dtype | None = None
    shape: tuple[int, ...] = ()
    strides: tuple[int, ...] = ()
    value: object = None


class Identity:
    """Wraps an object so that it compares by identity; keeps it alive."""

    __slots__ = ("obj",)

    def __init__(self, obj: object) -> None:
        self.obj = obj

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Identity) and self.obj is other.obj

    def __hash__(self) -> int:
        return id(self.obj)

    def __repr__(self) -> str:
        return f"Identity({self.obj!r})"


@dataclass(frozen=True)
class Call:
    """One call's arguments, flattened.

    Parameters
    ----------
    leaves : list
        Argument leaves in order.
    spec : TreeSpec
        Of ``(args, kwargs)``.
    keys : tuple of LeafKey
    aliases : tuple of int
        Which leaves are one object; see `aliases_of`.
    given : list
        The leaves as they were given: `leaves` has the shadows of arrays on devices.
    parameters : tuple of str
        The names of the positional arguments.
    donated : frozenset of int
        Leaves of parameters that are given away.
    """

    leaves: list[Any]
    spec: TreeSpec
    keys: tuple[LeafKey, ...]
    aliases: tuple[int, ...]
    given: list[Any]
    parameters: tuple[str, ...]
    donated: frozenset[int] = frozenset()

    @property
    def key(self) -> tuple[object, ...]:
        """What selects the specialisations of this call."""
        return self.spec, self.keys, self.aliases

    @property
    def place(self) -> str | None:
        """The device that arrays of the call are on; None if all are the host's.

        Raises
        ------
        ArgumentError
            If they are on several.
        """
        found = {x.place: i for i, x in enumerate(self.given) if isinstance(x, Placed)}
        if len(found) > 1:
            names = self.leaf_names()
            where = ", ".join(f"{names[i]} on {place}" for place, i in found.items())
            raise ArgumentError(
                f"arguments are on several devices: {where}",
                hint="move them with tj.to_device",
            )
        return next(iter(found), None)

    @cached_property
    def described(self) -> DescribedCall:
        """What a trace is made for, which keeps nothing alive."""
        return described(self)

    def rebuild(self, leaves: list[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return ``(args, kwargs)`` with other leaves."""
        args, kwargs = unflatten(self.spec, leaves)
        return args, kwargs

    def leaf_names(self) -> list[str]:
        """Return the leaves' places, as Python would write them: ``params['w']``."""
        positional, named = self.spec.children
        names = [leaf_name(self.parameters, path) for path in paths(positional)]
        return names + [format_path(p[1:], str(p[0])) for p in paths(named)]


_POSITIONAL = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
)


class Signature:
    """A function's signature, as far as `jit` needs it.

    Parameters
    ----------
    fn : callable
        Of any kind: a Python function, a ufunc, a builtin, a `functools.partial`.
    static_argnames : tuple of str
        Parameters whose leaves specialise by value.
    donate_argnums : tuple of int
        Positions of parameters whose arrays are given away.
    donate_argnames : tuple of str
        Names of such parameters.
    """

    def __init__(
        self,
        fn: Callable[..., Any],
        static_argnames: tuple[str, ...] = (),
        donate_argnums: tuple[int, ...] = (),
        donate_argnames: tuple[str, ...] = (),
    ) -> None:
        self.fn = fn
        self.static = frozenset(static_argnames)
        self.signature = signature_of(fn)
        self._has_defaults = _is_python(fn)
        self._forms: dict[tuple[int, tuple[str, ...]], Form] = {}
        self._check_names("static_argnames", self.static)
        self._check_names("donate_argnames", frozenset(donate_argnames))
        self.donated_at = frozenset(donate_argnums)
        named = map(self._name_at, sorted(donate_argnums))
        names = (n for n in named if n is not None)
        self.donated = frozenset((*donate_argnames, *names))

    def _check_names(self, what: str, names: frozenset[str]) -> None:
        known = set(self.signature.parameters) if self.signature else set()
        unknown = names - known
        if unknown and not self._takes_any_keyword():
            raise TypeError(
                f"{what} {sorted(unknown)} are not parameters of {self._name}, "
                f"which has {sorted(known)}"
            )

    def _name_at(self, position: int) -> str | None:
        """Return the parameter at a position that is donated; None for ``*args``."""
        if self.signature is None:
            return None
        parameters = [*self.signature.parameters.values()]
        positional = [p for p in parameters if p.kind in _POSITIONAL]
        if 0 <= position < len(positional):
            return positional[position].name
        takes_more = any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in parameters)
        if position >= 0 and takes_more:
            return None
        raise TypeError(
            f"donate_argnums {position} is out of range: {self._name} takes "
            f"{len(positional)} positional arguments"
        )

    @property
    def _name(self) -> str:
        return getattr(self.fn, "__name__", "the function")

    def _takes_any_keyword(self) -> bool:
        if self.signature is None:
            return True
        kinds = {p.kind for p in self.signature.parameters.values()}
        return inspect.Parameter.VAR_KEYWORD in kinds

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        """Flatten the arguments of one call; defaults count as given.

        Raises
        ------
        TypeError
            When the function does not take these arguments.
        """
        form = self.form(len(args), tuple(kwargs))
        full_args, full_kwargs = form.arrange((*args, *kwargs.values()))
        given, spec = flatten((full_args, full_kwargs))
        static = form.static_leaves(spec) if self.static else frozenset()
        keys = tuple([leaf_key(x, i in static) for i, x in enumerate(given)])
        leaves = [x.shadow if isinstance(x, Placed) else x for x in given]
        aliases = aliases_of(leaves)
        donated = form.donated_leaves(spec) if form.has_donations else frozenset()
        return Call(leaves, spec, keys, aliases, given, form.parameters, donated)

    def form(self, count: int, names: tuple[str, ...]) -> "Form":
        """Return how `count` positional arguments and keywords `names` are bound.

        Raises
        ------
        TypeError
            When the function does not take these arguments.
        """
        found = self._forms.get((count, names))
        if found is None:
            found = self._forms[count, names] = self._make_form(count, names)
        return found

    def _make_form(self, count: int, names: tuple[str, ...]) -> "Form":
        given = [Given(i) for i in range(count + len(names))]
        keywords: dict[str, object] = dict(zip(names, given[count:], strict=True))
        # What is no Python code takes keywords as such: np.add(x, y, out=(z,)).
        if self.signature is None or not (self._has_defaults or self.static):
            static = self.static.intersection(names)
            known = argument_names(self.signature, count)
            args = tuple(given[:count])
            donated = frozenset(
                i
                for i, n in enumerate(known)
                if i in self.donated_at or n in self.donated
            )
            return Form(
                count,
                names,
                args,
                keywords,
                frozenset(),
                static,
                known,
                donated,
                self.donated.intersection(names),
            )
        bound = self.signature.bind(*given[:count], **keywords)
        if self._has_defaults:
            bound.apply_defaults()
        positional, named = _parameters(bound)
        return Form(
            count,
            names,
            bound.args,
            bound.kwargs,
            frozenset(i for i, n in enumerate(positional) if n in self.static),
            frozenset(k for k, n in named.items() if {k, n} & self.static),
            argument_names(self.signature, len(bound.args)),
            frozenset(
                i
                for i, n in enumerate(positional)
                if n in self.donated or i in self.donated_at
            ),
            frozenset(k for k, n in named.items() if {k, n} & self.donated),
        )


def signature_of(fn: Callable[..., Any]) -> inspect.Signature | None:
    """Return a callable's signature, None where it says none."""
    try:
        return inspect.signature(fn)
    except (TypeError, ValueError):
        return None


def argument_names(signature: inspect.Signature | None, count: int) -> tuple[str, ...]:
    """Return the names of positional arguments: ``args[2]`` where there is none."""
    parameters = signature.parameters.values() if signature else ()
    names = [p.name for p in parameters if p.kind in _POSITIONAL][:count]
    return *names, *(f"args[{i}]" for i in range(len(names), count))


def leaf_name(names: Sequence[str], path: Path) -> str:
    """Return a leaf of positional arguments, as Python would write it."""
    first, *rest = path
    assert isinstance(first, int)
    return format_path(tuple(rest), names[first])


def _parameters(bound: inspect.BoundArguments) -> tuple[list[str], dict[str, str]]:
    """Return the parameter of each positional argument, and of each keyword."""
    kinds = {n: p.kind for n, p in bound.signature.parameters.items()}
    positional: list[str] = []
    named = {k: k for k in bound.kwargs}
    for name, value in bound.arguments.items():
        if kinds[name] is inspect.Parameter.VAR_KEYWORD:
            named.update(dict.fromkeys(value, name))
        elif kinds[name] is inspect.Parameter.VAR_POSITIONAL:
            positional.extend([name] * len(value))
        else:
            positional.append(name)
    return positional[: len(bound.args)], named


@dataclass(frozen=True)
class Given:
    """Stands for argument `index` of a call: positional ones first, then keywords."""

    index: int


@dataclass(frozen=True)
class Form:
    """How the arguments of calls of one form become the parameters of a function.

    Parameters
    ----------
    count : int
    names : tuple of str
        Number of positional arguments of the call, and its keywords.
    args : tuple
        Per positional parameter a `Given` or the parameter's default.
    kwargs : dict
        The same per keyword.
    static_args : frozenset of int
    static_kwargs : frozenset of str
        Parameters whose leaves specialise by value.
    parameters : tuple of str
        The names of the positional arguments.
    donated_args : frozenset of int
    donated_kwargs : frozenset of str
        Parameters whose arrays are given away.
    """

    count: int
    names: tuple[str, ...]
    args: tuple[object, ...]
    kwargs: dict[str, object]
    static_args: frozenset[int]
    static_kwargs: frozenset[str]
    parameters: tuple[str, ...]
    donated_args: frozenset[int] = frozenset()
    donated_kwargs: frozenset[str] = frozenset()

    @property
    def has_donations(self) -> bool:
        """Whether any parameter is given away."""
        return bool(self.donated_args or self.donated_kwargs)

    @cached_property
    def is_plain(self) -> bool:
        """Whether the function's arguments are the call's, all positional."""
        given = tuple(Given(i) for i in range(self.count))
        return not self.kwargs and self.args == given

    def arrange(
        self, values: tuple[object, ...]
    ) -> tuple[tuple[object, ...], dict[str, object]]:
        """Return the function's ``(args, kwargs)`` for the values of one call."""
        args = tuple([values[x.index] if type(x) is Given else x for x in self.args])
        kwargs = {
            name: values[x.index] if type(x) is Given else x
            for name, x in self.kwargs.items()
        }
        return args, kwargs

    def static_leaves(self, spec: TreeSpec) -> frozenset[int]:
        """Return the leaves of static parameters; `spec` is of ``(args, kwargs)``."""
        return _leaves_of(spec, self.static_args, self.static_kwargs)

    def donated_leaves(self, spec: TreeSpec) -> frozenset[int]:
        """Return the leaves of donated parameters; see `static_leaves`."""
        return _leaves_of(spec, self.donated_args, self.donated_kwargs)


def _leaves_of(
    spec: TreeSpec, positions: frozenset[int], keywords: frozenset[str]
) -> frozenset[int]:
    """Return the leaves of some parameters; `spec` is of ``(args, kwargs)``."""
    found: list[int] = []
    start = 0
    for names, tree in zip((positions, keywords), spec.children, strict=True):
        for name, child in zip(tree.keys, tree.children, strict=True):
            if name in names:
                found.extend(range(start, start + child.size))
            start += child.size
    return frozenset(found)


def _is_python(fn: object) -> bool:
    """Tell whether a function is Python code: its defaults are real arguments.

    Ufuncs, builtins and NumPy's functions have defaults that stand for "not given",
    and some of them exclude each other.
    """
    while isinstance(fn, functools.partial):
        fn = fn.func
    if isinstance(fn, FunctionType | MethodType):
        return True
    return isinstance(type(fn).__call__, FunctionType)  # type: ignore[operator]


def aliases_of(leaves: Sequence[Any]) -> tuple[int, ...]:
    """Index of the first leaf that is the same array, per leaf; () when all differ."""
    first: dict[int, int] = {}
    out = []
    for i, x in enumerate(leaves):
        out.append(first.setdefault(id(x), i) if type(x) is np.ndarray else i)
    return () if out == list(range(len(leaves))) else tuple(out)


def leaf_key(x: Any, static: bool = False) -> LeafKey:
    """Return the key of one argument leaf.

    Raises
    ------
    DTypeError
        For arrays of dtypes that are not supported.
    """
    kind = type(x)
    if isinstance(x, np.ndarray):
        strides = () if x.flags.c_contiguous else x.strides
        return LeafKey(ARRAY, dt.canonical(x.dtype), x.shape, strides)
    if isinstance(x, Placed):
        return replace(leaf_key(x.shadow), value=x.place)
    if static:
        return LeafKey(STATIC, value=(kind, _hashable(x)))
    if kind is int:
        return LeafKey(INT)
    if kind is float:
        return LeafKey(FLOAT)
    if kind is complex:
        return LeafKey(COMPLEX)
    if isinstance(x, np.generic) and x.dtype.kind in "biufcV":
        return LeafKey(SCALAR, dt.canonical(x.dtype))
    if kind in (bool, str, bytes):
        return LeafKey(STATIC, value=(kind, x))
    return LeafKey(STATIC, value=(kind, _hashable(x)))


def _hashable(x: object) -> object:
    """Plain values compare by value, all else by identity."""
    if isinstance(x, int | float | complex | str | bytes | np.dtype | slice):
        return repr(x) if isinstance(x, float | complex | slice) else x
    return Identity(x)
