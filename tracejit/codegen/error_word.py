"""The error word: what native code returns, or stores, when it fails.

Zero is success. Otherwise the lowest byte is a code, and the number of the step stands
from bit `STEP_SHIFT` on. Between them an index out of range has the number of the load
in its kernel and the dimension, a call of the driver or of a library its result.
"""

INDEX_ERROR = 1
LINALG_ERROR = 2
HOST_ERROR = 3
ALIGNMENT_ERROR = 4
DRIVER_ERROR = 5
LIBRARY_ERROR = 6
CODE_SHIFT = 8  # of that result
STEP_SHIFT = 40
_NUMBER_SHIFT = 8
_DIMENSION_SHIFT = 32


def index_word(number: int, dimension: int) -> int:
    """Return the word, but for the step, of an index that is out of range.

    Parameters
    ----------
    number : int
        Of the load in its kernel.
    dimension : int
        Which axis of the array it indexes.
    """
    return INDEX_ERROR | number << _NUMBER_SHIFT | dimension << _DIMENSION_SHIFT


def index_place(word: int) -> tuple[int, int]:
    """Return the load and the dimension that `index_word` was given.

    Examples
    --------
    >>> index_place(index_word(7, 2))
    (7, 2)
    """
    return (word >> _NUMBER_SHIFT) & 0xFFFFFF, (word >> _DIMENSION_SHIFT) & 0xFF
