"""The tracer: what the traced function sees in place of an array or scalar.

A tracer is a storage, a chain of view steps, and a *shadow*: a NumPy array with the
shape, dtype and strides NumPy would give, on which NumPy itself decides what is a view
and what a copy. Where the value is known the shadow carries it.
"""

import math
import operator
import sys
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ConcretizationError, ShapeError, TraceError, UnsupportedError
from ..ir import dtypes as dt
from ..ir.aval import ShapedArray
from ..ir.graph import Atom, Literal
from ..ir.ops.elementwise import convert_p
from ..ir.ops.shape import broadcast_to, reshape
from ..ir.placed import Shadowed, namespace
from . import alternatives
from .bit_views import BitView
from .flat import FlatView
from .layouts import ordered_layout, result_layout
from .refusals import array_wanted, concretization_error, refused
from .source import calls_ufunc, user_line
from .storage import Array, Kind, Storage
from .views import (
    ImaginaryPart,
    Order,
    RealPart,
    Reshaped,
    Transposed,
    ViewStep,
    read_chain,
    write_chain,
)

if TYPE_CHECKING:
    from .trace import Trace

_NOTHING = np.empty(0)
PYTHON_TYPES = {"b": bool, "i": int, "u": int, "f": float, "c": complex}


# Array methods that are functions with the array as first argument.
METHODS: dict[str, Callable[..., Any]] = {
    name: getattr(np, name)
    for name in [
        "all",
        "any",
        "argmax",
        "argmin",
        "argpartition",
        "argsort",
        "choose",
        "cumprod",
        "cumsum",
        "diagonal",
        "dot",
        "max",
        "mean",
        "min",
        "nonzero",
        "prod",
        "put",
        "repeat",
        "round",
        "searchsorted",
        "std",
        "sum",
        "take",
        "trace",
        "var",
    ]
}

Unary = Callable[["Tracer"], Any]
Binary = Callable[["Tracer", object], Any]


def _binary(name: str, ufunc: np.ufunc) -> tuple[Binary, Binary, Binary]:
    """Return ``x + y``, ``y + x`` and ``x += y`` for a traced x."""

    def forward(self: "Tracer", other: object) -> Any:
        if _defers(other):
            return NotImplemented
        if name == "mul" and _repeats(other, self):
            return other * self.__index__()  # type: ignore[operator]
        if self.kind is Kind.PYTHON and _is_python(other):
            return self.home.rules.binary(name, self, other)
        return _called(ufunc, self, other)

    def reflected(self: "Tracer", other: object) -> Any:
        if _defers(other):
            return NotImplemented
        if name == "mul" and _repeats(other, self):
            return other * self.__index__()  # type: ignore[operator]
        if _is_python(self) and _is_python(other):
            return self.home.rules.binary(name, other, self)
        return ufunc(other, self)

    def in_place(self: "Tracer", other: object) -> Any:
        if self.kind is not Kind.ARRAY:
            return forward(self, other)
        return ufunc(self, other, out=(self,))

    return forward, reflected, in_place


def _called(ufunc: np.ufunc, x: "Tracer", y: object) -> Any:
    """Return ``ufunc(x, y)``; NumPy need not look for who else might trace it."""
    if type(y) is Tracer or type(y) in _NUMBERS:
        return x.home.rules.ufunc(ufunc, "__call__", (x, y), {})
    return ufunc(x, y)


def _repeats(sequence: object, count: "Tracer") -> bool:
    """Tell whether a product is Python's repetition of a sequence."""
    is_number = count.kind is not Kind.ARRAY
    return is_number and isinstance(sequence, list | tuple | str | bytes)


def _is_python(x: object) -> bool:
    """Tell whether `x` is a Python scalar, traced or not."""
    if isinstance(x, Tracer):
        return x.kind is Kind.PYTHON
    return type(x) in _NUMBERS


