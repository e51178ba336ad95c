"""NumPy ufuncs under tracing: dtype resolution by NumPy, lowering by table.

`LOWERINGS` maps a ufunc to a primitive, or to primitives by the kind of dtype, or to a
function ``(trace, *atoms) -> atom or atoms``; atoms have the dtypes of the loop NumPy
picked. What is not in the table becomes a `ufunc` equation that runs NumPy's own loop.
"""

import math
import sys
from collections.abc import Callable, Sequence
from itertools import repeat
from typing import Any

import numpy as np

from ..errors import ShapeError, UnsupportedError
from ..ir import dtypes as dt
from ..ir.graph import Atom, Literal
from ..ir.ops import elementwise as ew
from ..ir.ops.shape import broadcast_to
from ..ir.ops.ufunc import ufunc_p
from ..ir.primitive import Params, Primitive
from ..records import dataclass
from . import ufunc_formulas as formulas
from .alternatives import ELSEWHERE
from .layouts import layout_of, result_layout
from .source import user_line
from .storage import Kind
from .trace import Trace, trace_of
from .tracer import Tracer, depends_of

Lowering = Callable[..., "Atom | tuple[Atom, ...]"]
Signature = tuple[np.dtype | None, ...] | None


def unsupported(what: str, hint: str = "") -> UnsupportedError:
    """Return the error for something that is not traced."""
    return UnsupportedError(
        f"{what} is not traced",
        source=user_line(),
        hint=hint or ELSEWHERE,
    )


@dataclass(frozen=True)
class _Plan:
    """What a ufunc gives for operands of known kinds, dtypes, shapes and strides.

    Parameters
    ----------
    dtypes : tuple of numpy.dtype
        Of the loop: operands, then results.
    shape : tuple of int
        Of the results.
    order : list of int, optional
        See `result_layout`; None for C order.
    lowering : Primitive or callable
        What records it.
    params : mapping
        Of the primitive.
    stretched : tuple of bool
        Which operands are broadcast before; empty if none is. Elementwise primitives
        take numbers as they are.
    """

    dtypes: Sequence[np.dtype]
    shape: tuple[int, ...]
    order: Sequence[int] | None
    lowering: Primitive | Lowering
    params: Params
    stretched: tuple[bool, ...]


_PLANS: dict[object, _Plan] = {}  # by all that decides a plan
_MOST_PLANS = 4096


def _plan_for(
    ufunc: np.ufunc, operands: Sequence[Tracer], signature: Signature, casting: str
) -> _Plan:
    """Return the plan of a call; a program has few that differ."""
    key: list[object] = [ufunc, signature, casting]
    for x in operands:
        shadow = x.shadow
        key += x.kind is Kind.PYTHON, shadow.dtype, shadow.shape, shadow.strides
    found = _PLANS.get(tuple(key))
    if found is None:
        if len(_PLANS) >= _MOST_PLANS:
            _PLANS.clear()
        found = _PLANS[tuple(key)] = _made_plan(ufunc, operands, signature, casting)
    return found


def _made_plan(
    ufunc: np.ufunc, operands: Sequence[Tracer], signature: Signature, casting: str
) -> _Plan:
    if all(set(loop) <= set("O->") for loop in ufunc.types):
        raise unsupported(
            f"the ufunc {ufunc.__name__!r} of Python objects",
            "write the function in NumPy, or tj.callback.pure",
        )
    dtypes = loop(ufunc, operands, signature, casting)
    shape = _broadcast_shape(ufunc, operands)
    order = result_layout([x.shadow for x in operands], shape)
    lowering = _lowering_of(ufunc, dtypes[: ufunc.nin])
    runs_loop = lowering is ufunc_p
    stretched = [x.shape != shape and bool(runs_loop or x.shape) for x in operands]
    return _Plan(
        dtypes,
        shape,
        None if order == [*range(len(shape))] else order,
        lowering,
        {"name": ufunc_name(ufunc)} if runs_loop else {},
        tuple(stretched) if any(stretched) else (),
    )


