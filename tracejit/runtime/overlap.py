"""Whether arrays that a call writes share memory with others it uses.

By the bounds of their memory, as `np.may_share_memory`, but in one sweep over all
arrays of a call instead of one test per pair.
"""

from collections.abc import Iterable

import numpy as np

Span = tuple[int, int, bool]  # first byte, end, whether it is written


def byte_range(array: np.ndarray) -> tuple[int, int]:
    """Return the first and end byte of an array, counted from its first element.

    Examples
    --------
    >>> byte_range(np.arange(4.0)[::-1])
    (-24, 8)
    """
    if not array.size:
        return 0, 0
    steps = zip(array.shape, array.strides, strict=True)
    reach = [(n - 1) * step for n, step in steps]
    return sum(r for r in reach if r < 0), array.itemsize + sum(
        r for r in reach if r > 0
    )


def has_hazard(spans: Iterable[Span]) -> bool:
    """Tell whether a span that is written overlaps any other.

    Examples
    --------
    >>> has_hazard([(0, 8, False), (4, 12, False)])
    False
    >>> has_hazard([(0, 8, False), (4, 12, True)])
    True
    """
    end = written_end = -1
    for first, stop, written in sorted(spans):
        if first == stop:
            continue
        if first < written_end or (written and first < end):
            return True
        end = max(end, stop)
        if written:
            written_end = max(written_end, stop)
    return False
