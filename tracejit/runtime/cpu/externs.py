"""What runs an `Extern` step: NumPy's compiled loops, or the primitive's `impl`.

`resolve_loop` finds the loop for primitives that are ufuncs (their `impl` is one, or
they name one, or ``numpy.linalg`` is built on one), or the routine of SciPy's LAPACK.
`HostCalls` evaluates all others in Python: native code calls back with the addresses of
the operands.
"""

import ctypes
import math
import threading
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.linalg import _umath_linalg

from ...codegen.error_word import HOST_ERROR
from ...codegen.llvm.externs import ExternLoop, LoopStatus
from ...codegen.llvm.steps.factor import LapackRoutine
from ...errors import UnsupportedError, locate
from ...ir.dtypes import real_dtype
from ...ir.ops.ufunc import find_ufunc
from ...ir.primitive import Params, Primitive
from ...program.program import Extern, ProgramBuffer, Step

Dtypes = tuple[np.dtype, ...]
# What `numpy.linalg` calls for a primitive, and whether it looks for failure. Not here:
# `eig`, whose LAPACK code writes out of bounds for NaN, which NumPy tests for.
_LINALG: Mapping[str, tuple[str, bool]] = {
    "cholesky": ("cholesky_lo", True),
    "solve": ("solve", True),
    "inv": ("inv", True),
    "det": ("det", False),
    "slogdet": ("slogdet", False),
    "eigh": ("eigh_lo", True),
    "inv_or_nan": ("inv", False),
    "svdvals": ("svd", True),
    "lstsq": ("lstsq", True),
    "geqrf": ("qr_r_raw", False),
}
# The same where it depends on a param.
_LINALG_BY_PARAM: Mapping[str, tuple[str, Mapping[bool, tuple[str, bool]]]] = {
    "svd": ("full_matrices", {True: ("svd_f", True), False: ("svd_s", True)}),
    "householder_product": (
        "complete",
        {True: ("qr_complete", False), False: ("qr_reduced", False)},
    ),
}
# Loops whose first operand is also a result: it starts as a copy of the operand.
_IN_PLACE = frozenset({"geqrf"})


def resolve_loop(
    primitive: Primitive, params: Params, ins: Dtypes, outs: Dtypes
) -> ExternLoop | LapackRoutine | None:
    """Return the compiled code that computes a primitive; None if there is none.

    Examples
    --------
    >>> from tracejit.ir.ops.elementwise import add_p
    >>> complex_ = np.dtype("c8")
    >>> resolve_loop(add_p, {}, (complex_, complex_), (complex_,)).symbol
    'numpy.add.c64.c64.c64'
    """
    if primitive.name == "lu":
        from .lapack import find_getrf  # noqa: PLC0415  # with the first

        return find_getrf(outs[0])
    if primitive.name == "fft":
        return _transform(params, ins, outs)
    ufunc, may_fail = _ufunc_of(primitive, params)
    in_place = primitive.name in _IN_PLACE
    operands = outs if in_place else (*ins, *outs)
    if ufunc is None or (ufunc.nargs, ufunc.nin) != (len(operands), len(ins)):
        return None
    from .ufuncs import find_loop  # noqa: PLC0415  # with the first loop of NumPy's

    loop = find_loop(ufunc, operands)
    if loop is None:
        return None
    status = _status() if may_fail else None
    if may_fail and status is None:
        return None
    names = ".".join(d.name.replace("complex", "c") for d in (*ins, *outs))
    return ExternLoop(
        symbol=f"{_name_of(primitive, params, ufunc)}.{names}",
        function=loop.function,
        data=loop.data,
        core=loop.core,
        status=status,
        in_place=in_place,
    )


def _transform(params: Params, ins: Dtypes, outs: Dtypes) -> ExternLoop | None:
    """Return the loop of `numpy.fft` for a transform."""
    form, axis, n = str(params["form"]), params["axis"], params["n"]
    assert isinstance(axis, int)
    assert isinstance(n, int)
    name = f"{form}{('_n_even', '_n_odd')[n % 2]}" if form == "rfft" else form
    try:
        ufunc = find_ufunc(f"numpy.fft._pocketfft_umath.{name}")
    except UnsupportedError:  # of this NumPy
        return None
    from .ufuncs import find_loop  # noqa: PLC0415  # with the first loop of NumPy's

    real = real_dtype(ins[0])
    loop = find_loop(ufunc, (*ins, real, *outs))
    if loop is None:
        return None
    factor = np.reciprocal(real.type(n)) if form.startswith("i") else 1.0
    return ExternLoop(
        symbol=f"numpy.fft.{name}.{ins[0].name}.{outs[0].name}",
        function=loop.function,
        data=loop.data,
        core=(loop.core[0], loop.core[2]),
        axis=axis,
        factor=("float" if real == np.float32 else "double", float(factor)),
    )