def apply(
    ufunc: np.ufunc,
    inputs: Sequence[object],
    dtype: Any = None,
    casting: str = "same_kind",
    order: str = "K",
    subok: bool = True,
    signature: object = None,
) -> Any:
    """Trace a ufunc call and return its result or results."""
    trace = trace_of(inputs)
    operands = [trace.lift(x) for x in inputs]
    if ufunc in COMPARISONS:
        operands = _beyond_range(trace, operands)
    wanted = signature_of(ufunc, dtype, signature)
    plan = _plan_for(ufunc, operands, wanted, casting)
    atoms = []
    for x, d in zip(operands, plan.dtypes, strict=False):
        if x.kind is Kind.PYTHON:
            _check_python_int(x, d)
        atoms.append(x.convert(d))
    outs = _lower(trace, atoms, plan)
    results = _wrap(trace, ufunc, operands, outs, plan, order)
    return results[0] if len(results) == 1 else tuple(results)


def _beyond_range(trace: Trace, operands: list[Tracer]) -> list[Tracer]:
    """Integers and a Python number that their dtype cannot hold: compared exactly."""
    first, second = operands
    number = second if second.kind is Kind.PYTHON else first
    array = first if number is second else second
    if number.kind is not Kind.PYTHON or array.dtype.kind not in "iu":
        return operands
    if (
        array.kind is Kind.PYTHON
        or not number.is_known
        or number.dtype.kind not in "iu"
    ):
        return operands
    value, info = int(number.shadow), np.iinfo(array.dtype)
    if info.min <= value <= info.max:
        return operands
    # One beyond the ends of 64 bits compares as the end does, to all narrower integers.
    wide = np.int64 if value < 2**63 else np.uint64
    exact = trace.constant(np.array(wide(value)), born_here=True)
    return [x if x is not number else exact for x in operands]


def signature_of(ufunc: np.ufunc, dtype: Any, signature: Any) -> Signature:
    """Return the dtypes that ``dtype=`` or ``signature=`` asks a loop to have.

    Returns
    -------
    tuple of (numpy.dtype or None), or None
        One for each operand and result; None where NumPy is to choose.
    """
    if dtype is not None:
        if signature is not None:
            raise TypeError("cannot specify both 'signature' and 'dtype'")
        return (*[None] * ufunc.nin, *[np.dtype(dtype)] * ufunc.nout)
    if signature is None:
        return None
    names = signature.replace("->", "") if isinstance(signature, str) else signature
    if len(names) == 1:
        raise TypeError("Use `dtype` or fill the tuple with more than one 'None'.")
    if len(names) != ufunc.nin + ufunc.nout:
        raise ValueError(
            f"a type-tuple must be specified of length {ufunc.nin + ufunc.nout} for "
            f"ufunc {ufunc.__name__!r}"
        )
    return tuple(None if d is None else np.dtype(d) for d in names)


def loop(
    ufunc: np.ufunc, operands: Sequence[Tracer], signature: Signature, casting: str
) -> list[np.dtype]:
    """Return the dtypes of operands and results in the loop that NumPy runs."""
    # Among Python numbers alone none decides: NumPy would compare ints as objects.
    has_numpy = any(x.kind is not Kind.PYTHON for x in operands)
    kinds: list[Any] = []
    for x in operands:
        weak = has_numpy and x.kind is Kind.PYTHON
        kinds.append(_weak(x) if weak else dt.canonical(x.dtype))
    asked: dict[str, Any] = {} if signature is None else {"signature": signature}
    if casting != "same_kind":
        asked["casting"] = casting
    try:
        found = ufunc.resolve_dtypes((*kinds, *[None] * ufunc.nout), **asked)
    except TypeError as error:
        error.add_note(f"  at {user_line()}")
        raise
    return [dt.canonical(d) for d in found]


