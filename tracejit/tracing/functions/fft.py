"""Rules for `numpy.fft`: transforms along one axis, and what is made of them.

As NumPy's, they compute in single precision for float16 and float32 operands, and in
double precision for others.
"""

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...errors import ShapeError
from ...ir import dtypes as dt
from ...ir.ops.elementwise import complex_p
from ...ir.ops.fft import fft_p
from ..layouts import copied_layout
from ..source import user_line
from ..storage import own
from ..trace import Trace
from ..tracer import Tracer
from .registry import implements, lift, normalize_axis, wrap
from .shape import pad

Rule = Callable[..., Any]


# --- along one axis ---------------------------------------------------------------


def _real(x: Tracer) -> Tracer:
    """Return a real operand in a precision that there are transforms in."""
    if dt.is_complex(x.dtype):
        raise TypeError(f"a transform of real numbers cannot take {x.dtype.name}")
    if x.dtype in (dt.FLOAT32, dt.FLOAT64):
        return x
    return x.astype(np.float32 if x.dtype == np.float16 else np.float64)


def _complex(trace: Trace, x: Tracer) -> Tracer:
    if dt.is_complex(x.dtype):
        return x
    real = _real(x)
    zero = trace.builder.literal(0, real.dtype)
    return trace.result(trace.emit(complex_p, real.read(), zero))


def _resize(x: Tracer, n: int, axis: int) -> Tracer:
    have = x.shape[axis]
    if n > have:
        after = [n - have if d == axis else 0 for d in range(x.ndim)]
        padded: Tracer = pad(x, [(0, m) for m in after])
        return padded
    return x[(*(slice(None),) * axis, slice(0, n))]


def _scale(norm: str | None, n: int, inverse: bool) -> float:
    """Return what to multiply by a transform that is as ``norm="backward"`` wants."""
    table = {None: 0, "backward": 0, "ortho": 1, "forward": 2}
    if norm not in table:
        raise ValueError(
            f'Invalid norm value {norm}; should be "backward", "ortho" or "forward".'
        )
    power = table[norm]
    factor = {0: 1.0, 1: n**-0.5, 2: 1.0 / n}[power]
    return 1.0 / factor if inverse and power else factor


