"""Argument leaves of one call, as text and plain data: what a trace was made for.

Needs a call's leaves and keys. Establishes `ArgumentLeaf`, which keeps neither arrays
nor objects alive, so that it can be kept for as long as anyone may ask why a function
was traced.
"""

import reprlib
from collections.abc import Sequence
from types import BuiltinFunctionType, FunctionType
from typing import TYPE_CHECKING, Any

import numpy as np

from ..ir.aval import ShapedArray
from ..ir.placed import Placed
from ..records import dataclass
from .tree import LEAF, Path, TreeSpec, format_path

if TYPE_CHECKING:
    from .signature import Call, LeafKey

_TEXT = reprlib.Repr()
_TEXT.maxstring = _TEXT.maxother = _TEXT.maxlong = 40
_BY_VALUE = (bool, int, float, complex, str, bytes, type(None))


@dataclass(frozen=True)
class ArgumentLeaf:
    """One leaf of a call's arguments.

    Parameters
    ----------
    name : str
        As Python would write it: ``params['w'][0]``.
    kind : str
        array, scalar (NumPy), int, float, complex, or static.
    type : str
        The name of its Python type.
    aval : ShapedArray, optional
        Of arrays and of NumPy scalars.
    strides : tuple of int
        In bytes; () for C-contiguous arrays.
    place : str
        The device that an array is on; empty for the host's.
    value : str
        Of Python values, as short text.
    identity : int
        Of an object that is compared by identity; else 0.
    is_readable : bool
        Whether machine code can read it where it lies: an array that is aligned.
    """

    name: str
    kind: str
    type: str
    aval: ShapedArray | None = None
    strides: tuple[int, ...] = ()
    place: str = ""
    value: str = ""
    identity: int = 0
    is_readable: bool = True

    @property
    def text(self) -> str:
        """What it is, in a few words: ``f32[8,4]``, ``int 3``, ``'up'``."""
        if self.kind == "array":
            strides = f", strides {list(self.strides)}" if self.strides else ""
            return f"{self.aval}{strides}{self.place and f' on {self.place}'}"
        if self.kind == "scalar":
            return f"a NumPy {self.type}"
        if self.kind == "static":
            return self.value
        return f"{self.type} {self.value}"


@dataclass(frozen=True)
class DescribedCall:
    """What a trace is made for.

    Parameters
    ----------
    leaves : tuple of ArgumentLeaf
    spec : TreeSpec
        Of ``(args, kwargs)``.
    aliases : tuple of int
        Which leaves are one array; () if all differ.
    parameters : tuple of str
        The names of the positional arguments.
    """

    leaves: tuple[ArgumentLeaf, ...] = ()
    spec: TreeSpec = LEAF
    aliases: tuple[int, ...] = ()
    parameters: tuple[str, ...] = ()


def described(call: "Call") -> DescribedCall:
    """Return what a trace for a call is made for, leaf by leaf."""
    rows = zip(call.leaf_names(), call.given, call.keys, strict=True)
    leaves = tuple([_leaf(*row) for row in rows])
    return DescribedCall(leaves, call.spec, call.aliases, call.parameters)


def place_name(path: Path, parameters: Sequence[str]) -> str:
    """Return a place in ``(args, kwargs)``, as Python would write it.

    Examples
    --------
    >>> place_name((0, 1, "w"), ("x", "params"))
    "params['w']"
    """
    root, *rest = path
    if not rest:
        return "the arguments" if root == 0 else "the keyword arguments"
    first, *inner = rest
    name = parameters[first] if root == 0 and isinstance(first, int) else str(first)
    return format_path(tuple(inner), name)


def _leaf(name: str, x: Any, key: "LeafKey") -> ArgumentLeaf:
    kind = type(x).__name__
    if key.kind == "array":
        assert key.dtype is not None
        array = x.shadow if isinstance(x, Placed) else x
        is_readable = array.flags.aligned and not any(
            s % array.itemsize for s in array.strides
        )
        return ArgumentLeaf(
            name,
            key.kind,
            kind,
            ShapedArray(key.shape, key.dtype),
            key.strides,
            place=str(key.value or ""),
            is_readable=is_readable,
        )
    if key.kind == "scalar":
        assert key.dtype is not None
        aval = ShapedArray((), key.dtype)
        return ArgumentLeaf(name, key.kind, key.dtype.name, aval)
    is_plain = isinstance(x, (*_BY_VALUE, np.dtype, np.generic, slice))
    identity = 0 if is_plain else id(x)
    return ArgumentLeaf(name, key.kind, kind, value=value_text(x), identity=identity)


def value_text(x: object) -> str:
    """Return a Python value as short text, without running its own code.

    Examples
    --------
    >>> value_text(3), value_text("up"), value_text(value_text)
    ('3', "'up'", 'the function value_text')
    """
    if isinstance(x, type):
        return f"the class {x.__qualname__}"
    if isinstance(x, FunctionType | BuiltinFunctionType):
        return f"the function {x.__qualname__}"
    if isinstance(x, np.ufunc):
        return f"the function {x.__name__}"
    if isinstance(x, np.ndarray):
        return f"an array {x.dtype}{list(x.shape)}"
    if type(x) in _BY_VALUE or isinstance(x, np.generic | np.dtype | slice):
        return _TEXT.repr(x)
    return f"a {type(x).__qualname__} object"