def _weak(x: Tracer) -> Any:
    return {"b": dt.BOOL, "i": int, "u": int, "f": float, "c": complex}[x.dtype.kind]


def _check_python_int(x: Tracer, dtype: np.dtype) -> None:
    """NumPy refuses a Python int that the array's dtype cannot hold."""
    if x.kind is Kind.PYTHON and x.is_known and dtype.kind in "iu":
        value = int(x.shadow)
        info = np.iinfo(dtype)
        if not info.min <= value <= info.max:
            raise OverflowError(f"Python integer {value} out of bounds for {dtype}")


def _broadcast_shape(ufunc: np.ufunc, operands: Sequence[Tracer]) -> tuple[int, ...]:
    try:
        return np.broadcast_shapes(*(x.shape for x in operands))
    except ValueError:
        shapes = " ".join(str(x.shape).replace(" ", "") for x in operands)
        raise ShapeError(
            f"operands could not be broadcast together with shapes {shapes} "
            f"in {ufunc.__name__}",
            source=user_line(),
            hint="add axes with x[:, None] or reshape so that the shapes line up from "
            "the right",
        ) from None


def _lower(trace: Trace, atoms: Sequence[Atom], plan: _Plan) -> tuple[Atom, ...]:
    b, lowering = trace.builder, plan.lowering
    if plan.stretched:
        both = zip(atoms, plan.stretched, strict=True)
        atoms = [broadcast_to(b, x, plan.shape) if wide else x for x, wide in both]
    if isinstance(lowering, Primitive):
        outs = trace.emit_all(lowering, atoms, plan.params)
    else:
        out = lowering(trace, *atoms)
        outs = out if isinstance(out, tuple) else (out,)
    for x in outs:
        if x.aval.shape != plan.shape:
            return tuple(broadcast_to(b, x, plan.shape) for x in outs)
    return outs


def _lowering_of(ufunc: np.ufunc, dtypes: Sequence[np.dtype]) -> Primitive | Lowering:
    found = LOWERINGS.get(ufunc) or _scipy_lowering(ufunc, dtypes) or ufunc_p
    if isinstance(found, dict):
        return found.get(dtypes[0].kind, found[""])
    return found


def _scipy_lowering(ufunc: np.ufunc, dtypes: Sequence[np.dtype]) -> Lowering | None:
    """Return the formula of a ufunc of SciPy's; they are of real numbers."""
    lowering = SCIPY_LOWERINGS.get(ufunc.__name__)
    if lowering is None or any(map(dt.is_complex, dtypes)):
        return None
    return lowering if ufunc_name(ufunc).startswith("scipy.") else None


def ufunc_name(ufunc: np.ufunc) -> str:
    """Return the import path of a ufunc.

    Raises
    ------
    UnsupportedError
        When it is found in neither `numpy` nor `scipy.special`.
    """
    name = ufunc.__name__
    if getattr(np, name, None) == ufunc:
        return f"numpy.{name}"
    for module in ("scipy.special", "scipy.special._ufuncs"):
        if getattr(sys.modules.get(module), name, None) is ufunc:
            return f"{module}.{name}"
    raise unsupported(f"the ufunc {name!r}")


def _wrap(
    trace: Trace,
    ufunc: np.ufunc,
    operands: Sequence[Tracer],
    outs: Sequence[Atom],
    plan: _Plan,
    asked: str,
) -> list[Tracer]:
    axes = plan.order if asked == "K" else _order_of(asked, operands, len(plan.shape))
    kind = Kind.ARRAY if plan.shape else Kind.SCALAR
    known = _known(trace, ufunc, operands, outs, plan.dtypes)
    depends = depends_of(operands) if known else frozenset()
    results = []
    for x, k in zip(outs, known or repeat(None), strict=False):
        layout = None if axes is None else layout_of(axes, x.aval)
        results.append(trace.result(x, k, layout, kind, depends))
    return results


