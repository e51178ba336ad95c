"""NumPy's own compiled loops, by address.

A ufunc (of NumPy, of ``numpy.linalg``, ``numpy.fft``, ``scipy.special`` or ml_dtypes)
holds one compiled loop for each combination of dtypes, with the C signature ::

    void loop(char **args, npy_intp const *dimensions, npy_intp const *steps,
              void *data)

where ``args`` are the operands, inputs then outputs, ``dimensions`` the number of
elements followed by the core dimensions, and ``steps`` the operands' strides in bytes
followed by their core strides. The host program calls it without the GIL and without
Python. What NumPy makes sure of before it calls a loop, the host program must too:

- operands are aligned to their dtype and in native byte order;
- an output overlaps an input only if it is exactly that input, with equal strides;
- no step is negative. NumPy reverses such axes first; called with negative steps, some
  loops (``isnan``, ``isfinite``, ``signbit``) give wrong results. Zero is allowed for
  inputs.

The last bits of a result may depend on whether operands are contiguous, as in NumPy.

Needs the public C struct of ufuncs, whose layout is tested on first use; where it
differs, no loop is found and callers go through Python.
"""

import ctypes
import re
import sys
from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np

from ...errors import InternalError
from ...records import dataclass

_INTERNAL_KINDS = "OSUTMm"  # objects, strings and times: never in a graph
_CORE = re.compile(r"\(([^)]*)\)")


class _UfuncStruct(ctypes.Structure):
    """The beginning of ``PyUFuncObject`` (numpy/ufuncobject.h)."""

    _fields_ = (
        ("head", ctypes.c_byte * object.__basicsize__),
        ("nin", ctypes.c_int),
        ("nout", ctypes.c_int),
        ("nargs", ctypes.c_int),
        ("identity", ctypes.c_int),
        ("functions", ctypes.POINTER(ctypes.c_void_p)),
        ("data", ctypes.POINTER(ctypes.c_void_p)),
        ("ntypes", ctypes.c_int),
        ("version", ctypes.c_int),
        ("name", ctypes.c_char_p),
        ("types", ctypes.POINTER(ctypes.c_ubyte)),
        ("doc", ctypes.c_char_p),
        ("owned", ctypes.c_void_p),
        ("object", ctypes.c_void_p),
        ("userloops", ctypes.c_void_p),
        ("core_enabled", ctypes.c_int),
    )


class _UserLoop(ctypes.Structure):
    """``PyUFunc_Loop1d``: one of a list of loops for registered dtypes."""


_UserLoop._fields_ = (
    ("function", ctypes.c_void_p),
    ("data", ctypes.c_void_p),
    ("types", ctypes.POINTER(ctypes.c_int)),
    ("next", ctypes.POINTER(_UserLoop)),
    ("nargs", ctypes.c_int),
)


@dataclass(frozen=True, eq=False)
class UfuncLoop:
    """One compiled loop of a ufunc.

    Parameters
    ----------
    ufunc : numpy.ufunc
        Whose loop it is; kept alive, since it owns `function` and `data`.
    function, data : int
        The address of the loop, and its last argument.
    inputs, outputs : tuple of numpy.dtype
        Of every operand.
    core : tuple of tuple of str
        Names of each operand's core dimensions, inputs then outputs; all empty for an
        elementwise ufunc.
    """

    ufunc: np.ufunc
    function: int
    data: int
    inputs: tuple[np.dtype, ...]
    outputs: tuple[np.dtype, ...]
    core: tuple[tuple[str, ...], ...]


def find_loop(ufunc: np.ufunc, dtypes: Sequence[np.dtype]) -> UfuncLoop | None:
    """Return the loop that NumPy runs for exactly these dtypes.

    Parameters
    ----------
    ufunc : numpy.ufunc
    dtypes : sequence of numpy.dtype
        Of the inputs, or of the inputs and the outputs.

    Returns
    -------
    UfuncLoop or None
        None if NumPy would convert an operand, if there is no such loop or it cannot
        run without Python, or if this NumPy's ufuncs are laid out in another way.

    Examples
    --------
    >>> loop = find_loop(np.hypot, [np.dtype(np.float64)] * 2)
    >>> loop.outputs
    (dtype('float64'),)
    >>> find_loop(np.hypot, [np.dtype(np.int64)] * 2) is None
    True
    """
    if not _has_known_layout():
        return None
    resolved = _resolve(ufunc, tuple(dtypes))
    if resolved is None or any(map(_needs_python, resolved)):
        return None
    if _may_raise(ufunc, resolved):
        return None
    wanted = tuple(dtype.num for dtype in resolved)
    for function, data, numbers in _loops(ufunc):
        if function and numbers == wanted:
            inputs, outputs = resolved[: ufunc.nin], resolved[ufunc.nin :]
            return UfuncLoop(ufunc, function, data, inputs, outputs, _core(ufunc))
    return None


def _resolve(
    ufunc: np.ufunc, dtypes: tuple[np.dtype, ...]
) -> tuple[np.dtype, ...] | None:
    """Return the dtypes of NumPy's own choice, None if they are others than asked."""
    if len(dtypes) not in (ufunc.nin, ufunc.nargs):
        raise InternalError(
            f"{ufunc.__name__} has {ufunc.nin} inputs and {ufunc.nout} outputs; "
            f"got {len(dtypes)} dtypes"
        )
    unknown = (None,) * ufunc.nout
    try:
        resolved = ufunc.resolve_dtypes((*dtypes[: ufunc.nin], *unknown))
    except TypeError:
        return None
    return tuple(resolved) if resolved[: len(dtypes)] == dtypes else None


