"""Random calls of NumPy: a function, arrays of odd shapes and dtypes, its arguments.

`call` draws a `Drawn` with hypothesis: a function of arrays alone, to run in NumPy and
under `jit`, and those arrays. Arrays are empty, of one element, broadcast, strided and
reversed, and hold infinities, NaN, zeros of both signs and the ends of integers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from .ufuncs import TRACED, names

Draw = Callable[[Any], Any]
FLOATS = ("f4", "f8", "f2")
INTEGERS = ("i8", "i4", "u1", "i2", "u8", "i1", "u2", "u4")
COMPLEX = ("c8", "c16")
REAL = (*FLOATS, *INTEGERS, "?")
ALL = (*REAL, *COMPLEX)
SIZES = st.sampled_from([1, 2, 3, 4, 0, 5, 17])
SPECIAL = (np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 0.5, 2.0)


@dataclass(frozen=True)
class Drawn:
    """A call.

    Parameters
    ----------
    text : str
        Which one, for the report of a failure.
    function : callable
    arrays : tuple of numpy.ndarray
    terms : float
        The largest number that it adds as a float where all arrays are of integers.
    """

    text: str
    function: Callable[..., Any]
    arrays: tuple[np.ndarray, ...]
    terms: float = 0.0

    def __repr__(self) -> str:
        shown = ", ".join(f"{a.dtype}{list(a.shape)}" for a in self.arrays)
        return f"{self.text} of {shown}"


def shape(draw: Draw, least: int = 0, most: int = 3) -> tuple[int, ...]:
    """Up to three axes, some of no or one element."""
    return tuple(draw(SIZES) for _ in range(draw(st.integers(least, most))))


def array(draw: Draw, dtypes: tuple[str, ...], sizes: tuple[int, ...]) -> np.ndarray:
    """An array of one of the dtypes, in some layout."""
    dtype = np.dtype(draw(st.sampled_from(dtypes)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    layout = draw(st.sampled_from(["C", "F", "strided", "reversed"]))
    special = draw(st.booleans())
    if layout == "F":
        return np.asfortranarray(values(rng, dtype, sizes, special))
    if layout == "strided" and sizes:
        wide = values(rng, dtype, (*sizes[:-1], sizes[-1] * 2), special)
        return wide[..., ::2]
    made = values(rng, dtype, sizes, special)
    return made[::-1] if layout == "reversed" and sizes else made


def values(
    rng: np.random.Generator, dtype: np.dtype, sizes: tuple[int, ...], special: bool
) -> np.ndarray:
    """Numbers of moderate size, among them `special` ones."""
    if dtype.kind == "b":
        return rng.integers(0, 2, sizes).astype(dtype)
    if dtype.kind in "iu":
        low, high = (0, 9) if dtype.kind == "u" else (-9, 9)
        made = rng.integers(low, high, sizes).astype(dtype)
        ends = np.array([np.iinfo(dtype).min, np.iinfo(dtype).max, 0, 1], dtype)
    else:
        made = rng.normal(size=sizes).astype(dtype)
        if dtype.kind == "c":
            made = (made + 1j * rng.normal(size=sizes)).astype(dtype)
        ends = np.array(SPECIAL, dtype)
    if not special or not made.size:
        return made
    return np.where(rng.uniform(size=sizes) < 0.3, rng.choice(ends, sizes), made)


def _broadcast(draw: Draw, sizes: tuple[int, ...]) -> tuple[int, ...]:
    """A shape that broadcasts with `sizes`."""
    cut = sizes[draw(st.integers(0, len(sizes))) :]
    return tuple(1 if draw(st.booleans()) and draw(st.booleans()) else n for n in cut)


def _axis(draw: Draw, ndim: int) -> Any:
    choices: list[Any] = [None, *range(-ndim, ndim)]
    if ndim > 1:
        choices += [(0, 1), (-1, 0)]
    return draw(st.sampled_from(choices))


def _one_axis(draw: Draw, ndim: int) -> int:
    return draw(st.integers(-ndim, ndim - 1))


# --- families -----------------------------------------------------------------------

ELEMENTWISE = [n for n in names() if getattr(np, n).signature is None]


def _takes(name: str, dtypes: tuple[str, ...]) -> tuple[str, ...]:
    """Those dtypes for which a ufunc has a loop."""
    ufunc = getattr(np, name)
    operands = {loop[: ufunc.nin] for loop in ufunc.types}
    found = [t for t in dtypes if any(np.dtype(t).char in o for o in operands)]
    return tuple(found) or dtypes


def elementwise(draw: Draw) -> Drawn:
    """A ufunc of arrays that broadcast, or of an array and a Python number."""
    name = draw(st.sampled_from(ELEMENTWISE))
    ufunc, sizes = getattr(np, name), shape(draw)
    dtypes = _takes(name, ALL)
    first = array(draw, dtypes, sizes)
    if ufunc.nin == 1:
        return Drawn(name, lambda x: ufunc(x), (first,))
    if draw(st.integers(0, 4)) == 0:
        number = draw(st.sampled_from([2, 0, -1, 0.5, 1.0, True, 3]))
        return Drawn(f"{name}(x, {number})", lambda x: ufunc(x, number), (first,))
    second = array(draw, dtypes, _broadcast(draw, sizes))
    return Drawn(name, lambda x, y: ufunc(x, y), (first, second))


WITH_WHERE = (
    *("sum", "prod", "max", "min", "mean", "var", "std", "any", "all"),
    *("nansum", "nanprod", "nanmean", "nanvar", "nanstd"),
)
REDUCTIONS = (
    *WITH_WHERE,
    *("ptp", "count_nonzero", "nanmax", "nanmin", "median", "nanmedian"),
    *("argmax", "argmin", "average"),
)

OF_FLOATS = ("mean", "var", "std", "nanmean", "nanvar", "nanstd", "average")


def reduction(draw: Draw) -> Drawn:
    """A reduction over some axes, with keywords."""
    name = draw(st.sampled_from(REDUCTIONS))
    function = getattr(np, name)
    x = array(draw, REAL if name not in ("sum", "prod", "mean") else ALL, shape(draw))
    is_arg = name.startswith("arg")
    axis = _axis(draw, x.ndim)
    keywords: dict[str, Any] = {"axis": axis}
    if is_arg and isinstance(axis, tuple):
        keywords = {"axis": axis[0]}
    if draw(st.booleans()):
        keywords["keepdims"] = True
    if name in ("sum", "prod", "max", "min") and draw(st.booleans()):
        keywords["initial"] = draw(st.sampled_from([0, 1, 2]))
    if name in ("var", "std", "nanvar", "nanstd") and draw(st.booleans()):
        keywords["ddof"] = 1
    text = f"{name}({keywords})"
    if name in WITH_WHERE and draw(st.integers(0, 3)) == 0:
        if name in ("max", "min"):
            keywords.setdefault("initial", 1)
        mask = array(draw, ("?",), _broadcast(draw, x.shape))
        text = f"{name}({keywords}, where=)"
        masked = lambda x, m: function(x, where=m, **keywords)  # noqa: E731
        return Drawn(text, masked, (x, mask), _terms(name, x))
    return Drawn(text, lambda x: function(x, **keywords), (x,), _terms(name, x))


def _terms(name: str, x: np.ndarray) -> float:
    """Return the largest number that a reduction adds as a float, if not as `x` is."""
    if x.dtype.kind not in "iu" or not x.size or name not in OF_FLOATS:
        return 0.0
    largest = float(np.max(np.abs(x.astype(np.float64))))
    return largest**2 if "var" in name else largest


def cumulative(draw: Draw) -> Drawn:
    """A cumulative function, a difference or a sort along an axis."""
    x = array(draw, REAL, shape(draw, 1))
    axis = _one_axis(draw, x.ndim)
    name = draw(
        st.sampled_from(
            ["cumsum", "cumprod", "diff", "sort", "argsort", "nancumsum", "flip"]
        )
    )
    keywords: dict[str, Any] = {"axis": axis}
    if name in ("sort", "argsort"):
        keywords["kind"] = "stable"
    function = getattr(np, name)
    return Drawn(f"{name}({keywords})", lambda x: function(x, **keywords), (x,))


def movement(draw: Draw) -> Drawn:
    """A function that moves elements."""
    x = array(draw, ALL, shape(draw, 1))
    ndim, n = x.ndim, x.shape[0]
    axis = _one_axis(draw, ndim)
    k = draw(st.integers(-3, 3))
    repeats = draw(st.integers(0, 3))
    width = draw(st.integers(0, 2))
    choices: dict[str, Callable[[Any], Any]] = {
        f"roll {k} {axis}": lambda x: np.roll(x, k, axis),
        f"roll {k}": lambda x: np.roll(x, k),
        f"repeat {repeats} {axis}": lambda x: np.repeat(x, repeats, axis),
        f"tile {repeats}": lambda x: np.tile(x, (repeats, 2)),
        "ravel F": lambda x: np.ravel(x, "F"),
        "ravel K": lambda x: np.ravel(x, "K"),
        "reshape": lambda x: x.reshape(-1),
        "reshape F": lambda x: x.reshape((-1,), order="F"),
        "transpose": lambda x: x.T.copy(),
        f"moveaxis {axis}": lambda x: np.moveaxis(x, axis, 0),
        f"concatenate {axis}": lambda x: np.concatenate([x, x[:0], x], 0),
        f"stack {axis}": lambda x: np.stack([x, x], axis),
        f"pad {width}": lambda x: np.pad(x, width),
        f"pad {width} wrap": lambda x: np.pad(x, width, "wrap"),
        f"pad {width} edge": lambda x: np.pad(x, ((width, 0),) * ndim, "edge"),
        f"tril {k}": lambda x: np.tril(x, k),
        f"diag {k}": lambda x: np.diag(x.reshape(-1), k),
        f"array_split {axis}": lambda x: np.array_split(x, 3, axis),
        "squeeze": lambda x: np.squeeze(x),
        f"expand_dims {axis}": lambda x: np.expand_dims(x, axis),
        f"delete {axis}": lambda x: np.delete(x, 0, axis),
        f"insert {axis}": lambda x: np.insert(x, 0, 1, axis),
        f"rot90 {k}": lambda x: np.rot90(x, k),
        f"swapaxes {axis}": lambda x: np.swapaxes(x, 0, axis),
        f"take wrap {k}": lambda x: np.take(x, [k, 0], axis, mode="wrap"),
        f"take clip {k}": lambda x: np.take(x, [k, 9], axis, mode="clip"),
        f"broadcast_to {n}": lambda x: np.broadcast_to(x, (2, *x.shape)),
    }
    if not x.size:
        del choices[f"take wrap {k}"]  # of an empty array NumPy never returns
    text = draw(st.sampled_from(sorted(choices)))
    return Drawn(text, choices[text], (x,))


def _index_of(draw: Draw, n: int) -> Any:
    bounds = st.none() | st.integers(-n - 1, n + 1)
    kind = draw(st.sampled_from(["slice", "int", "list", "all", "new"]))
    if kind == "slice":
        step = draw(st.sampled_from([1, 2, -1, -2, None]))
        return slice(draw(bounds), draw(bounds), step)
    if kind == "int":
        return draw(st.integers(-n - 1, n))
    if kind == "list":
        return draw(st.lists(st.integers(-n, max(n - 1, 0)), min_size=1, max_size=3))
    return None if kind == "new" else slice(None)


def indexing(draw: Draw) -> Drawn:
    """Reading or writing elements by any mixture of indices."""
    x = array(draw, ("f8", "i4", "c8", "?"), shape(draw, 1))
    index = tuple(_index_of(draw, n) for n in x.shape[: draw(st.integers(1, x.ndim))])
    if draw(st.booleans()):
        return Drawn(f"x[{index}]", lambda x: x[index], (x,))
    if draw(st.integers(0, 2)) == 0:
        return Drawn(f"x[{index}] += 1", lambda x: _added(x, index), (x,))
    return Drawn(f"x[{index}] = 1", lambda x: _set(x, index), (x,))


def _set(x: Any, index: Any) -> Any:
    x = x.copy()
    x[index] = 1
    return x


def _added(x: Any, index: Any) -> Any:
    x = x.copy()
    x[index] += 1
    return x


def masks(draw: Draw) -> Drawn:
    """Selections by truth values: where, clip, select, writes at a mask."""
    x = array(draw, REAL, shape(draw))
    mask = array(draw, ("?",), x.shape)
    y = array(draw, REAL, _broadcast(draw, x.shape))
    choices: dict[str, Callable[..., Any]] = {
        "where": lambda x, m, y: np.where(m, x, y),
        "where number": lambda x, m, y: np.where(m, x, 2),
        "clip": lambda x, m, y: np.clip(x, y, None),
        "select": lambda x, m, y: np.select([m, ~m], [x, y], 0),
        "nan_to_num": lambda x, m, y: np.nan_to_num(x),
        "isclose": lambda x, m, y: np.isclose(x, y),
        "mask = number": lambda x, m, y: _set(x, m),
        "mask += number": lambda x, m, y: _added(x, m),
        "copyto": lambda x, m, y: _copied(x, y, m),
        "count": lambda x, m, y: np.count_nonzero(m, axis=None),
    }
    text = draw(st.sampled_from(sorted(choices)))
    return Drawn(text, choices[text], (x, mask, y))


def _copied(x: Any, y: Any, mask: Any) -> Any:
    x = x.copy()
    np.copyto(x, y, where=mask)
    return x


def products(draw: Draw) -> Drawn:
    """Matrix products of any ranks and dtypes."""
    m, k, n = (draw(SIZES) for _ in "mkn")
    dtypes = ("f4", "f8", "i4", "c8", "?", "u1", "i8")
    lead = shape(draw, 0, 1)
    x, y = array(draw, dtypes, (*lead, m, k)), array(draw, dtypes, (k, n))
    x, y = (_finite(a) for a in (x, y))
    choices: dict[str, Callable[..., Any]] = {
        "matmul": lambda x, y: x @ y,
        "dot": lambda x, y: np.dot(x, y),
        "tensordot": lambda x, y: np.tensordot(x, y, 1),
        "einsum": lambda x, y: np.einsum("...ij,jk->...ik", x, y),
        "vector": lambda x, y: x @ y[:, 0] if y.shape[1] else x @ y,
        "inner": lambda x, y: np.inner(x, y.T),
    }
    text = draw(st.sampled_from(sorted(choices)))
    return Drawn(text, choices[text], (x, y))


def _finite(x: np.ndarray) -> np.ndarray:
    return (
        np.where(np.isfinite(x), x, x.dtype.type(1)) % x.dtype.type(7)
        if (x.dtype.kind in "fiu")
        else np.where(np.isfinite(x), x, x.dtype.type(1))
    )


def casts(draw: Draw) -> Drawn:
    """Conversions between all dtypes, of numbers that both can hold."""
    x = array(draw, ALL, shape(draw))
    target = np.dtype(draw(st.sampled_from(ALL)))
    if target.kind in "iu":
        x = np.where(np.isfinite(x), x, x.dtype.type(1)).real
        x = np.clip(x, 0, 100) if x.dtype.kind != "b" else x
    if x.dtype.kind == "c" and target.kind not in "cb":
        x = x.real.copy()
    return Drawn(f"astype {target}", lambda x: x.astype(target), (x,))


FAMILIES = (
    elementwise,
    elementwise,
    reduction,
    cumulative,
    movement,
    indexing,
    masks,
    products,
    casts,
)


@st.composite
def call(draw: Draw) -> Drawn:
    """Any of the families."""
    return draw(st.sampled_from(range(len(FAMILIES))).map(lambda k: FAMILIES[k]))(draw)


assert TRACED.issuperset(np.dtype(t).char for t in ALL)