def _order_of(asked: str, operands: Sequence[Tracer], ndim: int) -> list[int] | None:
    """Return the order of axes that ``order=`` asks for, but for "K"; None for C's."""
    in_fortran = all(x.shadow.flags.f_contiguous for x in operands)
    is_turned = asked == "F" or (asked == "A" and in_fortran)
    return [*reversed(range(ndim))] if is_turned else None


def _known(
    trace: Trace,
    ufunc: np.ufunc,
    operands: Sequence[Tracer],
    outs: Sequence[Atom],
    dtypes: Sequence[np.dtype],
) -> tuple[object, ...] | None:
    """Return the values of the results, if Python may ask for them."""
    for x in operands:
        if not x.storage.known:
            return None
    if not trace.may_know(outs[0].aval.size):
        return None
    with np.errstate(all="ignore"):
        args = [
            np.asarray(x.shadow).astype(d)
            for x, d in zip(operands, dtypes, strict=False)
        ]
        found = ufunc(*args)
    return found if isinstance(found, tuple) else (found,)


def check_writable(target: object) -> None:
    """Raise when a traced result would go into an array that is not traced."""
    if not isinstance(target, Tracer):
        raise UnsupportedError(
            "a traced value cannot be written into an array that is not traced",
            source=user_line(),
            hint="make the array inside the function with np.zeros or np.empty, or "
            "pass it as an argument",
        )


def check_out(ufunc: np.ufunc, target: Any, value: Any, casting: str) -> None:
    """Raise as NumPy does when a result does not fit its target."""
    if not np.can_cast(value.dtype, target.dtype, casting):  # type: ignore[arg-type]
        raise np._core._exceptions._UFuncOutputCastingError(  # type: ignore[attr-defined]
            ufunc, casting, value.dtype, target.dtype, 0
        )
    if np.broadcast_shapes(value.shape, target.shape) != target.shape:
        raise ShapeError(
            f"non-broadcastable output operand with shape {target.shape} doesn't match "
            f"the broadcast shape {value.shape}",
            source=user_line(),
        )


# --- the table --------------------------------------------------------------------


def _extremum(
    of_bools: Primitive, of_reals: Primitive, wins: Primitive, skips_nan: bool = False
) -> Lowering:
    """Choose by kind; of complex numbers the first if it is NaN, or wins, as NumPy."""

    def lower(t: Trace, x: Atom, y: Atom) -> Atom:
        if not dt.is_complex(x.aval.dtype):
            is_bool = x.aval.dtype == dt.BOOL
            return t.emit(of_bools if is_bool else of_reals, x, y)
        is_nan = t.emit(ew.isnan_p, y if skips_nan else x)
        is_first = t.emit(ew.or_p, is_nan, t.emit(wins, x, y))
        return t.emit(ew.select_p, is_first, x, y)

    return lower


def _truth(t: Trace, x: Atom) -> Atom:
    if x.aval.dtype == dt.BOOL:
        return x
    return t.emit(ew.ne_p, x, t.builder.literal(0, x.aval.dtype))


def _logical(primitive: Primitive) -> Lowering:
    return lambda t, *atoms: t.emit(primitive, *(_truth(t, x) for x in atoms))


def _absolute(t: Trace, x: Atom) -> Atom:
    if dt.is_complex(x.aval.dtype):
        return t.emit(ew.hypot_p, t.emit(ew.real_p, x), t.emit(ew.imag_p, x))
    return x if x.aval.dtype.kind in "bu" else t.emit(ew.abs_p, x)


def _sign(t: Trace, x: Atom) -> Atom:
    if not dt.is_complex(x.aval.dtype):
        return t.emit(ew.sign_p, x)
    return _direction(t, t.emit(ew.real_p, x), t.emit(ew.imag_p, x))


