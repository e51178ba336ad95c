"""Threefry-2x32: a block cipher without secrets, which turns counters into bits.

Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011),
with its 20 rounds: two words of key and two of counter give two words of output. Needs
nothing but additions, shifts and exclusive ors of uint32, so that a kernel computes
the numbers where it uses them; docs/random.md compares it with Philox.
"""

from typing import Any

import numpy as np

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
PARITY = np.uint32(0x1BD11BDA)
GROUPS = 5  # of four rounds, with a part of the key added after each


def threefry2x32(k0: Any, k1: Any, x0: Any, x1: Any) -> tuple[Any, Any]:
    """Return the two words that the key makes of the counter.

    Parameters
    ----------
    k0, k1 : uint32 arrays or traced values
        The key.
    x0, x1 : uint32 arrays or traced values
        The counter, high word first. All four broadcast; sums wrap.

    Examples
    --------
    >>> zero = np.zeros(1, np.uint32)
    >>> [hex(int(x[0])) for x in threefry2x32(zero, zero, zero, zero)]
    ['0x6b200159', '0x99ba4efe']
    """
    keys = (k0, k1, k0 ^ k1 ^ PARITY)
    x0, x1 = x0 + keys[0], x1 + keys[1]
    for group in range(GROUPS):
        for bits in ROTATIONS[group % 2]:
            x0 = x0 + x1
            x1 = _rotated(x1, bits) ^ x0
        x0 = x0 + keys[(group + 1) % 3]
        x1 = x1 + (keys[(group + 2) % 3] + np.uint32(group + 1))
    return x0, x1


def _rotated(x: Any, bits: int) -> Any:
    return (x << np.uint32(bits)) | (x >> np.uint32(32 - bits))
