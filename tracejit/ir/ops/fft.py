"""Discrete Fourier transforms along one axis, un-normalised as in ``norm="backward"``.

``fft`` and ``ifft`` keep the length; ``rfft`` gives n//2+1 values; ``irfft`` gives `n`.
"""

from collections.abc import Callable, Sequence

import numpy as np

from ...errors import ShapeError
from .. import dtypes as dt
from ..aval import ShapedArray
from ..builder import Builder
from ..graph import Atom
from ..primitive import (
    Array,
    ArrayConstant,
    Linearity,
    ParamKind,
    Params,
    Primitive,
    register,
    shifted,
)
from .elementwise import check_dtype, conj_p, mul_p, real_p, zero
from .shape import broadcast_in_dim_p, constant_p, pad_p

Atoms = Sequence[Atom | None]
FORMS: dict[str, Callable[..., Array]] = {
    "fft": np.fft.fft,
    "ifft": np.fft.ifft,
    "rfft": np.fft.rfft,
    "irfft": np.fft.irfft,
}


def _fft_eval(x: ShapedArray, form: str, axis: int, n: int) -> ShapedArray:
    if form not in FORMS or not 0 <= axis < x.ndim or n < 1:
        raise ShapeError(f"{form} of {x} along axis {axis} with n={n}")
    wanted = frozenset({dt.FLOAT32, dt.FLOAT64}) if form == "rfft" else dt.COMPLEX
    check_dtype(form, x, wanted)
    extent = n // 2 + 1 if form == "irfft" else n
    if x.shape[axis] != extent:
        raise ShapeError(
            f"{form} with n={n} takes {extent} values along {axis}, not {x}"
        )
    out = n // 2 + 1 if form == "rfft" else n
    shape = (*x.shape[:axis], out, *x.shape[axis + 1 :])
    real = dt.real_dtype(x.dtype)
    dtype = real if form == "irfft" else np.dtype(f"c{2 * real.itemsize}")
    return ShapedArray(shape, dtype)


def _fft(x: Array, form: str, axis: int, n: int) -> Array:
    return FORMS[form](x, n=n, axis=axis)


def _rfft_transpose(b: Builder, ct: Atom, axis: int, n: int) -> Atom:
    """Rᵀ: pad the half spectrum with zeros, transform, keep the real part."""
    ndim, half = ct.aval.ndim, ct.aval.shape[axis]
    high = tuple(n - half if d == axis else 0 for d in range(ndim))
    full = b.emit(pad_p, ct, zero(b, ct), low=(0,) * ndim, high=high)
    return b.emit(real_p, b.emit(fft_p, full, form="fft", axis=axis, n=n))


def _irfft_transpose(b: Builder, ct: Atom, axis: int, n: int) -> Atom:
    """ctₖ = cₖ/n · conj(rfft(ct))ₖ with c = 1 at 0 and at n/2, else 2."""
    spectrum = b.emit(conj_p, b.emit(fft_p, ct, form="rfft", axis=axis, n=n))
    weights = np.full(n // 2 + 1, 2.0 / n)
    weights[0] = 1.0 / n
    if n % 2 == 0:
        weights[-1] = 1.0 / n
    w = b.emit(constant_p, value=ArrayConstant(weights.astype(spectrum.aval.dtype)))
    shape = spectrum.aval.shape
    return b.emit(
        mul_p, spectrum, b.emit(broadcast_in_dim_p, w, shape=shape, dims=(axis,))
    )


def _fft_transpose(
    b: Builder,
    cotangents: Atoms,
    ins: Sequence[Atom],
    linear: Sequence[bool],
    params: Params,
) -> Atoms:
    (ct,) = cotangents
    assert ct is not None
    form, axis, n = params["form"], params["axis"], params["n"]
    assert isinstance(axis, int)
    assert isinstance(n, int)
    if form == "rfft":
        return (_rfft_transpose(b, ct, axis, n),)
    if form == "irfft":
        return (_irfft_transpose(b, ct, axis, n),)
    return (b.emit(fft_p, ct, **params),)  # the DFT matrix is symmetric


fft_p: Primitive = register(
    Primitive(
        "fft",
        _fft_eval,
        _fft,
        params={"form": ParamKind.STR, "axis": ParamKind.INT, "n": ParamKind.INT},
        transpose=_fft_transpose,
        batch=shifted("axis"),
        linearity=Linearity.JOINT,
        flops=lambda i, o, p: (
            5.0 * float(o[0].size) * np.log2(max(int(str(p["n"])), 2))
        ),
    )
)