def _direction(t: Trace, re: Atom, im: Atom) -> Atom:
    """Return z / |z| as NumPy: 0 of zeros, one part of what is infinite in it alone."""

    def number(value: float) -> Atom:
        return t.builder.literal(value, re.aval.dtype)

    size = t.emit(ew.hypot_p, re, im)
    is_inf, is_zero = t.emit(ew.isinf_p, size), t.emit(ew.eq_p, size, number(0))
    both = t.emit(ew.and_p, t.emit(ew.isinf_p, re), t.emit(ew.isinf_p, im))
    scale = t.emit(ew.select_p, t.emit(ew.or_p, is_inf, is_zero), number(1), size)
    scale = t.emit(ew.select_p, both, number(math.nan), scale)
    parts = []
    for part in (re, im):
        sign = t.emit(ew.copysign_p, number(1), part)
        far = t.emit(ew.select_p, t.emit(ew.isinf_p, part), sign, number(0))
        near = t.emit(ew.select_p, is_inf, far, part)
        found = t.emit(ew.div_p, near, scale)
        parts.append(t.emit(ew.select_p, is_zero, number(0), found))
    return t.emit(ew.complex_p, *parts)


def _square(t: Trace, x: Atom) -> Atom:
    return t.emit(ew.mul_p, x, x)


# Whether this NumPy's `power` takes the root where the exponent is 0.5: not in 2.1.
_TAKES_ROOTS = bool(np.signbit(np.power(-0.0, 0.5)))


def _float_power(t: Trace, x: Atom, y: Atom) -> Atom:
    """C's `pow`, which is no root where the exponent is 0.5."""
    dtype = x.aval.dtype
    is_half = isinstance(y, Literal) and y.value == 0.5
    if not is_half or dt.is_complex(dtype):
        return t.emit(ew.pow_p, x, y)
    root = t.emit(ew.sqrt_p, t.emit(ew.add_p, x, t.builder.literal(0.0, dtype)))
    is_infinite = t.emit(ew.eq_p, x, t.builder.literal(-math.inf, dtype))
    infinite = t.builder.literal(math.inf, dtype)
    return t.emit(ew.select_p, is_infinite, infinite, root)


def _reciprocal(t: Trace, x: Atom) -> Atom:
    if x.aval.dtype.kind in "iu":
        return _integer_reciprocal(t, x)
    if dt.is_complex(x.aval.dtype):
        return _complex_reciprocal(t, x)
    return t.emit(ew.div_p, t.builder.literal(1, x.aval.dtype), x)


def _complex_reciprocal(t: Trace, x: Atom) -> Atom:
    """1 over the larger part, and what the smaller one is of it, as NumPy computes it.

    Its zeros have other signs than those of ``1 / x``, and that of 0 is no number.
    """
    re, im = t.emit(ew.real_p, x), t.emit(ew.imag_p, x)
    one = t.builder.literal(1, re.aval.dtype)
    is_flat = t.emit(ew.le_p, t.emit(ew.abs_p, im), t.emit(ew.abs_p, re))
    large = t.emit(ew.select_p, is_flat, re, im)
    small = t.emit(ew.select_p, is_flat, im, re)
    ratio = t.emit(ew.div_p, small, large)
    scale = t.emit(ew.add_p, large, t.emit(ew.mul_p, small, ratio))
    parts = (
        t.emit(ew.select_p, is_flat, one, ratio),
        t.emit(ew.neg_p, t.emit(ew.select_p, is_flat, ratio, one)),
    )
    return t.emit(ew.complex_p, *(t.emit(ew.div_p, part, scale) for part in parts))