def _needs_python(dtype: np.dtype) -> bool:
    return dtype.kind in _INTERNAL_KINDS or dtype.hasobject or not dtype.isnative


def _may_raise(ufunc: np.ufunc, dtypes: tuple[np.dtype, ...]) -> bool:
    """Return whether a loop can set a Python exception, which would go unnoticed.

    NumPy has one such loop for numbers: a negative integer power of an integer.
    """
    return ufunc is np.power and dtypes[0].kind == "i"


def _core(ufunc: np.ufunc) -> tuple[tuple[str, ...], ...]:
    if ufunc.signature is None:
        return ((),) * ufunc.nargs
    groups = _CORE.findall(ufunc.signature)
    return tuple(
        tuple(name.strip(" ?") for name in group.split(",") if name.strip())
        for group in groups
    )


def _loops(ufunc: np.ufunc) -> Iterator[tuple[int, int, tuple[int, ...]]]:
    """Yield function, data and the operands' type numbers of every loop."""
    struct = _UfuncStruct.from_address(id(ufunc))
    nargs = struct.nargs
    for k in range(struct.ntypes):
        data = struct.data[k] if struct.data else None
        numbers = tuple(struct.types[k * nargs : (k + 1) * nargs])
        yield struct.functions[k], data or 0, numbers
    if struct.userloops:
        yield from _user_loops(struct.userloops, nargs)


def _user_loops(table: int, nargs: int) -> Iterator[tuple[int, int, tuple[int, ...]]]:
    """Yield the loops of registered dtypes: a dict of linked lists in capsules."""
    capsules: dict[int, object] = ctypes.cast(table, ctypes.py_object).value
    for capsule in capsules.values():
        address = _capsule_pointer(capsule, None)
        while address:
            loop = _UserLoop.from_address(address)
            yield loop.function, loop.data or 0, tuple(loop.types[:nargs])
            address = ctypes.cast(loop.next, ctypes.c_void_p).value


_capsule_pointer = ctypes.PYFUNCTYPE(
    ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p
)(("PyCapsule_GetPointer", ctypes.pythonapi))


@cache
def _has_known_layout() -> bool:
    """Return whether several ufuncs read through the struct as through Python."""
    if sys.implementation.name != "cpython":
        return False
    return all(map(_reads_right, (np.add, np.divmod, np.isnan, np.frexp, np.matmul)))


def _reads_right(ufunc: np.ufunc) -> bool:
    # Numbers first: pointers are followed only in a struct that makes sense so far.
    struct = _UfuncStruct.from_address(id(ufunc))
    numbers = (struct.nin, struct.nout, struct.nargs, struct.ntypes)
    if numbers != (ufunc.nin, ufunc.nout, ufunc.nargs, ufunc.ntypes):
        return False
    if bool(struct.core_enabled) != (ufunc.signature is not None):
        return False
    if struct.name.decode() != ufunc.__name__:
        return False
    first = [np.dtype(char).num for char in ufunc.types[0].replace("->", "")]
    return struct.types[: ufunc.nargs] == first and bool(struct.functions[0])


@dataclass(frozen=True)
class FloatStatus:
    """How native code finds out that a loop met an invalid operation.

    Loops of ``numpy.linalg`` report a singular or indefinite matrix by NaN results and
    the floating-point flag *invalid*; other flags and warnings are of no interest. The
    host program does ::

        call i32 @clear(i32 INVALID)      ; before the loop
        call void @loop(...)
        %bits = call i32 @test(i32 INVALID)
        %failed = icmp ne i32 %bits, 0

    in one thread, since flags are per thread. NaN operands can set the flag too.

    Parameters
    ----------
    clear, test : int
        Addresses of C's ``feclearexcept`` and ``fetestexcept``, both ``int (int)``.
    invalid : int
        The platform's ``FE_INVALID``.
    """

    clear: int
    test: int
    invalid: int


@cache
def float_status() -> FloatStatus | None:
    """Return the platform's floating-point flags, None where they do not work.

    ``FE_INVALID`` is a macro; its value is the bit that the square root of -1 sets.

    Examples
    --------
    >>> float_status() is not None
    True
    """
    library = _math_library()
    try:
        clear, test = library.feclearexcept, library.fetestexcept
        root = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)(("sqrt", library))
    except AttributeError:
        return None
    everything = 0x3FFFFFFF
    clear(everything)
    root(-1.0)
    invalid = test(everything)
    clear(everything)
    if invalid.bit_count() != 1 or test(invalid):
        return None
    return FloatStatus(_address(clear), _address(test), invalid)


def _math_library() -> ctypes.CDLL:
    if sys.platform == "win32":
        return ctypes.CDLL("ucrtbase")
    process = ctypes.CDLL(None)
    if sys.platform == "linux" and not hasattr(process, "feclearexcept"):
        return ctypes.CDLL("libm.so.6")
    return process


def _address(function: object) -> int:
    return ctypes.cast(function, ctypes.c_void_p).value or 0  # type: ignore[arg-type]
