"""Is an output right? Compared with a float64 NumPy reference, leaf by leaf."""

import numpy as np

from .trees import named_leaves


class WrongResultError(Exception):
    """A contender's output differs from the reference."""


def largest_error(got: object, reference: object, dtype: np.dtype) -> float:
    """Largest |got - reference| over the largest |reference|, over all leaves.

    Parameters
    ----------
    got : tree of arrays or scalars
        What the contender returned, as NumPy.
    reference : tree of float64 arrays or scalars
        What it should have returned.
    dtype : dtype
        What every leaf of `got` must have.

    Raises
    ------
    WrongResultError
        On another structure, shape or dtype.
    """
    expected, actual = dict(named_leaves(reference)), dict(named_leaves(got))
    if expected.keys() != actual.keys():
        raise WrongResultError(f"expected leaves {[*expected]}, got {[*actual]}")
    return max(
        _leaf_error(path, np.asarray(actual[path]), np.asarray(leaf), dtype)
        for path, leaf in expected.items()
    )


def _leaf_error(
    path: str, got: np.ndarray, reference: np.ndarray, dtype: np.dtype
) -> float:
    if (got.shape, got.dtype) != (reference.shape, dtype):
        raise WrongResultError(
            f"{path}: expected {dtype}{list(reference.shape)}, "
            f"got {got.dtype}{list(got.shape)}"
        )
    scale = float(np.max(np.abs(reference))) or 1.0
    error = float(np.max(np.abs(got - reference))) / scale
    return error if np.isfinite(error) else float("inf")