def _integer_reciprocal(t: Trace, x: Atom) -> Atom:
    """1 and -1 are their own, of others nothing is left.

    NumPy converts an infinity for 0: on x86-64 the lowest int32 or int64 number, and 0
    for the other dtypes.
    """
    dtype = x.aval.dtype

    def number(value: int) -> Atom:
        return t.builder.literal(value, dtype)

    is_wide = dtype in (np.dtype(np.int32), np.dtype(np.int64))
    of_zero = number(int(np.iinfo(dtype).min) if is_wide else 0)
    is_unit = t.emit(ew.eq_p, x, number(1))
    if dtype.kind == "i":
        is_minus = t.emit(ew.eq_p, x, number(-1))
        is_unit = t.emit(ew.or_p, is_unit, is_minus)
    rest = t.emit(ew.select_p, t.emit(ew.eq_p, x, number(0)), of_zero, number(0))
    return t.emit(ew.select_p, is_unit, x, rest)


def _scaled(factor: float) -> Lowering:
    def lower(t: Trace, x: Atom) -> Atom:
        dtype = x.aval.dtype
        if dtype not in dt.FLOAT8S:
            return t.emit(ew.mul_p, x, t.builder.literal(factor, dtype))
        x = t.emit(ew.convert_p, x, dtype=dt.FLOAT32)  # the factor is no float8
        x = t.emit(ew.mul_p, x, t.builder.literal(factor, dt.FLOAT32))
        return t.emit(ew.convert_p, x, dtype=dtype)

    return lower


def _is_special(primitive: Primitive, otherwise: bool) -> Lowering:
    def lower(t: Trace, x: Atom) -> Atom:
        if dt.is_inexact(x.aval.dtype):
            return t.emit(primitive, x)
        same = t.emit(ew.eq_p, x, x)
        return same if otherwise else t.emit(ew.not_p, same)

    return lower


def _rounding(primitive: Primitive) -> Callable[[Trace, Atom], Atom]:
    return lambda t, x: x if x.aval.dtype.kind in "biu" else t.emit(primitive, x)


def _rint(t: Trace, x: Atom) -> Atom:
    if not dt.is_complex(x.aval.dtype):
        return _rounding(ew.rint_p)(t, x)
    parts = (t.emit(ew.rint_p, t.emit(p, x)) for p in (ew.real_p, ew.imag_p))
    return t.emit(ew.complex_p, *parts)


def _divmod(t: Trace, x: Atom, y: Atom) -> tuple[Atom, Atom]:
    return t.emit(ew.floor_divide_p, x, y), t.emit(ew.remainder_p, x, y)


def _conjugate(t: Trace, x: Atom) -> Atom:
    return t.emit(ew.conj_p, x) if dt.is_complex(x.aval.dtype) else x


def _compared(primitive: Primitive, below: bool) -> Lowering:
    """Compare; `below` is what holds of a negative number and an unsigned one."""

    def lower(t: Trace, x: Atom, y: Atom) -> Atom:
        if x.aval.dtype == y.aval.dtype:
            return t.emit(primitive, x, y)
        first = x.aval.dtype.kind == "i"  # int64 and uint64 have no common dtype
        signed = x if first else y
        zero = t.builder.literal(0, signed.aval.dtype)
        is_negative = t.emit(ew.lt_p, signed, zero)
        pair = (t.emit(ew.convert_p, v, dtype=np.dtype(np.uint64)) for v in (x, y))
        outcome = below if first or primitive in (ew.eq_p, ew.ne_p) else not below
        known = t.builder.literal(outcome, dt.BOOL)
        same = t.emit(primitive, *pair)
        full = broadcast_to(t.builder, known, same.aval.shape)
        return t.emit(ew.select_p, is_negative, full, same)

    return lower