def _defers(other: object) -> bool:
    """Tell whether `other` is no array-like and may know what to do itself."""
    if type(other) is Tracer or type(other) in _NUMBERS:
        return False
    if isinstance(other, np.ndarray | np.generic | int | float | complex):
        return False
    return getattr(type(other), "__array_ufunc__", False) is None


def _comparison(name: str, ufunc: np.ufunc) -> Binary:
    def compare(self: "Tracer", other: object) -> Any:
        if other is None or isinstance(other, str):
            return _unlike(self, name)
        if _is_python(self) and _is_python(other):
            return self.home.rules.binary(name, self, other)
        return _called(ufunc, self, other)

    return compare


def _unlike(x: "Tracer", name: str) -> Any:
    """Compare with None or text, which no number equals: in arrays, each by itself."""
    if name not in ("eq", "ne") or x.kind is not Kind.ARRAY:
        return NotImplemented
    truth = np.full(x.shape, name == "ne")
    kind = Kind.ARRAY if x.ndim else Kind.SCALAR
    return x.home.constant(truth, born_here=True).as_scalar(kind)


def _unary(name: str, ufunc: np.ufunc) -> Unary:
    def apply(self: "Tracer") -> Any:
        if self.kind is Kind.PYTHON:
            return self.home.rules.unary(name, self)
        return ufunc(self)

    return apply


_NUMBERS = frozenset({bool, int, float, complex})


