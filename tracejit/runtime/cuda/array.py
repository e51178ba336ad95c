"""Arrays on a device: what NumPy code gets and gives there.

An `Array` is a shadow (see `ir.placed`) whose memory an `Allocation` keeps: the shadow
refers to it through NumPy's own chain of bases, so that views keep it alive. Views are
NumPy's views of the shadow; everything that touches elements runs as compiled code,
through `jit`, which the API hands to `let_compute`.
"""

import operator
from collections.abc import Callable, Iterator, Sequence
from functools import cache, lru_cache
from typing import Any

import numpy as np

from ...errors import ArgumentError
from ...ir.dtypes import DTYPE_TO_NAME, OF_ML_DTYPES
from ...ir.placed import Placed
from ..cpu.call import data_pointer
from .device import Device, DeviceLike, cuda_device, find_device
from .dlpack import CUDA, capsule_of
from .peers import copy_to_peer
from .shadow import mark_of, memory_of, set_mark, uploaded

_BASIC = (int, slice, type(None), type(Ellipsis))


class Array(np.lib.mixins.NDArrayOperatorsMixin, Placed):
    """An array on a CUDA device: strided and mutable, as NumPy's are.

    Made by `to_device`, and by functions compiled for a device. Functions of NumPy,
    operators, methods and indexing compute on the device, each as a compiled function;
    what belongs together is faster in one function under `jit`. Slices, transposes and
    the like are views.

    Examples
    --------
    >>> x = tj.to_device(np.arange(6.0), "cuda:0")  # doctest: +SKIP
    >>> np.sum(x * x)  # doctest: +SKIP
    Array(55., device=cuda:0)
    """

    __slots__ = ("device",)
    device: Device

    def __init__(self, shadow: np.ndarray) -> None:
        memory = memory_of(shadow)
        assert memory is not None, "an array of the host"
        super().__init__(shadow, memory.device.name)
        self.device = memory.device

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """The array as CuPy, Numba and PyTorch take it, without a copy."""
        if self.dtype in OF_ML_DTYPES:
            raise ArgumentError(
                f"the CUDA array interface has no {DTYPE_TO_NAME[self.dtype]}",
                hint="pass the array through DLPack: torch.from_dlpack(x)",
            )
        self._share()
        interface = dict(self.shadow.__array_interface__)
        kept = ("data", "shape", "strides", "typestr")
        return {**{k: interface[k] for k in kept}, "version": 3, "stream": 1}

    def __dlpack_device__(self) -> tuple[int, int]:
        """Where it is, as DLPack says it."""
        return CUDA, self.device.ordinal

    def __dlpack__(
        self,
        *,
        stream: int | None = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> object:
        """Return the array for another library, without a copy."""
        if dl_device not in (None, self.__dlpack_device__()):
            raise BufferError(f"the array is on {self.place}; call numpy() first")
        shared = self.copy() if copy else self
        shared._share()
        return capsule_of(shared.shadow, self.device, stream, max_version)

    def _share(self) -> None:
        """Let others' work come after copies to here, and expect that they write."""
        self.device.settle((data_pointer(self.shadow),))
        set_mark(self.shadow, None)

    # The host

    def numpy(self) -> np.ndarray:
        """Return a copy in the host's memory; waits for the device.

        Raises
        ------
        IndexRangeError
            If a kernel that ran before found an index out of range.
        """
        whole = self if self.shadow.flags.c_contiguous else self.copy()
        out = np.empty(self.shape, self.dtype)
        mark = mark_of(whole.shadow)
        self.device.read(data_pointer(whole.shadow), out, mark)
        self.device.check(mark)
        return out

    def __array__(
        self, dtype: np.dtype | None = None, copy: bool | None = None
    ) -> np.ndarray:
        if copy is False:
            raise ValueError("an array on a device is copied to become NumPy's")
        return self.numpy().astype(dtype or self.dtype, copy=False)

    def item(self, *index: int) -> Any:
        """Return one element as a Python number."""
        return self.numpy().item(*index)

    def tolist(self) -> Any:
        """Return the elements as Python numbers, in lists."""
        return self.numpy().tolist()

    def __repr__(self) -> str:
        text = np.array2string(self.numpy(), separator=", ", prefix="Array(")
        kind = (
            ""
            if self.dtype in (np.float64, np.int64, bool)
            else f"dtype={self.dtype}, "
        )
        return f"Array({text}, {kind}device={self.place})"

    def __bool__(self) -> bool:
        return bool(self.numpy())

    def __int__(self) -> int:
        return int(self.numpy())

    def __float__(self) -> float:
        return float(self.numpy())

    def __complex__(self) -> complex:
        return complex(self.numpy())

    def __index__(self) -> int:
        return operator.index(self.numpy())

    __hash__ = None  # type: ignore[assignment]

    def __copy__(self) -> "Array":
        return self.copy()

    def __deepcopy__(self, memo: object) -> "Array":
        return self.copy()

    def __reduce__(self) -> Any:
        return _on_named_device, (self.place, self.numpy())

    def to_device(
        self, device: DeviceLike, /, *, stream: int | None = None
    ) -> "Array | np.ndarray":
        """Return the array if it is there, or a copy on another device.

        ``"cpu"`` gives a NumPy array. Streams need not be named: copies come after what
        was asked for before.
        """
        to = find_device(device)
        if to is self.device:
            return self
        if to is not None and to.driver is self.device.driver and self.size:
            return on_peer(to, self)
        return self.numpy() if to is None else on_device(to, self.numpy())

    # Views

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of unsized object")
        return self.shape[0]

    def __iter__(self) -> Iterator["Array"]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: Any) -> "Array":
        entries = index if isinstance(index, tuple) else (index,)
        if _is_basic(entries):
            return Array(_view(self.shadow, entries))
        if any(map(_is_mask, entries)):  # the shape depends on what is in them
            index = tuple(places for e in entries for places in _places(e))
        return _compiled(operator.getitem)(self, index)

    def __setitem__(self, index: Any, value: Any) -> None:
        entries = index if isinstance(index, tuple) else (index,)
        if not _is_basic(entries):
            _compiled(operator.setitem)(self, index, _apart(value, [self]))
            return
        to = Array(_view(self.shadow, entries))
        if isinstance(value, Array) and _is_same(value.shadow, to.shadow):
            return  # x[1:] += y has written its result into the view x[1:]
        _compiled(_assign)(to, _apart(value, [to]))

    @property
    def T(self) -> "Array":
        """The array with its axes reversed, as a view."""
        return Array(self.shadow.T)

    @property
    def mT(self) -> "Array":
        """The array with its last two axes swapped, as a view."""
        return Array(self.shadow.mT)

    def transpose(self, *axes: Any) -> "Array":
        """Return the array with its axes in another order, as a view."""
        return Array(self.shadow.transpose(*axes))

    def swapaxes(self, first: int, second: int) -> "Array":
        """Return the array with two axes swapped, as a view."""
        return Array(self.shadow.swapaxes(first, second))

    def squeeze(self, axis: Any = None) -> "Array":
        """Return the array without axes of one element, as a view."""
        return Array(self.shadow.squeeze(axis))

    def reshape(self, *shape: Any) -> "Array":
        """Return the array in another shape: a view where that can be."""
        sizes = shape[0] if len(shape) == 1 and not isinstance(shape[0], int) else shape
        try:
            return Array(np.reshape(self.shadow, sizes, copy=False))
        except ValueError:
            return Array(np.reshape(self.copy().shadow, sizes, copy=False))

    def ravel(self) -> "Array":
        """Return the elements in one axis: a view where that can be."""
        return self.reshape(-1)

    # Computing

    def compute(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a function of arrays, compiled for the device."""
        return _compiled(fn)(*args, **kwargs)

    def copy(self) -> "Array":
        """Return a C-contiguous copy."""
        return _compiled(_copied)(self)

    def astype(self, dtype: Any, copy: bool = True) -> "Array":
        """Return the array converted to another dtype."""
        if not copy and np.dtype(dtype) == self.dtype:
            return self
        return _compiled(_method("astype"))(self, np.dtype(dtype))

    def __array_ufunc__(
        self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any
    ) -> Any:
        if any(map(_decides, inputs)):
            return NotImplemented
        function = ufunc if method == "__call__" else _ufunc_method(ufunc, method)
        written = kwargs.get("out", ())
        operands = [_apart(x, written) for x in inputs]
        return _compiled(function)(*operands, **kwargs)

    def __array_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        if not all(issubclass(t, Array | np.ndarray) for t in types):
            return NotImplemented
        return _compiled(func)(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or not hasattr(np.ndarray, name):
            raise AttributeError(f"'Array' object has no attribute {name!r}")
        if not callable(getattr(np.ndarray, name)):
            return _compiled(_attribute(name))(self)

        def bound(*args: Any, **kwargs: Any) -> Any:
            return _compiled(_method(name))(self, *args, **kwargs)

        return bound


class LostArray(Array):
    """What an array on a device becomes that was donated: nothing can be done with it.

    A result has its memory now, or may have.
    """

    __slots__ = ()

    @property
    def shadow(self) -> np.ndarray:  # type: ignore[override]
        """Raise, as there is none."""
        raise ArgumentError(
            "an array on a device was donated to a compiled function, so that its "
            "memory may hold a result now",
            hint="use the result, or donate a copy: x.copy()",
        )


def lose(array: Array) -> None:
    """Have whatever is done with an array raise from now on."""
    if type(array) is Array:
        del array.shadow
        array.__class__ = LostArray


def _decides(x: object) -> bool:
    """Tell whether an operand is of another library, or traced, and knows better."""
    is_known = isinstance(x, Array | np.ndarray | np.generic)
    return not is_known and getattr(x, "__array_ufunc__", None) is not None


def _is_basic(entries: tuple[Any, ...]) -> bool:
    return all(isinstance(e, _BASIC) and type(e) is not bool for e in entries)


def _is_mask(entry: Any) -> bool:
    dtype = getattr(entry, "dtype", None)
    return dtype is not None and dtype.kind == "b" and bool(entry.shape)


def _apart(x: Any, written: Sequence[Any]) -> Any:
    """Return an operand, or a copy if some of it is written while it is read."""
    if not isinstance(x, Array):
        return x
    met = [w for w in written if isinstance(w, Array) and _meet(x.shadow, w.shadow)]
    return x.copy() if met else x


def _meet(one: np.ndarray, two: np.ndarray) -> bool:
    """Tell whether two shadows may share elements at different places."""
    return not _is_same(one, two) and np.may_share_memory(one, two)


def _is_same(one: np.ndarray, two: np.ndarray) -> bool:
    """Tell whether two shadows have the same elements in the same order."""
    layouts = [(x.dtype, x.shape, x.strides, data_pointer(x)) for x in (one, two)]
    return layouts[0] == layouts[1]


def _places(entry: Any) -> tuple[Any, ...]:
    """Return a mask as the indices of its true elements, found by the host."""
    return np.asarray(entry).nonzero() if _is_mask(entry) else (entry,)


def _view(shadow: np.ndarray, entries: tuple[Any, ...]) -> np.ndarray:
    """Return a view by basic indices, of rank 0 too."""
    return shadow[entries if Ellipsis in entries else (*entries, ...)]


def _copied(x: Any) -> Any:
    return x.copy()


def _assign(x: Any, value: Any) -> None:
    x[...] = value


@cache
def _ufunc_method(ufunc: np.ufunc, method: str) -> Callable[..., Any]:
    return getattr(ufunc, method)


@cache
def _method(name: str) -> Callable[..., Any]:
    def call(x: Any, *args: Any, **kwargs: Any) -> Any:
        return getattr(x, name)(*args, **kwargs)

    call.__name__ = call.__qualname__ = name
    return call


@cache
def _attribute(name: str) -> Callable[..., Any]:
    def read(x: Any) -> Any:
        return getattr(x, name)

    read.__name__ = read.__qualname__ = name
    return read


def _on_named_device(place: str, array: np.ndarray) -> Array:
    """Return an array on a device of this machine, for pickles."""
    return on_device(cuda_device(int(place.removeprefix("cuda:"))), array)


def on_device(device: Device, array: np.ndarray) -> Array:
    """Return a copy of a NumPy array on a device."""
    return Array(uploaded(device, array))


def on_peer(device: Device, x: Array) -> Array:
    """Return a copy on another device, which does not pass the host."""
    whole = x if x.shadow.flags.c_contiguous else x.copy()
    return Array(copy_to_peer(whole.shadow, x.device, device))


class _Compiler:
    """Functions of arrays, compiled once; those not used for long are forgotten."""

    def __init__(self) -> None:
        self.compiled: Callable[[Callable[..., Any]], Callable[..., Any]] | None = None


_compiler = _Compiler()
_KEPT = 1024


def let_compute(jit: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    """Have arrays compute through `jit`."""
    _compiler.compiled = lru_cache(_KEPT)(jit)


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    assert _compiler.compiled is not None, "let_compute was not called"
    return _compiler.compiled(function)