COMPARISONS = frozenset(
    {np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal}
)
# Of primitives by kind, "" is for the other kinds.
LOWERINGS: dict[np.ufunc, Primitive | dict[str, Primitive] | Lowering] = {
    np.add: {"b": ew.or_p, "": ew.add_p},
    np.subtract: ew.sub_p,
    np.multiply: {"b": ew.and_p, "": ew.mul_p},
    np.true_divide: ew.div_p,
    np.floor_divide: ew.floor_divide_p,
    np.remainder: ew.remainder_p,
    np.fmod: ew.fmod_p,
    np.divmod: _divmod,
    np.power: ew.pow_p if _TAKES_ROOTS else _float_power,
    np.float_power: _float_power,
    np.negative: ew.neg_p,
    np.positive: lambda t, x: x,
    np.absolute: _absolute,
    np.fabs: ew.abs_p,
    np.sign: _sign,
    np.square: _square,
    np.reciprocal: _reciprocal,
    np.sqrt: ew.sqrt_p,
    np.cbrt: ew.cbrt_p,
    np.exp: ew.exp_p,
    np.exp2: ew.exp2_p,
    np.expm1: ew.expm1_p,
    np.log: ew.log_p,
    np.log2: ew.log2_p,
    np.log10: ew.log10_p,
    np.log1p: ew.log1p_p,
    np.logaddexp: ew.logaddexp_p,
    np.sin: ew.sin_p,
    np.cos: ew.cos_p,
    np.tan: ew.tan_p,
    np.sinh: ew.sinh_p,
    np.cosh: ew.cosh_p,
    np.tanh: ew.tanh_p,
    np.arcsin: ew.arcsin_p,
    np.arccos: ew.arccos_p,
    np.arctan: ew.arctan_p,
    np.arcsinh: ew.arcsinh_p,
    np.arccosh: ew.arccosh_p,
    np.arctanh: ew.arctanh_p,
    np.arctan2: ew.arctan2_p,
    np.hypot: ew.hypot_p,
    np.deg2rad: _scaled(math.pi / 180),
    np.radians: _scaled(math.pi / 180),
    np.rad2deg: _scaled(180 / math.pi),
    np.degrees: _scaled(180 / math.pi),
    np.floor: _rounding(ew.floor_p),
    np.ceil: _rounding(ew.ceil_p),
    np.trunc: _rounding(ew.trunc_p),
    np.rint: _rint,
    np.copysign: ew.copysign_p,
    np.nextafter: ew.nextafter_p,
    np.maximum: _extremum(ew.or_p, ew.maximum_p, ew.ge_p),
    np.minimum: _extremum(ew.and_p, ew.minimum_p, ew.le_p),
    np.fmax: _extremum(ew.or_p, ew.fmax_p, ew.ge_p, skips_nan=True),
    np.fmin: _extremum(ew.and_p, ew.fmin_p, ew.le_p, skips_nan=True),
    np.equal: _compared(ew.eq_p, False),
    np.not_equal: _compared(ew.ne_p, True),
    np.less: _compared(ew.lt_p, True),
    np.less_equal: _compared(ew.le_p, True),
    np.greater: _compared(ew.gt_p, False),
    np.greater_equal: _compared(ew.ge_p, False),
    np.isnan: _is_special(ew.isnan_p, False),
    np.isinf: _is_special(ew.isinf_p, False),
    np.isfinite: _is_special(ew.isfinite_p, True),
    np.signbit: ew.signbit_p,
    np.logical_and: _logical(ew.and_p),
    np.logical_or: _logical(ew.or_p),
    np.logical_xor: _logical(ew.xor_p),
    np.logical_not: lambda t, x: t.emit(ew.not_p, _truth(t, x)),
    np.bitwise_and: ew.and_p,
    np.bitwise_or: ew.or_p,
    np.bitwise_xor: ew.xor_p,
    np.invert: ew.not_p,
    np.left_shift: ew.shift_left_p,
    np.right_shift: ew.shift_right_p,
    np.conjugate: _conjugate,
    np.heaviside: formulas.heaviside,
    np.modf: formulas.modf,
    np.logaddexp2: formulas.in_float32(formulas.logaddexp2),
    np.ldexp: formulas.in_float32(formulas.ldexp),
    np.frexp: formulas.in_float32(formulas.frexp),
    np.spacing: formulas.spacing,
    np.bitwise_count: formulas.bitwise_count,
}
# By name; `functions.special` fills it.
SCIPY_LOWERINGS: dict[str, Lowering] = {}