def _name_of(primitive: Primitive, params: Params, ufunc: np.ufunc) -> str:
    if primitive.name in _LINALG or primitive.name in _LINALG_BY_PARAM:
        return f"linalg.{ufunc.__name__}"
    return str(params["name"]) if primitive.name == "ufunc" else primitive.name


def _ufunc_of(primitive: Primitive, params: Params) -> tuple[np.ufunc | None, bool]:
    if primitive.name == "ufunc":
        return find_ufunc(str(params["name"])), False
    if primitive.name in _LINALG:
        name, may_fail = _LINALG[primitive.name]
        return getattr(_umath_linalg, name, None), may_fail
    if primitive.name in _LINALG_BY_PARAM:
        param, table = _LINALG_BY_PARAM[primitive.name]
        name, may_fail = table[bool(params[param])]
        return getattr(_umath_linalg, name, None), may_fail
    impl = primitive.impl
    return (impl, False) if isinstance(impl, np.ufunc) else (None, False)


def _status() -> LoopStatus | None:
    from .ufuncs import float_status  # noqa: PLC0415  # with the first that may fail

    found = float_status()
    if found is None:
        return None
    return LoopStatus(found.clear, found.test, found.invalid)


def view(address: int, buffer: ProgramBuffer) -> np.ndarray:
    """Return the memory at an address as an array laid out like `buffer`.

    The caller makes sure that the memory outlives the array.
    """
    size = buffer.dtype.itemsize
    strides = tuple(s * size for s in buffer.strides)
    if not math.prod(buffer.shape):
        return np.empty(buffer.shape, buffer.dtype)
    ends = [s * (n - 1) for s, n in zip(strides, buffer.shape, strict=True)]
    low, high = sum(min(e, 0) for e in ends), sum(max(e, 0) for e in ends)
    memory = (ctypes.c_char * (high - low + size)).from_address(address + low)
    # The stubs know nothing of ctypes' arrays as buffers.
    return np.ndarray(buffer.shape, buffer.dtype, memory, -low, strides)  # type: ignore[arg-type]


class HostCalls:
    """Runs steps in Python when native code calls back.

    Parameters
    ----------
    steps : sequence of Step
        By number.
    buffers : mapping of str to ProgramBuffer

    Attributes
    ----------
    address : int
        Of the function to import as `HOST_SYMBOL`; valid as long as this lives.
    """

    _Prototype = ctypes.CFUNCTYPE(
        ctypes.c_int64, ctypes.c_int64, ctypes.POINTER(ctypes.c_void_p)
    )

    def __init__(
        self, steps: Sequence[Step], buffers: Mapping[str, ProgramBuffer]
    ) -> None:
        self._steps, self._buffers = steps, buffers
        self._errors = threading.local()
        self._callback = self._Prototype(self._call)
        address = ctypes.cast(self._callback, ctypes.c_void_p).value
        self.address = address or 0

    def take_error(self) -> BaseException:
        """Return the exception that the last failed call of this thread raised."""
        error: BaseException = self._errors.error
        del self._errors.error
        return error

    def _call(self, number: int, pointers: "ctypes._Pointer[ctypes.c_void_p]") -> int:
        # Whatever is raised must not leave the callback: ctypes would print it.
        try:
            self._evaluate(number, pointers)
        except BaseException as error:
            self._errors.error = error
            return HOST_ERROR
        return 0

    def _evaluate(
        self, number: int, pointers: "ctypes._Pointer[ctypes.c_void_p]"
    ) -> None:
        step = self._steps[number]
        assert isinstance(step, Extern)
        names = (*step.inputs, *step.outputs)
        # ctypes gives None for the null pointer of an empty array.
        blocks = [
            self._block(int(pointers[k] or 0), self._buffers[name])
            for k, name in enumerate(names)
        ]
        ins, outs = blocks[: len(step.inputs)], blocks[len(step.inputs) :]
        results = _evaluated(step, [block.fetch() for block in ins])
        for block, result in zip(outs, results, strict=True):
            block.put(result)

    def _block(self, address: int, buffer: ProgramBuffer) -> "Block":
        return _HostBlock(address, buffer)


class Block(Protocol):
    """The elements of a buffer, wherever they are."""

    def fetch(self) -> np.ndarray:
        """Return them, for the host to read."""
        ...

    def put(self, values: np.ndarray) -> None:
        """Store others."""
        ...


class _HostBlock:
    def __init__(self, address: int, buffer: ProgramBuffer) -> None:
        self.array = view(address, buffer)

    def fetch(self) -> np.ndarray:
        return self.array

    def put(self, values: np.ndarray) -> None:
        self.array[...] = values


def _evaluated(step: Extern, ins: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
    try:
        with np.errstate(all="ignore"):
            return step.primitive.evaluate(ins, step.params)
    except BaseException as error:
        locate(error, step.source)
        raise