def _along_one_axis(form: str) -> Rule:
    inverse = form in ("ifft", "irfft")

    def rule(
        a: Any,
        n: int | None = None,
        axis: int = -1,
        norm: str | None = None,
        out: Any = None,
    ) -> Any:
        trace, (given,) = lift(a)
        d = normalize_axis(axis, given.ndim)
        is_real = form in ("fft", "ifft") and not dt.is_complex(given.dtype)
        x = _real(given) if is_real or form == "rfft" else _complex(trace, given)
        extent = 2 * (x.shape[d] - 1) if form == "irfft" else x.shape[d]
        length = _checked(extent if n is None else operator.index(n))
        x = _resize(x, length // 2 + 1 if form == "irfft" else length, d)
        factor = _scale(norm, length, inverse)
        used = "rfft" if is_real else form
        atom = trace.emit(fft_p, x.read(), form=used, axis=d, n=length)
        layout = copied_layout(given.shadow, atom.aval)
        result = wrap(trace, atom, layout=layout)
        if is_real:
            return _of_real(result, d, length, inverse, factor)
        result = result if factor == 1.0 else result * factor
        is_half = form == "irfft" and given.dtype == np.float16
        return result.astype(np.float16) if is_half else result

    return rule


def _of_real(half: Any, axis: int, n: int, inverse: bool, factor: float) -> Any:
    """Return the whole spectrum of real numbers: the rest mirrors the half."""
    factor = factor / n if inverse else factor
    half = half if factor == 1.0 else half * factor
    before = (slice(None),) * axis
    rest = half[(*before, slice(1, (n + 1) // 2))][(*before, slice(None, None, -1))]
    pieces = [np.conj(half), rest] if inverse else [half, np.conj(rest)]
    return np.concatenate(pieces, axis=axis)


def _checked(n: int) -> int:
    if n < 1:
        raise ShapeError(
            f"invalid number of FFT data points ({n}) specified", source=user_line()
        )
    return n


fft = implements(np.fft.fft)(_along_one_axis("fft"))
ifft = implements(np.fft.ifft)(_along_one_axis("ifft"))
rfft = implements(np.fft.rfft)(_along_one_axis("rfft"))
irfft = implements(np.fft.irfft)(_along_one_axis("irfft"))

_OTHER_WAY = {None: "forward", "backward": "forward", "forward": "backward"}


@implements(np.fft.hfft)
def hfft(
    a: Any, n: Any = None, axis: int = -1, norm: str | None = None, out: Any = None
) -> Any:
    return irfft(np.conjugate(a), n, axis, _OTHER_WAY.get(norm, norm))


@implements(np.fft.ihfft)
def ihfft(
    a: Any, n: Any = None, axis: int = -1, norm: str | None = None, out: Any = None
) -> Any:
    return np.conjugate(rfft(a, n, axis, _OTHER_WAY.get(norm, norm)))


# --- along several axes -----------------------------------------------------------


def _sizes(
    x: Tracer, s: Any, axes: Any, half: bool = False
) -> tuple[list[int], list[int]]:
    """Return lengths and axes, as NumPy reads them; `half`: `x` is half a spectrum."""
    if axes is None:
        axes = range(x.ndim) if s is None else range(-len(s), 0)
    places = [normalize_axis(a, x.ndim) for a in axes]
    own = [x.shape[d] for d in places]
    if half and places:
        own[-1] = 2 * (own[-1] - 1)
    sizes = own if s is None else list(s)
    if len(sizes) != len(places):
        raise ValueError("Shape and axes have different lengths.")
    given = zip(sizes, places, strict=True)
    return [x.shape[d] if n in (-1, None) else n for n, d in given], places


def _in_turn(
    x: Any, one: Rule, sizes: Sequence[int], axes: Sequence[int], norm: Any
) -> Any:
    for n, d in zip(sizes, axes, strict=True):
        x = one(x, n, d, norm)
    return x


def _along_axes(one: Rule, default: Any) -> Rule:
    def rule(
        a: Any, s: Any = None, axes: Any = default, norm: Any = None, out: Any = None
    ) -> Any:
        _, (x,) = lift(a)
        sizes, places = _sizes(x, s, axes)
        if not places:
            return x
        return _in_turn(x, one, sizes[::-1], places[::-1], norm)

    return rule


def _real_along_axes(default: Any) -> Rule:
    def rule(
        a: Any, s: Any = None, axes: Any = default, norm: Any = None, out: Any = None
    ) -> Any:
        _, (x,) = lift(a)
        sizes, places = _sizes(x, s, axes)
        first = rfft(x, sizes[-1], places[-1], norm)
        return _in_turn(first, fft, sizes[-2::-1], places[-2::-1], norm)

    return rule


def _inverse_real_along_axes(default: Any) -> Rule:
    def rule(
        a: Any, s: Any = None, axes: Any = default, norm: Any = None, out: Any = None
    ) -> Any:
        _, (x,) = lift(a)
        sizes, places = _sizes(x, s, axes, half=True)
        last = _in_turn(x, ifft, sizes[:-1], places[:-1], norm)
        return irfft(last, sizes[-1], places[-1], norm)

    return rule


implements(np.fft.fftn)(_along_axes(fft, None))
implements(np.fft.ifftn)(_along_axes(ifft, None))
implements(np.fft.fft2)(_along_axes(fft, (-2, -1)))
implements(np.fft.ifft2)(_along_axes(ifft, (-2, -1)))
implements(np.fft.rfftn)(_real_along_axes(None))
implements(np.fft.rfft2)(_real_along_axes((-2, -1)))
implements(np.fft.irfftn)(_inverse_real_along_axes(None))
implements(np.fft.irfft2)(_inverse_real_along_axes((-2, -1)))


# --- frequencies ------------------------------------------------------------------


def fftfreq(trace: Trace, n: Any, d: Any = 1.0, device: Any = None) -> Any:
    """``np.fft.fftfreq`` for a traced spacing `d`."""
    counts = np.concatenate([np.arange((n - 1) // 2 + 1), np.arange(-(n // 2), 0)])
    return own(counts) * (1.0 / (n * d))


def rfftfreq(trace: Trace, n: Any, d: Any = 1.0, device: Any = None) -> Any:
    """``np.fft.rfftfreq`` for a traced spacing `d`."""
    return own(np.arange(n // 2 + 1)) * (1.0 / (n * d))


# --- order of frequencies ---------------------------------------------------------


@implements(np.fft.fftshift)
def fftshift(x: Any, axes: Any = None) -> Any:
    return _shift(x, axes, lambda n: n // 2)


@implements(np.fft.ifftshift)
def ifftshift(x: Any, axes: Any = None) -> Any:
    return _shift(x, axes, lambda n: -(n // 2))


def _shift(x: Any, axes: Any, by: Callable[[int], int]) -> Any:
    _, (v,) = lift(x)
    axes = range(v.ndim) if axes is None else axes
    axes = axes if isinstance(axes, tuple | list | range) else (axes,)
    return np.roll(v, tuple(by(v.shape[d]) for d in axes), tuple(axes))