class Tracer(Shadowed):
    """A traced array, NumPy scalar or Python scalar.

    Parameters
    ----------
    storage : Storage
    chain : tuple of ViewStep
        From the storage's value to this view.
    shadow : numpy.ndarray
        Shape, dtype and strides; the data too where `storage.known`.
    kind : Kind

    Attributes
    ----------
    home : Trace
        The trace this value belongs to.
    """

    __slots__ = ("_cache", "chain", "home", "kind", "storage")
    __array_priority__ = 1e6

    def __init__(
        self,
        storage: Storage,
        chain: tuple[ViewStep, ...],
        shadow: Array,
        kind: Kind,
    ) -> None:
        self.storage = storage
        self.home: Trace = storage.home
        self.chain = chain
        self.shadow = shadow
        self.kind = kind
        self._cache: tuple[int, Atom] | None = None

    # --- what the compiler asks

    @property
    def aval(self) -> ShapedArray:
        """Shape and dtype."""
        return ShapedArray(self.shadow.shape, dt.canonical(self.shadow.dtype))

    @property
    def is_known(self) -> bool:
        """Whether the shadow carries the value, whatever the arguments are."""
        return self.storage.known and not self.storage.depends

    def read(self) -> Atom:
        """Return the present value as an atom of the graph."""
        self.home.check_active()
        if not self.chain:
            return self.storage.atom
        version = self.storage.version
        if self._cache is None or self._cache[0] != version:
            atom = read_chain(self.home.builder, self.storage.atom, self.chain)
            self._cache = (version, atom)
        return self._cache[1]

    def write(self, atom: Atom, known: Array | None) -> None:
        """Set the elements of this view to `atom`.

        Raises
        ------
        ValueError
            When NumPy would refuse (a read-only view), or the storage is not this
            trace's to write.
        """
        storage, trace = self.storage, self.home
        trace.check_active()
        trace.check_innermost()
        if not self.shadow.flags.writeable:
            raise ValueError("assignment destination is read-only")
        if storage.frozen:
            raise TraceError(
                f"cannot write a traced value into this array: {storage.frozen}",
                source=user_line(),
                hint="copy it first (x = x.copy()), or pass it as an argument",
            )
        storage.atom = write_chain(trace.builder, storage.atom, self.chain, atom)
        storage.version += 1
        if self.is_known and known is not None:
            np.copyto(self.shadow, known, casting="unsafe")
        else:
            storage.known = False

    def known_value(self, what: str) -> Array:
        """Return the value, for Python.

        Raises
        ------
        ConcretizationError
            When the value is known at run time only; `what` names what asked.
        """
        if not self.storage.known:
            raise concretization_error(self, what)
        self.home.pin(self.storage.depends)
        return self.shadow

    def derive(self, step: ViewStep, shadow: Array) -> "Tracer":
        """Return a view of this value one step on."""
        return Tracer(self.storage, (*self.chain, step), shadow, Kind.ARRAY)

    def convert(self, dtype: np.dtype) -> Atom:
        """Return the value converted to `dtype`, as an atom."""
        atom = self.read()
        found = atom.aval.dtype
        if found is dtype or found == dtype:
            return atom
        if type(atom) is Literal:
            return atom.converted(dtype)
        if dt.is_complex(atom.aval.dtype) and not dt.is_complex(dtype):
            if dtype == dt.BOOL:
                return self.home.emit(convert_p, atom, dtype=dtype)
            atom = self.real.read()
        return self.home.emit(convert_p, atom, dtype=dtype)

    # --- what NumPy asks

    @property  # type: ignore[misc]
    def __class__(self) -> type:  # type: ignore[override]
        """`isinstance(x, np.ndarray)` is true of what would be an array."""
        if self.kind is Kind.ARRAY:
            return np.ndarray
        if self.kind is Kind.SCALAR:
            return self.shadow.dtype.type
        return PYTHON_TYPES[self.shadow.dtype.kind]

    def __array_ufunc__(
        self, ufunc: np.ufunc, method: str, *inputs: object, **kwargs: Any
    ) -> Any:
        return self.home.rules.ufunc(ufunc, method, inputs, kwargs)

    def __array_function__(
        self, func: Callable[..., Any], types: Any, args: Any, kwargs: Any
    ) -> Any:
        return self.home.rules.function(func, args, kwargs)

    def __array__(self, dtype: Any = None, copy: object = None) -> Array:
        in_list = calls_ufunc(sys._getframe(1))
        is_number = self.kind is Kind.PYTHON and self.storage.known
        if is_number and not (in_list and self.home.is_differentiated(self.read())):
            return np.array(self._python("np.asarray()"), dtype)
        raise array_wanted(self, dtype, in_list)

    def _call(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Trace a NumPy function with this as its first argument."""
        return self.home.rules.function(func, (self, *args), kwargs)

    # --- attributes

    shape = Shadowed.shape.setter(refused("shape"))  # type: ignore[attr-defined]
    dtype = Shadowed.dtype.setter(refused("dtype"))  # type: ignore[attr-defined]
    strides = Shadowed.strides.setter(refused("strides"))  # type: ignore[attr-defined]

    @property
    def flags(self) -> Any:
        """NumPy's flags, of this array alone: they may be set."""
        if not self.storage.known and self.storage.argument < 0:
            self.shadow = self.shadow.view()
        return self.shadow.flags

    @property
    def T(self) -> "Tracer":
        return self.transpose()

    @property
    def mT(self) -> "Tracer":
        return self._call(np.matrix_transpose)

    @property
    def real(self) -> Any:
        if not dt.is_complex(self.dtype):
            return self
        out = self.derive(RealPart(), self.shadow.real)
        return out if self.kind is Kind.ARRAY else out.as_scalar(self.kind)

    @real.setter
    def real(self, value: object) -> None:
        self.real[...] = value

    @property
    def imag(self) -> Any:
        if not dt.is_complex(self.dtype):
            return self._call(np.zeros_like)
        out = self.derive(ImaginaryPart(), self.shadow.imag)
        return out if self.kind is Kind.ARRAY else out.as_scalar(self.kind)

    @imag.setter
    def imag(self, value: object) -> None:
        if not dt.is_complex(self.dtype):
            raise TypeError("array does not have imaginary part to set")
        self.imag[...] = value

    @property
    def flat(self) -> FlatView:
        return FlatView(self)

    @flat.setter
    def flat(self, value: object) -> None:
        self.flat[:] = value

    @property
    def base(self) -> object:
        return None if not self.chain else self

    def as_scalar(self, kind: Kind = Kind.SCALAR) -> "Tracer":
        """Return the value as a scalar, or an array of rank 0, of its own."""
        known = self.shadow if self.storage.known else None
        depends = self.storage.depends
        return self.home.result(self.read(), known, kind=kind, depends=depends)

    # --- the Array API

    @property
    def device(self) -> Any:
        """What the compiled function runs on: ``"cpu"``, or a `tj.Device`."""
        return self.home.device

    def to_device(self, device: object, /, *, stream: object = None) -> "Tracer":
        """Return the value itself, if that is where it is.

        Raises
        ------
        UnsupportedError
            For another device: a compiled function runs on one.
        """
        if device == self.device:
            return self
        raise UnsupportedError(
            f"an array cannot go from {self.device} to {device} inside of a compiled "
            "function",
            source=user_line(),
            hint="move it with tj.to_device before or after the call",
        )

    def __array_namespace__(self, *, api_version: str | None = None) -> ModuleType:
        return namespace(api_version)

    # --- conversions to Python

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ValueError(
                "The truth value of an array with more than one element is ambiguous. "
                "Use a.any() or a.all()"
            )
        return bool(self.known_value("its truth value (if, while, and, or, not)"))

    def __int__(self) -> int:
        return int(self._number("int()"))

    def __float__(self) -> float:
        return float(self._number("float()"))

    def __complex__(self) -> complex:
        return complex(self._number("complex()"))

    def __index__(self) -> int:
        if self.ndim or self.dtype.kind not in "iub":
            raise TypeError("only integer scalar arrays can be converted to an index")
        return int(self.known_value("an index, a size or range()"))

    def _number(self, what: str) -> Array:
        if self.size != 1 or self.ndim:
            raise TypeError("only 0-dimensional arrays can be converted to scalars")
        if self.home.is_differentiated(self.read()):
            raise ConcretizationError(
                f"{what} of a differentiated {self.aval} would drop its gradient",
                source=user_line(),
                hint="keep the value as it is, or mark the constant with "
                "tj.stop_gradient outside of the differentiated function",
            )
        return self.known_value(what)

    def __len__(self) -> int:
        if not self.ndim:
            raise TypeError("len() of unsized object")
        return self.shape[0]

    def __iter__(self) -> Iterator[Any]:
        if not self.ndim:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(self.shape[0]))

    def __contains__(self, x: object) -> bool:
        return bool((self == x).any())

    def __round__(self, ndigits: int | None = None) -> Any:
        if ndigits is not None and self.kind is not Kind.PYTHON:
            return self.round(ndigits)
        return round(self._python("round()"), ndigits)

    def __trunc__(self) -> int:
        return math.trunc(self._python("math.trunc()"))

    def __floor__(self) -> int:
        return math.floor(self._python("math.floor()"))

    def __ceil__(self) -> int:
        return math.ceil(self._python("math.ceil()"))

    def _python(self, what: str) -> Any:
        return self._number(what).item()

    def __format__(self, spec: str) -> str:
        if spec and not self.ndim:
            return format(self.known_value("formatting")[()], spec)
        return str(self)

    def __repr__(self) -> str:
        if self.kind is Kind.PYTHON and self.storage.known:
            return repr(self.known_value("its text").item())
        return f"Traced<{self.aval}>"

    def __hash__(self) -> int:
        if self.kind is Kind.ARRAY:
            raise TypeError("unhashable type: 'numpy.ndarray'")
        return hash(self.known_value("its hash").item())

    def item(self, *args: int) -> Any:
        """Return one element as a Python scalar."""
        index = args[0] if len(args) == 1 and isinstance(args[0], tuple) else args
        if not args:
            if self.size != 1:
                raise ValueError(
                    "can only convert an array of size 1 to a Python scalar"
                )
            return self.reshape(()).as_scalar(Kind.PYTHON)
        picked = self.flat[args[0]] if len(args) == 1 else self[tuple(index)]
        return picked.as_scalar(Kind.PYTHON)

    def tolist(self) -> Any:
        if self.is_known:
            return self.known_value("tolist()").tolist()
        return self.item() if not self.ndim else [row.tolist() for row in self]

    # --- operators

    __add__, __radd__, __iadd__ = _binary("add", np.add)
    __sub__, __rsub__, __isub__ = _binary("sub", np.subtract)
    __mul__, __rmul__, __imul__ = _binary("mul", np.multiply)
    __truediv__, __rtruediv__, __itruediv__ = _binary("truediv", np.true_divide)
    __floordiv__, __rfloordiv__, __ifloordiv__ = _binary("floordiv", np.floor_divide)
    __mod__, __rmod__, __imod__ = _binary("mod", np.remainder)
    _pow, __rpow__, __ipow__ = _binary("pow", np.power)

    def __pow__(self, other: object, modulo: int | None = None) -> Any:
        if modulo is None:
            # As NumPy's operator: a root, which is not quite `power` at -0.0 and -inf.
            is_number = type(other) in (int, float)
            is_root = is_number and other == 0.5 and self.dtype.kind in "fc"
            is_numpys = self.dtype not in dt.OF_ML_DTYPES
            if is_root and is_numpys and self.kind is Kind.ARRAY:
                return np.sqrt(self)
            # And a square, which NumPy has of truths too, and of complex numbers.
            kinds = "bc" if type(other) is int else "c"
            is_square = is_number and other == 2 and self.dtype.kind in kinds
            if is_square and self.kind is Kind.ARRAY:
                return np.square(self)
            return self._pow(other)
        return pow(self._python("pow()"), other, modulo)

    __matmul__, __rmatmul__, __imatmul__ = _binary("matmul", np.matmul)
    __and__, __rand__, __iand__ = _binary("and", np.bitwise_and)
    __or__, __ror__, __ior__ = _binary("or", np.bitwise_or)
    __xor__, __rxor__, __ixor__ = _binary("xor", np.bitwise_xor)
    __lshift__, __rlshift__, __ilshift__ = _binary("lshift", np.left_shift)
    __rshift__, __rrshift__, __irshift__ = _binary("rshift", np.right_shift)
    __divmod__, __rdivmod__ = _binary("divmod", np.divmod)[:2]
    __eq__ = _comparison("eq", np.equal)
    __ne__ = _comparison("ne", np.not_equal)
    __lt__ = _comparison("lt", np.less)
    __le__ = _comparison("le", np.less_equal)
    __gt__ = _comparison("gt", np.greater)
    __ge__ = _comparison("ge", np.greater_equal)
    __neg__ = _unary("neg", np.negative)
    __pos__ = _unary("pos", np.positive)
    __abs__ = _unary("abs", np.absolute)
    __invert__ = _unary("invert", np.invert)

    # --- indexing

    def __getitem__(self, index: Any) -> Any:
        return self.home.rules.get(self, index)

    def __setitem__(self, index: Any, value: object) -> None:
        if self.kind is not Kind.ARRAY:
            name = type(self.shadow[()]).__name__
            raise TypeError(f"'{name}' object does not support item assignment")
        self.home.rules.set_item(self, index, value)

    # --- views

    def transpose(self, *axes: Any) -> "Tracer":
        if self.kind is not Kind.ARRAY:
            return self
        if len(axes) == 1 and (axes[0] is None or isinstance(axes[0], tuple | list)):
            axes = tuple(axes[0]) if axes[0] is not None else ()
        perm = axes if axes else tuple(range(self.ndim))[::-1]
        shadow = self.shadow.transpose(perm)
        perm = tuple(int(p) % self.ndim for p in perm)
        return self.derive(Transposed(perm), shadow)

    def swapaxes(self, first: int, second: int) -> "Tracer":
        order = np.arange(self.ndim).tolist()
        np.swapaxes(self.shadow, first, second)  # NumPy's error
        order[first], order[second] = order[second], order[first]
        return self.transpose(order)

    def reshape(self, *shape: Any, order: str = "C", copy: bool | None = None) -> Any:
        is_one = len(shape) == 1
        if is_one and (np.ndim(shape[0]) or not hasattr(shape[0], "__index__")):
            shape = tuple(shape[0])
        return self._reshaped(tuple(n.__index__() for n in shape), order, copy)

    def _reshaped(
        self, sizes: tuple[int, ...], order: str, copy: bool | None
    ) -> "Tracer":
        """Return a view where NumPy gives one, else a copy."""
        if order in ("F", "A") and not (order == "A" and not self.flags.f_contiguous):
            return self.transpose()._reshaped(sizes[::-1], "C", copy).transpose()
        if not copy:
            try:
                shadow = np.reshape(self.shadow, sizes, copy=False)
            except ValueError:
                _check_reshape(self, sizes)
                if copy is False:
                    raise
            else:
                return self.derive(Reshaped(shadow.shape), shadow)
        here = self.home.recorder()
        if here is not self.home:
            return here.lift(self)._reshaped(sizes, order, copy)
        resolved = np.reshape(np.empty(self.shape, np.bool_), sizes).shape
        atom = reshape(self.home.builder, self.read(), resolved)
        known = np.array(self.shadow).reshape(resolved) if self.is_known else None
        return self.home.result(atom, known)

    def ravel(self, order: str = "C") -> "Tracer":
        """Return the elements in one contiguous row: a view only of such memory."""
        _NOTHING.ravel(order)  # type: ignore[arg-type]  # NumPy's error
        if order == "K" and not self.flags.forc:
            return self.transpose(result_layout([self.shadow], self.shape)).ravel()
        flags = self.shadow.flags
        fortran = order == "F" or (order in "AK" and not flags.c_contiguous)
        if flags.f_contiguous if fortran else flags.c_contiguous:
            out: Tracer = self.reshape(-1, order="F" if fortran else "C")
            return out
        source = self.transpose() if order == "F" else self
        copied: Tracer = source.reshape(-1, copy=True)
        return copied

    def flatten(self, order: str = "C") -> "Tracer":
        return self.ravel(order).copy()

    def squeeze(self, axis: Any = None) -> "Tracer":
        if self.kind is not Kind.ARRAY:
            return self
        shadow = self.shadow.squeeze(axis)
        return self.derive(Reshaped(shadow.shape), shadow)

    # --- copies

    def copy(self, order: Order = "C") -> "Tracer":
        here = self.home.innermost()  # where the copy may be written
        if here is not self.home:
            return here.lift(self).copy(order)
        known = self.shadow.copy(order) if self.is_known else None
        atom = self.read()
        layout = ordered_layout(order, self.shadow, atom.aval)
        return self.home.result(atom, known, layout)

    def __copy__(self) -> "Tracer":
        return self.copy()

    def __deepcopy__(self, memo: object) -> "Tracer":
        return self.copy()

    def astype(
        self,
        dtype: Any,
        order: str = "K",
        casting: Any = "unsafe",
        subok: bool = True,
        copy: bool = True,
    ) -> "Tracer":
        here = self.home.recorder()
        if here is not self.home:
            return here.lift(self).astype(dtype, order, casting, subok, copy)
        target = dt.canonical(dtype)
        check_cast(self.dtype, target, casting)
        if not copy and target == self.dtype:
            return self
        with np.errstate(all="ignore"):
            known = self.shadow.astype(target) if self.is_known else None
        kind = Kind.SCALAR if self.kind is Kind.PYTHON else self.kind
        atom = self.convert(target)
        layout = ordered_layout(order, self.shadow, atom.aval)
        return self.home.result(atom, known, layout, kind)

    def __getattr__(self, name: str) -> Any:
        method = METHODS.get(name)
        if self.kind is Kind.PYTHON and hasattr(self.__class__, name):
            return getattr(self._python(f"its {name}"), name)
        if method is None:
            if not name.startswith("__") and hasattr(self.shadow, name):
                raise UnsupportedError(
                    f"the array method {name!r} is not traced",
                    source=user_line(),
                    hint=alternatives.METHODS.get(name, alternatives.ELSEWHERE),
                )
            raise AttributeError(f"'ndarray' object has no attribute {name!r}")

        def bound(*args: Any, **kwargs: Any) -> Any:
            return self._call(method, *args, **kwargs)

        return bound

    def fill(self, value: Any) -> None:
        if np.ndim(value):
            raise ValueError("setting an array element with a sequence.")
        self[...] = value

    def clip(
        self, min: Any = None, max: Any = None, out: Any = None, **kwargs: Any
    ) -> Any:
        return np.clip(self, min, max, out, **kwargs)

    def sort(
        self, axis: int = -1, kind: Any = None, order: Any = None, *, stable: Any = None
    ) -> None:
        axis = operator.index(axis)
        self[...] = np.sort(self, axis, kind, order, stable=stable)  # type: ignore[call-overload]

    def partition(self, kth: Any, axis: int = -1, *args: Any, **kwargs: Any) -> None:
        axis = operator.index(axis)
        self[...] = np.partition(self, kth, axis)  # type: ignore[call-overload]

    def compress(self, condition: Any, axis: Any = None, out: Any = None) -> Any:
        return np.compress(condition, self, axis, out)

    def view(self, dtype: Any = None, type: Any = None) -> "Tracer":
        """Return the same bytes, as numbers of `dtype`."""
        if dtype is None or dtype is np.ndarray or np.dtype(dtype) == self.dtype:
            return self.derive(Reshaped(self.shape), self.shadow.view())
        if np.ndarray in getattr(dtype, "__mro__", ()):
            raise UnsupportedError(
                f"an array as {dtype.__module__}.{dtype.__name__} is not traced",
                source=user_line(),
                hint="keep to arrays: x @ y is their matrix product",
            )
        target = np.dtype(dtype)
        if target not in dt.DTYPE_TO_NAME:
            raise UnsupportedError(
                f"a view of {self.dtype} as {dtype} is not traced",
                source=user_line(),
                hint="a view as a dtype of numbers traces, x.view(np.uint8) for bytes",
            )
        out = self.derive(BitView(target), self.shadow.view(target))
        return out if self.kind is Kind.ARRAY else out.as_scalar(self.kind)

    def byteswap(self, inplace: bool = False) -> "Tracer":
        """Return the numbers whose bytes are in the other order."""
        numbers = 2 if dt.is_complex(self.dtype) else 1
        rows = self.copy().reshape(*self.shape, 1).view(np.uint8)
        each = (numbers, self.dtype.itemsize // numbers)
        swapped = rows.reshape(*self.shape, *each)[..., ::-1].copy()
        result = swapped.reshape(rows.shape).view(self.dtype).reshape(self.shape)
        if not inplace:
            return result
        self[...] = result
        return self

    def conj(self) -> Any:
        return np.conjugate(self)

    conjugate = conj

    def assign(self, value: "Tracer") -> None:
        """Set all elements to `value`, converted and broadcast as NumPy does."""
        atom = broadcast_to(self.home.builder, value.convert(self.dtype), self.shape)
        known = value.shadow if value.is_known and self.is_known else None
        self.write(atom, known)


def check_cast(source: np.dtype, target: np.dtype, casting: Any) -> None:
    """Raise NumPy's `TypeError` where a rule does not allow a cast."""
    if not np.can_cast(source, target, casting):
        raise TypeError(
            f"Cannot cast array data from {source!r} to {target!r} according "
            f"to the rule {casting!r}"
        )


def _check_reshape(x: Tracer, sizes: tuple[int, ...]) -> None:
    known = int(np.prod([n for n in sizes if n != -1]))
    guess = -1 in sizes and known and x.size % known == 0
    if not guess and known != x.size:
        raise ShapeError(
            f"cannot reshape array of size {x.size} into shape {sizes}",
            source=user_line(),
        )


def depends_of(operands: Iterable[Tracer]) -> frozenset[int]:
    """Return the argument leaves that decide a value computed from `operands`."""
    found: frozenset[int] = frozenset()
    for x in operands:
        if x.storage.depends:
            found |= x.storage.depends
    return found
