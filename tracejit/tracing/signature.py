"""Call signatures: arguments to leaves, leaves to the key that selects a trace.

`None`, booleans, strings and opaque objects specialise by value or identity; arrays by
shape, dtype and strides; ints and floats by type alone.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..ir import dtypes as dt
from .tree import TreeSpec, flatten, paths, unflatten

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
        For static leaves: the value, or an `Identity`.
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
    key : tuple
        `LeafKey` per leaf, the spec, and which leaves are one object.
    """

    leaves: list[Any]
    spec: TreeSpec
    keys: tuple[LeafKey, ...]
    aliases: tuple[int, ...]

    @property
    def key(self) -> tuple[object, ...]:
        """What selects the specialisations of this call."""
        return self.spec, self.keys, self.aliases

    def rebuild(self, leaves: list[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return ``(args, kwargs)`` with other leaves."""
        args, kwargs = unflatten(self.spec, leaves)
        return args, kwargs

    def leaf_names(self) -> list[str]:
        """Return the leaves' places, as Python would write them."""
        names = []
        for path in paths(self.spec):
            root, *rest = path
            prefix = "args" if root == 0 else "kwargs"
            names.append(prefix + "".join(f"[{k!r}]" for k in rest))
        return names


class Signature:
    """A function's signature, as far as `jit` needs it.

    Parameters
    ----------
    fn : callable
    static_argnames : tuple of str
        Parameters whose leaves specialise by value.
    """

    def __init__(
        self, fn: Callable[..., Any], static_argnames: tuple[str, ...]
    ) -> None:
        self.fn = fn
        self.static = frozenset(static_argnames)
        try:
            self.signature: inspect.Signature | None = inspect.signature(fn)
        except (TypeError, ValueError):
            self.signature = None
        self._positional = self._plain_count()
        known = set(self.signature.parameters) if self.signature else set()
        unknown = self.static - known
        if unknown and not self._takes_any_keyword():
            name = getattr(fn, "__name__", "the function")
            raise TypeError(
                f"static_argnames {sorted(unknown)} are not parameters of {name}, "
                f"which has {sorted(known)}"
            )

    def _plain_count(self) -> int:
        """Number of parameters when all are positional, else -1."""
        if self.signature is None or self.static:
            return -1
        kinds = [p.kind for p in self.signature.parameters.values()]
        parameter = inspect.Parameter
        plain = parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD
        return len(kinds) if all(k in plain for k in kinds) else -1

    def _takes_any_keyword(self) -> bool:
        if self.signature is None:
            return True
        kinds = {p.kind for p in self.signature.parameters.values()}
        return inspect.Parameter.VAR_KEYWORD in kinds

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        """Flatten the arguments of one call; defaults count as given."""
        static_from = None
        is_bound = not kwargs and len(args) == self._positional
        if self.signature is not None and not is_bound:
            bound = self.signature.bind(*args, **kwargs)
            bound.apply_defaults()
            if self.static:
                static_from = bound.arguments
            args, kwargs = bound.args, bound.kwargs
        leaves, spec = flatten((args, kwargs))
        static = self._static_leaves(static_from)
        keys = tuple([leaf_key(x, id(x) in static) for x in leaves])
        return Call(leaves, spec, keys, _aliases(leaves))

    def _static_leaves(self, arguments: Any) -> frozenset[int]:
        if not arguments:
            return frozenset()
        extra = arguments.get("kwargs", {})
        values = [arguments.get(n, extra.get(n)) for n in self.static]
        return frozenset(id(x) for v in values for x in flatten(v)[0])


def _aliases(leaves: list[Any]) -> tuple[int, ...]:
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
