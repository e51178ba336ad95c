"""Arguments of transformations: which are differentiated, and do tangents fit them.

Leaves are arrays, NumPy scalars, Python numbers, or tracers of these. Integers and
booleans have no derivative: their tangents, cotangents and gradients are zeros of their
own shape and dtype, and JAX's ``float0`` is taken for one as well.
"""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import ArgumentError, DTypeError, ShapeError
from ..ir import dtypes as dt
from ..ir.aval import ShapedArray
from ..ir.ops.shape import full_like
from ..records import dataclass
from .inner import Argument, argument_like, kind_of, with_kind
from .source import user_line
from .storage import Kind
from .trace import current_trace
from .tracer import Tracer
from .tree import (
    Path,
    TreeMismatch,
    TreeSpec,
    flatten,
    format_path,
    leaves_like,
    paths,
    unflatten,
)

Argnums = int | Sequence[int] | None
Argnames = str | Sequence[str] | None
FLOAT0 = np.dtype([("float0", np.void, 0)])  # the dtype of JAX's zeros for integers


@dataclass(frozen=True)
class Chosen:
    """The arguments of one call that a transformation acts on.

    Parameters
    ----------
    args, kwargs : tuple, dict
        Of the call.
    places : tuple of int or str
        Positions in `args` and keywords in `kwargs` of the chosen arguments.
    single : bool
        They were named by one number or string, not by a sequence.
    leaves : list
    spec : TreeSpec
        Of the list of chosen arguments.
    names : tuple of str
        Per leaf, as Python would write it.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    places: tuple[int | str, ...]
    single: bool
    leaves: list[Any]
    spec: TreeSpec
    names: tuple[str, ...]

    def call(self, fn: Callable[..., Any], leaves: list[Any]) -> Any:
        """Call `fn` with other leaves in place of the chosen ones."""
        args, kwargs = list(self.args), dict(self.kwargs)
        for place, value in zip(self.places, unflatten(self.spec, leaves), strict=True):
            if isinstance(place, int):
                args[place] = value
            else:
                kwargs[place] = value
        return fn(*args, **kwargs)

    def like_arguments(self, leaves: list[Any]) -> Any:
        """Return `leaves` as the arguments: one of them, or a tuple of all."""
        trees = unflatten(self.spec, leaves)
        return trees[0] if self.single else tuple(trees)

    def arguments(self) -> list[Argument]:
        """Describe the leaves for a trace."""
        return [argument_like(x) for x in self.leaves]


def function_name(fn: Callable[..., Any]) -> str:
    """Return the name of `fn` for graphs and messages."""
    return getattr(fn, "__name__", "f")


def choose(
    fn: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    argnums: Argnums,
    argnames: Argnames,
) -> Chosen:
    """Find the arguments named by `argnums`, then those by `argnames`.

    Parameters
    ----------
    argnums : int, sequence of int, or None
        Positions, negative ones from the end. None is 0, or nothing with `argnames`.
    argnames : str, sequence of str, or None
        Parameters, whether given by position, by keyword or by default.

    Raises
    ------
    ArgumentError
        When there is no such argument, or one is named twice.
    """
    if argnums is None:
        argnums = 0 if argnames is None else ()
    by_name = _as_tuple(argnames)
    places: list[int | str] = [_position(int(p), args, fn) for p in _as_tuple(argnums)]
    for name in by_name:
        places.append(_place_of(name, fn, args, kwargs))
        if places[-1] == name and name not in kwargs:
            kwargs = {**kwargs, name: inspect.signature(fn).parameters[name].default}
    if len(set(places)) != len(places):
        raise ArgumentError(
            f"argnums={argnums!r} and argnames={argnames!r} name an argument twice",
            source=user_line(),
        )
    values = [args[p] if isinstance(p, int) else kwargs[p] for p in places]
    leaves, spec = flatten(values)
    single = isinstance(argnums, int) and argnames is None
    single = single or (isinstance(argnames, str) and argnums == ())
    names = [format_path(p[1:], _root(fn, places[int(p[0])])) for p in paths(spec)]  # type: ignore[call-overload]
    return Chosen(args, kwargs, tuple(places), single, leaves, spec, tuple(names))


def _as_tuple(x: Any) -> tuple[Any, ...]:
    if x is None:
        return ()
    return (x,) if isinstance(x, int | str) else tuple(x)


def _position(p: int, args: tuple[Any, ...], fn: Callable[..., Any]) -> int:
    if not -len(args) <= p < len(args):
        raise ArgumentError(
            f"argnums names argument {p}, but {function_name(fn)} was given "
            f"{len(args)} positional arguments",
            source=user_line(),
            hint="count from 0, and use argnames for keyword arguments",
        )
    return p % len(args)


def _parameters(fn: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    try:
        return dict(inspect.signature(fn).parameters)
    except (TypeError, ValueError):
        return {}


_POSITIONAL = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
)


def _place_of(
    name: str, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> int | str:
    """Return where a call gives parameter `name`; by itself when by its default."""
    if name in kwargs:
        return name
    parameters = _parameters(fn)
    positional = [n for n, p in parameters.items() if p.kind in _POSITIONAL]
    if name in positional[: len(args)]:
        return positional.index(name)
    given = parameters.get(name)
    if given is not None and given.default is not inspect.Parameter.empty:
        return name
    raise ArgumentError(
        f"argnames names {name!r}, but {function_name(fn)} "
        + ("was not given it" if given is not None else f"has {sorted(parameters)}"),
        source=user_line(),
        hint="name parameters of the function, or keywords of the call",
    )


def _root(fn: Callable[..., Any], place: int | str) -> str:
    """Return the name of an argument for messages."""
    if isinstance(place, str):
        return place
    names = [n for n, p in _parameters(fn).items() if p.kind in _POSITIONAL]
    return names[place] if place < len(names) else f"args[{place}]"


# --- what can be differentiated ---------------------------------------------------


def active_leaves(
    chosen: Chosen, what: str, holomorphic: bool = False, allow_int: bool = False
) -> list[int]:
    """Return which leaves are float or complex.

    Parameters
    ----------
    chosen : Chosen
    what : str
        The transformation, for messages.
    holomorphic : bool
        Demand complex leaves.
    allow_int : bool
        Do without any.

    Raises
    ------
    DTypeError
    """
    avals = [_leaf_aval(x, n) for x, n in zip(chosen.leaves, chosen.names, strict=True)]
    active = [i for i, a in enumerate(avals) if dt.is_inexact(a.dtype)]
    if avals and not active and not allow_int:
        listed = ", ".join(
            f"{n}: {a}" for n, a in zip(chosen.names, avals, strict=True)
        )
        raise DTypeError(
            f"{what} has nothing to differentiate: integers and booleans have no "
            f"derivative ({listed})",
            source=user_line(),
            hint="pass floats (3.0, x.astype(np.float64)), choose other argnums, or "
            "allow_int=True for zeros",
        )
    for i in active:
        if holomorphic and not dt.is_complex(avals[i].dtype):
            raise DTypeError(
                f"{what} with holomorphic=True takes complex arguments, but "
                f"{chosen.names[i]} is {avals[i]}",
                source=user_line(),
                hint=f"convert it: {chosen.names[i]}.astype(np.complex128)",
            )
    return active


def _leaf_aval(x: Any, name: str) -> ShapedArray:
    if isinstance(x, Tracer):
        return x.aval
    if isinstance(x, np.ndarray | np.generic | int | float | complex):
        array = np.asarray(x)
        return ShapedArray(array.shape, dt.canonical(array.dtype))
    raise DTypeError(
        f"cannot differentiate with respect to {name}, a {type(x).__name__}",
        source=user_line(),
        hint="choose other argnums, or pass it through a closure",
    )


# --- tangents and cotangents ------------------------------------------------------


def fit_leaves(
    spec: TreeSpec,
    avals: Sequence[ShapedArray],
    names: Sequence[str],
    tree: object,
    kind: str,
    of: str,
) -> list[Any]:
    """Return the leaves of a tree of tangents or cotangents.

    Parameters
    ----------
    spec : TreeSpec
    avals, names : sequences
        Of the leaves they belong to.
    tree : nested containers
        Of the same structure, shapes and dtypes.
    kind : str
        ``"tangent"`` or ``"cotangent"``.
    of : str
        ``"primal"`` or ``"output"``.

    Raises
    ------
    ArgumentError
        When the containers differ.
    ShapeError, DTypeError
        When a leaf does not fit.
    """
    try:
        leaves = leaves_like(spec, tree)
    except TreeMismatch as error:
        place = _mismatch_place(error.path, spec, names, kind)
        raise ArgumentError(
            f"the {kind}s do not have the structure of the {of}s: {place} is "
            f"{error.found}, the {of} there is {error.expected}",
            source=user_line(),
            hint=f"give one {kind} per {of}, in the same containers",
        ) from None
    for x, aval, name in zip(leaves, avals, names, strict=True):
        _check_fit(x, aval, name, kind, of)
    return leaves


def _mismatch_place(path: Path, spec: TreeSpec, names: Sequence[str], kind: str) -> str:
    return format_path(path, f"{kind}s") if path else f"what was given as {kind}s"


def _check_fit(x: Any, aval: ShapedArray, name: str, kind: str, of: str) -> None:
    if not isinstance(x, Tracer | np.ndarray | np.generic | int | float | complex):
        raise DTypeError(
            f"the {kind} of {name} is a {type(x).__name__}, the {of} is {aval}",
            source=user_line(),
            hint=f"pass an array of {aval}",
        )
    if np.shape(x) != aval.shape:
        raise ShapeError(
            f"the {kind} of {name} has shape {np.shape(x)}, the {of} is {aval}",
            source=user_line(),
            hint=f"a {kind} has the shape and dtype of its {of}",
        )
    if not _has_dtype(x, aval.dtype):
        found = getattr(x, "dtype", type(x).__name__)
        raise DTypeError(
            f"the {kind} of {name} is {found}, the {of} is {aval}",
            source=user_line(),
            hint=f"convert it: .astype(np.{aval.dtype.name})"
            if dt.is_inexact(aval.dtype)
            else f"integers have no derivative: their {kind} is np.zeros_like of them",
        )
    _check_zero(x, aval, name, kind)


def _has_dtype(x: Any, dtype: np.dtype) -> bool:
    """Tell whether `x` has `dtype`, or is a Python number that becomes one."""
    if kind_of(x) is not Kind.PYTHON:
        return x.dtype == dtype or (x.dtype == FLOAT0 and not dt.is_inexact(dtype))
    allowed: tuple[type, ...] = (bool, int)
    if dt.is_inexact(dtype):
        allowed = (int, float, complex) if dt.is_complex(dtype) else (int, float)
    return isinstance(x, allowed)


def _check_zero(x: Any, aval: ShapedArray, name: str, kind: str) -> None:
    if dt.is_inexact(aval.dtype) or isinstance(x, Tracer):
        return
    if getattr(x, "dtype", None) != FLOAT0 and np.any(x):
        raise DTypeError(
            f"the {kind} of {name} is not zero, but {aval} has no derivative",
            source=user_line(),
            hint="pass np.zeros_like of it, or convert the argument to float",
        )


def zeros(aval: ShapedArray, kind: Kind) -> Any:
    """Return zeros where the caller is: in the running trace, or in NumPy."""
    trace = current_trace()
    if trace is None:
        return with_kind(np.zeros(aval.shape, aval.dtype), kind)
    known = np.zeros(aval.shape, aval.dtype) if trace.may_know(aval.size) else None
    kind = Kind.ARRAY if kind is Kind.ARRAY else Kind.SCALAR
    return trace.result(full_like(trace.builder, 0, aval), known, kind=kind)


def zero_like(x: Any) -> Any:
    """Return zeros of the shape, dtype and kind of the leaf `x`."""
    return zeros(argument_like(x).aval, kind_of(x))


def like_leaf(value: Any, leaf: Any) -> Any:
    """Return `value` as an array or as a scalar, as `leaf` is."""
    is_array = kind_of(leaf) is Kind.ARRAY
    return with_kind(value, Kind.ARRAY if is_array else Kind.SCALAR)


def spread(
    values: Sequence[Any], active: Sequence[int], leaves: list[Any]
) -> list[Any]:
    """Return one value per leaf: those of the active ones, and zeros."""
    found = dict(zip(active, values, strict=True))
    return [
        like_leaf(found[i], x) if i in found else zero_like(x)
        for i, x in enumerate(leaves)
    ]
