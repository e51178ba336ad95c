"""Rules for products: matmul, dot, einsum, tensordot, outer, kron, cross, convolve."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...errors import ShapeError
from ...ir import dtypes as dt
from ...ir.graph import Atom
from ...ir.ops.contract import dot_general_p
from ...ir.ops.elementwise import convert_p, ne_p
from ...ir.ops.reduce import reduce_sum_p
from ...ir.ops.shape import broadcast_to, reshape, transpose_p
from .. import ufuncs
from ..source import user_line
from ..storage import Kind
from ..trace import Trace
from ..tracer import Tracer
from .registry import implements, lift, normalize_axis, wrap
from .shape import diagonal, diagonal_view, moveaxis, pad


def _operands(*values: Any) -> tuple[Trace, list[Tracer], np.dtype]:
    trace, xs = lift(*values)
    dtype = dt.canonical(np.result_type(*(x.dtype for x in xs)))
    return trace, list(xs), dtype


def _dot(trace: Trace, x: Atom, y: Atom, contract: Any, batch: Any = ((), ())) -> Atom:
    """dot_general; booleans multiply by `and` and add by `or`, as in NumPy.

    float8 is multiplied in float32 and rounded once, as ml_dtypes does.
    """
    dtype = x.aval.dtype
    if dtype in dt.FLOAT8S:
        wide = [trace.emit(convert_p, v, dtype=dt.FLOAT32) for v in (x, y)]
        out = trace.emit(dot_general_p, *wide, contract=contract, batch=batch)
        return trace.emit(convert_p, out, dtype=dtype)
    if dtype != dt.BOOL:
        return trace.emit(dot_general_p, x, y, contract=contract, batch=batch)
    wide = [trace.emit(convert_p, v, dtype=dt.INT64) for v in (x, y)]
    out = trace.emit(dot_general_p, *wide, contract=contract, batch=batch)
    return trace.emit(ne_p, out, trace.builder.literal(0, dt.INT64))


def matmul(x1: Any, x2: Any) -> Tracer:
    """``x1 @ x2`` with broadcast batch axes and promoted vectors."""
    trace, (x, y), dtype = _operands(*_without_float8(np.matmul, x1, x2))
    if not x.ndim or not y.ndim:
        raise ShapeError(
            "matmul: an operand has no axes; matmul takes at least one",
            source=user_line(),
            hint="use * for products with scalars",
        )
    if x.shape[-1] != y.shape[-2 if y.ndim > 1 else 0]:
        raise ShapeError(
            f"matmul: operands of shapes {x.shape} and {y.shape} do not fit: the last "
            f"axis of the first has {x.shape[-1]} elements, the "
            f"{'second-to-last' if y.ndim > 1 else 'only'} axis of the second "
            f"{y.shape[-2 if y.ndim > 1 else 0]}",
            source=user_line(),
            hint="transpose one of them, e.g. x @ w.T",
        )
    a, b = x.convert(dtype), y.convert(dtype)
    if y.ndim <= 2:
        contract = ((x.ndim - 1,), (max(y.ndim - 2, 0),))
        return wrap(trace, _dot(trace, a, b, contract))
    return wrap(trace, _batched(trace, a, b))


def _batched(trace: Trace, x: Atom, y: Atom) -> Atom:
    build = trace.builder
    if x.aval.ndim == 1:
        out = _batched(trace, reshape(build, x, (1, *x.aval.shape)), y)
        return reshape(build, out, (*out.aval.shape[:-2], out.aval.shape[-1]))
    lead = np.broadcast_shapes(x.aval.shape[:-2], y.aval.shape[:-2])
    x = broadcast_to(build, x, (*lead, *x.aval.shape[-2:]))
    y = broadcast_to(build, y, (*lead, *y.aval.shape[-2:]))
    n = len(lead)
    axes = tuple(range(n))
    return _dot(trace, x, y, ((n + 1,), (n,)), (axes, axes))


GENERALIZED: dict[np.ufunc, Any] = {np.matmul: matmul}


def _without_float8(ufunc: np.ufunc, *values: Any) -> Sequence[Any]:
    """Convert operands, if one is float8, to what NumPy's loops of products take."""
    _, xs = lift(*values)
    if not any(x.dtype in dt.FLOAT8S for x in xs):
        return values
    common = ufunc.resolve_dtypes((*(x.dtype for x in xs), None))
    return [x.astype(d) for x, d in zip(xs, common[:-1], strict=True)]


def _vecdot(x1: Any, x2: Any) -> Any:
    _, (x, y) = lift(*_without_float8(np.matmul, x1, x2))
    if x.shape[-1] != y.shape[-1]:
        raise ShapeError(
            f"vecdot: axes of {x.shape[-1]} and {y.shape[-1]} elements do not fit",
            source=user_line(),
        )
    if np.result_type(x.dtype, y.dtype) == dt.BOOL:
        return np.any(x & y, axis=-1)
    return np.sum(_conjugated(x) * y, axis=-1, dtype=np.result_type(x, y))


