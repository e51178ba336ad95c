"""Tables of vectors, looked up by number."""

from typing import Any

from ..errors import DTypeError
from ..tracing.source import user_line
from .arguments import mistake
from .operands import operand


def embedding(table: Any, ids: Any) -> Any:
    """Return the rows of a table that have the given numbers.

    Parameters
    ----------
    table : array_like, (rows, *width)
    ids : array_like of int, (*lead)
        From 0, or from the end where they are negative.

    Returns
    -------
    array, (*lead, *width)
        Its gradient adds up, for each row, what was asked of it.

    Raises
    ------
    IndexError
        For a number that is no row, also at run time.
    DTypeError
        If `ids` are not integers.

    Examples
    --------
    >>> import numpy as np
    >>> embedding(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([1, 1]))
    array([[3., 4.],
           [3., 4.]])
    """
    table, ids = operand(table), operand(ids)
    if ids.dtype.kind not in "iu":
        raise DTypeError(
            f"embedding: the ids are {ids.dtype}, expected integers",
            source=user_line(),
            hint="ids.astype(np.int64)",
        )
    if not table.ndim:
        raise mistake("embedding: the table is one number, not rows")
    return table[ids]
