"""Values for the inputs of a graph, when a command runs it that was told types alone.

Needs avals. Establishes `sample_inputs`: the same values for the same seed, of sizes
that neither overflow nor vanish in a model's arithmetic.
"""

from collections.abc import Iterator, Sequence

import ml_dtypes
import numpy as np

from ..ir import dtypes as dt
from ..ir.aval import ShapedArray

INTEGERS = 4  # below the length of most axes, as integers often are indices


def sample_inputs(avals: Sequence[ShapedArray], seed: int = 0) -> list[np.ndarray]:
    """Return an array for each aval.

    Parameters
    ----------
    avals : sequence of ShapedArray
    seed : int

    Returns
    -------
    list of numpy.ndarray
        C-contiguous. Floats and both parts of complex numbers are normal, integers are
        from 0 to 3, booleans are drawn evenly.

    Examples
    --------
    >>> [x] = sample_inputs([ShapedArray((2, 3), np.dtype("float32"))])
    >>> x.shape, x.dtype
    ((2, 3), dtype('float32'))
    """
    rng = np.random.default_rng(seed)
    return [_sample(aval, rng) for aval in avals]


def _sample(aval: ShapedArray, rng: np.random.Generator) -> np.ndarray:
    if aval.dtype == dt.BOOL:
        return rng.integers(0, 2, aval.shape).astype(bool)
    if aval.dtype.kind in "iu":
        return rng.integers(0, INTEGERS, aval.shape).astype(aval.dtype)
    values = rng.standard_normal(aval.shape)
    if aval.dtype.kind == "c":
        values = values + 1j * rng.standard_normal(aval.shape)
    return np.asarray(values, aval.dtype)  # halves and float8 too


# --- several samples, to compare ways of computing a graph ------------------------

SPECIAL = (np.nan, np.inf, -np.inf, -0.0, 0.0, 1.0, -1.0)
SPECIAL_SHARE = 0.4  # of the elements of an array of special values


def varied_inputs(
    avals: Sequence[ShapedArray], seed: int = 0
) -> Iterator[tuple[str, list[np.ndarray]]]:
    """Yield samples of several kinds, with the name of each.

    Parameters
    ----------
    avals : sequence of ShapedArray
    seed : int

    Yields
    ------
    (str, list of numpy.ndarray)
        ``normal`` as `sample_inputs`; ``positive`` with numbers from 0.5 to 1.5, square
        matrices among them symmetric and positive definite, and integers 0 and 1;
        ``special`` with NaN, infinities, zeros of both signs, subnormal numbers and the
        largest ones among normal ones, and integers that are extreme.

    Examples
    --------
    >>> aval = ShapedArray((2, 3), np.dtype("float32"))
    >>> [name for name, _ in varied_inputs([aval])]
    ['normal', 'positive', 'special']
    """
    yield "normal", sample_inputs(avals, seed)
    rng = np.random.default_rng((seed, 1))
    yield "positive", [_positive(aval, rng) for aval in avals]
    rng = np.random.default_rng((seed, 2))
    yield "special", [_special(aval, rng) for aval in avals]


def _positive(aval: ShapedArray, rng: np.random.Generator) -> np.ndarray:
    if aval.dtype not in dt.INEXACT:
        return rng.integers(0, 2, aval.shape).astype(aval.dtype)
    values = rng.uniform(0.5, 1.5, aval.shape)
    if aval.ndim > 1 and aval.shape[-1] == aval.shape[-2]:
        turned = np.swapaxes(values, -1, -2)
        values = (values + turned) / 2 + 2 * aval.shape[-1] * np.eye(aval.shape[-1])
    return np.asarray(values, aval.dtype)


def _special(aval: ShapedArray, rng: np.random.Generator) -> np.ndarray:
    values = _sample(aval, rng)
    if aval.dtype not in dt.FLOATS:
        return values if aval.dtype not in dt.INTEGERS else _extreme(values, rng)
    finfo = (ml_dtypes if aval.dtype in dt.OF_ML_DTYPES else np).finfo(aval.dtype)
    largest, least = float(finfo.max), float(finfo.smallest_subnormal)
    chosen = [*SPECIAL, largest, -largest, least, -least, float(finfo.tiny)]
    with np.errstate(all="ignore"):
        odd = rng.choice(chosen, aval.shape).astype(aval.dtype)
    is_odd = rng.random(aval.shape) < SPECIAL_SHARE
    return np.asarray(np.where(is_odd, odd, values)).astype(aval.dtype)


def _extreme(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    limits = np.iinfo(values.dtype)
    odd = rng.choice(
        np.asarray([limits.min, limits.max, 0], values.dtype), values.shape
    )
    is_odd = rng.random(values.shape) < SPECIAL_SHARE
    return np.asarray(np.where(is_odd, odd, values)).astype(values.dtype)