def _conjugated(x: Any) -> Any:
    """NumPy has no conjugate of booleans but as integers."""
    return np.conjugate(x) if dt.is_complex(x.dtype) else x


for _name, _rule in (
    ("vecdot", _vecdot),
    ("matvec", lambda a, v: matmul(a, v[..., None])[..., 0]),
    ("vecmat", lambda v, a: matmul(_conjugated(v)[..., None, :], a)[..., 0, :]),
):
    if isinstance(getattr(np, _name, None), np.ufunc):
        GENERALIZED[getattr(np, _name)] = _rule


@implements(np.linalg.vecdot)
def vecdot(x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    """The axis is each operand's own, before they are broadcast."""
    _, xs = lift(x1, x2)
    return _vecdot(*(x if axis == -1 else moveaxis(x, axis, -1) for x in xs))


@implements(np.dot)
def dot(a: Any, b: Any, out: Any = None) -> Any:
    trace, (x, y), dtype = _operands(a, b)
    if not x.ndim or not y.ndim:
        return np.multiply(x, y)
    right = max(y.ndim - 2, 0)
    if x.shape[-1] != y.shape[right]:
        raise ShapeError(
            f"shapes {x.shape} and {y.shape} not aligned: {x.shape[-1]} (dim "
            f"{x.ndim - 1}) != {y.shape[right]} (dim {right})",
            source=user_line(),
        )
    contract = ((x.ndim - 1,), (right,))
    return wrap(trace, _dot(trace, x.convert(dtype), y.convert(dtype), contract))


@implements(np.vdot)
def vdot(a: Any, b: Any, /) -> Any:
    return dot(np.conjugate(np.ravel(a)), np.ravel(b))


@implements(np.inner)
def inner(a: Any, b: Any, /) -> Any:
    trace, (x, y), dtype = _operands(a, b)
    if not x.ndim or not y.ndim:
        return np.multiply(x, y)
    contract = ((x.ndim - 1,), (y.ndim - 1,))
    return wrap(trace, _dot(trace, x.convert(dtype), y.convert(dtype), contract))


@implements(np.linalg.outer)
def outer_of_vectors(x1: Any, x2: Any, /) -> Any:
    ranks = np.ndim(x1), np.ndim(x2)
    if ranks != (1, 1):
        raise ValueError(
            "Input arrays must be one-dimensional, but they are "
            f"x1.ndim={ranks[0]} and x2.ndim={ranks[1]}."
        )
    return outer(x1, x2)


@implements(np.outer)
def outer(a: Any, b: Any, out: Any = None) -> Any:
    return np.multiply(np.ravel(a)[:, None], np.ravel(b)[None, :])


@implements(np.tensordot, np.linalg.tensordot)
def tensordot(a: Any, b: Any, axes: Any = 2) -> Any:
    trace, (x, y), dtype = _operands(a, b)
    if isinstance(axes, int):
        left = tuple(range(x.ndim - axes, x.ndim))
        right = tuple(range(axes))
    else:
        left, right = (tuple(s) if isinstance(s, tuple | list) else (s,) for s in axes)
    left = tuple(normalize_axis(d, x.ndim) for d in left)
    right = tuple(normalize_axis(d, y.ndim) for d in right)
    atoms = x.convert(dtype), y.convert(dtype)
    return wrap(trace, _dot(trace, *atoms, (left, right)), Kind.ARRAY)


@implements(np.kron)
def kron(a: Any, b: Any) -> Any:
    _, (x, y) = lift(a, b)
    ndim = max(x.ndim, y.ndim)
    x = x.reshape((1,) * (ndim - x.ndim) + x.shape)
    y = y.reshape((1,) * (ndim - y.ndim) + y.shape)
    left = x.reshape(tuple(n for s in x.shape for n in (s, 1)))
    right = y.reshape(tuple(n for s in y.shape for n in (1, s)))
    final = tuple(m * n for m, n in zip(x.shape, y.shape, strict=True))
    return (left * right).reshape(final)


@implements(np.linalg.cross)
def linalg_cross(x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    for x in lift(x1, x2)[1]:
        if x.shape[axis] != 3:
            raise ValueError(
                "Both input arrays must be (arrays of) 3-dimensional vectors, but they "
                f"are {x1.shape[axis]} and {x2.shape[axis]} dimensional instead."
            )
    return cross(x1, x2, axis=axis)


@implements(np.cross)
def cross(
    a: Any,
    b: Any,
    axisa: int = -1,
    axisb: int = -1,
    axisc: int = -1,
    axis: int | None = None,
) -> Any:
    if axis is not None:
        axisa = axisb = axisc = axis
    x, y = (moveaxis(v, d, -1) for v, d in ((a, axisa), (b, axisb)))
    sizes = x.shape[-1], y.shape[-1]
    with warnings.catch_warnings():  # of two components, until NumPy 2.5 raises
        warnings.simplefilter("ignore", DeprecationWarning)
        np.cross(np.ones(sizes[0]), np.ones(sizes[1]))  # NumPy's error for others
    if sizes == (2, 2):
        return x[..., 0] * y[..., 1] - x[..., 1] * y[..., 0]
    x, y = (_in_space(v) for v in (x, y))
    parts = []
    for i, j in ((1, 2), (2, 0), (0, 1)):
        parts.append(x[..., i] * y[..., j] - x[..., j] * y[..., i])
    return np.stack(parts, axis=axisc)


_ONE = np.ones(1)


def _in_space(x: Any) -> Any:
    """Two components with 0 for the third."""
    return np.pad(x, ((0, 0),) * (x.ndim - 1) + ((0, 3 - x.shape[-1]),))


@implements(np.convolve)
def convolve(a: Any, v: Any, mode: str = "full") -> Any:
    """A sum of shifted copies, one for each tap of the shorter operand."""
    np.convolve(_ONE, _ONE, mode)  # type: ignore[call-overload]  # NumPy's error for a mode that there is not
    x, w = (
        vector.reshape(1) if not vector.ndim else vector for vector in lift(a, v)[1]
    )
    if w.shape[0] > x.shape[0]:
        x, w = w, x
    n, m = x.shape[0], w.shape[0]
    dtype = np.result_type(x.dtype, w.dtype)
    wide = pad(x.astype(dtype), (m - 1, m - 1))
    taps = [wide[m - 1 - k : m - 1 - k + n + m - 1] * w[k] for k in range(m)]
    full = taps[0] + 0  # as NumPy's sums of products, which start at 0.0
    for tap in taps[1:]:
        full = full + tap
    if mode == "full":
        return full
    start, size = ((m - 1) // 2, n) if mode == "same" else (m - 1, n - m + 1)
    return full[start : start + size].copy()


@implements(np.correlate)
def correlate(a: Any, v: Any, mode: str = "valid") -> Any:
    result = convolve(a, np.conjugate(v)[::-1], "full" if mode == "same" else mode)
    if mode != "same":
        return result
    m, n = np.size(a), np.size(v)
    start = (n - 1) // 2 if m >= n else m // 2  # NumPy turns it if the first is shorter
    return result[start : start + max(m, n)].copy()


# --- einsum -----------------------------------------------------------------------


@implements(np.einsum)
def einsum(
    *operands: Any,
    optimize: Any = False,
    dtype: Any = None,
    casting: Any = "safe",
    order: str = "K",
) -> Any:
    """Any subscripts: operands are contracted two by two from the left."""
    if not isinstance(operands[0], str):
        operands = _from_lists(operands)
    trace, xs, common = _operands(*operands[1:])
    dtype = common if dtype is None else dt.canonical(dtype)
    if dtype in dt.FLOAT8S:
        raise ufuncs.unsupported(
            f"np.einsum of {dtype}, which NumPy has not either",
            "convert the operands: x.astype(np.float32)",
        )
    terms, result = _subscripts(operands[0], [x.ndim for x in xs])
    if len(xs) == 1 and xs[0].dtype == dtype and order == "K":
        view = _einsum_view(xs[0], terms[0], result)
        if view is not None:
            return view
    atoms = [x.astype(dtype, casting=casting, copy=False).read() for x in xs]
    pairs = [_take_diagonals(trace, t, a) for t, a in zip(terms, atoms, strict=True)]
    while len(pairs) > 1:
        left, right, *rest = pairs
        keep = set(result).union(*(t for t, _ in rest))
        pairs = [_contract_pair(trace, left, right, keep), *rest]
    return wrap(trace, _arrange(trace, *pairs[0], result))


def _einsum_view(x: Tracer, term: str, result: str) -> Any:
    """Return the elements that are not summed, as a view; None if any are."""
    if not x.ndim or set(term) != set(result) or len(result) != len(set(result)):
        return None
    while len(term) > len(set(term)):
        letter = next(t for t in term if term.count(t) > 1)
        first = term.index(letter)
        second = term.index(letter, first + 1)
        axes = [first if d == second else d for d in range(x.ndim)]
        rest = [d for d in axes if d != first]
        shadow = np.einsum(x.shadow, axes, [*rest, first])
        x = diagonal_view(x, shadow, first, second)
        term = "".join(term[d] for d in rest) + letter
    return x.transpose([term.index(t) for t in result])


def _from_lists(operands: Sequence[Any]) -> tuple[Any, ...]:
    """``(x, axes, y, axes, result)`` as subscripts and operands."""
    pairs = len(operands) // 2
    xs, lists = operands[: 2 * pairs : 2], operands[1 : 2 * pairs : 2]
    text = ",".join(_letters(axes) for axes in lists)
    if len(operands) % 2:
        text += "->" + _letters(operands[-1])
    return (text, *xs)


_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"  # as NumPy has it


def _letters(axes: Sequence[Any]) -> str:
    return "".join("..." if a is Ellipsis else _ALPHABET[a] for a in axes)


def _subscripts(text: str, ndims: Sequence[int]) -> tuple[list[str], str]:
    """Spell out ellipses and the implied result."""
    left, arrow, result = text.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(ndims):
        raise ShapeError(
            f"einsum has {len(terms)} subscripts for {len(ndims)} operands"
        )
    spare = [chr(c) for c in range(ord("A"), ord("Z") + 1) if chr(c) not in text]
    widest = 0
    full = []
    for term, ndim in zip(terms, ndims, strict=True):
        extra = ndim - len(term.replace("...", ""))
        if extra < 0 or (extra and "..." not in term):
            raise ShapeError(f"einsum subscript {term!r} does not fit {ndim} axes")
        widest = max(widest, extra)
        full.append(term.replace("...", f"{{{extra}}}"))
    ellipsis = "".join(spare[:widest])
    full = [_fill_ellipsis(t, ellipsis) for t in full]
    if not arrow:
        letters = "".join(full)
        once = sorted(c for c in set(letters) if letters.count(c) == 1)
        result = ellipsis + "".join(c for c in once if c not in ellipsis)
    return full, result.replace("...", ellipsis)


def _fill_ellipsis(term: str, ellipsis: str) -> str:
    if "{" not in term:
        return term
    head, _, tail = term.partition("{")
    count, _, tail = tail.partition("}")
    return head + ellipsis[len(ellipsis) - int(count) :] + tail


def _take_diagonals(trace: Trace, term: str, x: Atom) -> tuple[str, Atom]:
    while len(set(term)) < len(term):
        letter = next(c for c in term if term.count(c) > 1)
        first = term.index(letter)
        second = term.index(letter, first + 1)
        tracer = diagonal(trace.result(x), axis1=first, axis2=second)
        term = "".join(c for i, c in enumerate(term) if i not in (first, second))
        term, x = term + letter, tracer.read()
    return term, x


def _contract_pair(
    trace: Trace, left: tuple[str, Atom], right: tuple[str, Atom], keep: set[str]
) -> tuple[str, Atom]:
    (a, x), (b, y) = _squeeze_ones(trace, left, right)
    a, x = _sum_lone(trace, a, x, keep | set(b))
    b, y = _sum_lone(trace, b, y, keep | set(a))
    batch = [c for c in a if c in b and c in keep]
    summed = [c for c in a if c in b and c not in keep]
    index = lambda letters, term: tuple(term.index(c) for c in letters)  # noqa: E731
    out = _dot(
        trace,
        x,
        y,
        (index(summed, a), index(summed, b)),
        (index(batch, a), index(batch, b)),
    )
    free = [c for c in a if c not in b] + [c for c in b if c not in a]
    return "".join(batch + free), out


def _squeeze_ones(
    trace: Trace, left: tuple[str, Atom], right: tuple[str, Atom]
) -> tuple[tuple[str, Atom], tuple[str, Atom]]:
    """Drop axes of one that broadcast against a longer axis of the other."""
    sizes = [dict(zip(t, v.aval.shape, strict=True)) for t, v in (left, right)]
    out = []
    rows = ((left, sizes[0], sizes[1]), (right, sizes[1], sizes[0]))
    for (term, x), mine, other in rows:
        drop = [c for c in term if mine[c] == 1 and other.get(c, 1) != 1]
        kept = "".join(c for c in term if c not in drop)
        out.append((kept, reshape(trace.builder, x, tuple(mine[c] for c in kept))))
    return out[0], out[1]


def _sum_lone(trace: Trace, term: str, x: Atom, keep: set[str]) -> tuple[str, Atom]:
    axes = tuple(i for i, c in enumerate(term) if c not in keep)
    if not axes:
        return term, x
    kept = "".join(c for c in term if c in keep)
    return kept, trace.emit(reduce_sum_p, x, axes=axes)


def _arrange(trace: Trace, term: str, x: Atom, result: str) -> Atom:
    term, x = _sum_lone(trace, term, x, set(result))
    perm = tuple(term.index(c) for c in result)
    return trace.emit(transpose_p, x, perm=perm)
