"""Is an output right? Compared with a float64 NumPy reference, leaf by leaf."""

import numpy as np

from .trees import named_leaves


class WrongResultError(Exception):
    """A contender's output differs from the reference."""


def largest_error(
    got: object,
    reference: object,
    dtype: np.dtype,
    outliers: float = 0.0,
    is_flat: bool = False,
) -> float:
    """Largest |got - reference| over the largest |reference|, over all leaves.

    Parameters
    ----------
    got : tree of arrays or scalars
        What the contender returned, as NumPy.
    reference : tree of float64 or integer arrays or scalars
        What it should have returned.
    dtype : dtype
        What every floating leaf of `got` must have; for integers, any width will do.
    outliers : float
        The share of elements of each leaf that is not looked at, the worst ones.
    is_flat : bool
        Whether `got` has arrays of one axis in place of any shape.

    Raises
    ------
    WrongResultError
        On another structure, shape or dtype.
    """
    expected, actual = dict(named_leaves(reference)), dict(named_leaves(got))
    if expected.keys() != actual.keys():
        raise WrongResultError(f"expected leaves {[*expected]}, got {[*actual]}")
    worst = 0.0
    for path, leaf in expected.items():
        want, have = np.asarray(leaf), np.asarray(actual[path])
        if is_flat and have.size == want.size:
            have = have.reshape(want.shape)
        _check_type(path, have, want, dtype)
        worst = max(worst, _leaf_error(have, want, outliers))
    return worst


def _check_type(
    path: str, got: np.ndarray, reference: np.ndarray, dtype: np.dtype
) -> None:
    is_integer = reference.dtype.kind in "biu"
    is_right = got.dtype.kind in "biu" if is_integer else got.dtype == dtype
    if got.shape != reference.shape or not is_right:
        wanted = "integers" if is_integer else dtype
        raise WrongResultError(
            f"{path}: expected {wanted}{list(reference.shape)}, "
            f"got {got.dtype}{list(got.shape)}"
        )


def _leaf_error(got: np.ndarray, reference: np.ndarray, outliers: float) -> float:
    if reference.size == 0:
        return 0.0
    away = np.abs(got.astype(np.float64) - reference).ravel()
    scale = float(np.max(np.abs(reference))) or 1.0
    away[np.isnan(away)] = np.inf
    kept = away.size - 1 - int(outliers * away.size)
    error = float(np.partition(away, kept)[kept] if outliers else np.max(away)) / scale
    return error if np.isfinite(error) else float("inf")
