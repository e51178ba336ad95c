"""The block function beside its published vectors; numbers that must not change."""

import numpy as np
import pytest

import tracejit as tj
from tracejit.random.threefry import threefry2x32

ONES = 0xFFFFFFFF
# Of Random123's kat_vectors: threefry2x32 with 20 rounds; counter, key, result.
NORMAL = [0.2566988, -2.4518595, 0.1956442]
KNOWN = [
    ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
    ((ONES, ONES), (ONES, ONES), (0x1CB996FC, 0xBB002BE7)),
    (
        (0x243F6A88, 0x85A308D3),
        (0x13198A2E, 0x03707344),
        (0xC4923A9C, 0x483DF7A0),
    ),
]


@pytest.mark.parametrize(("counter", "key", "result"), KNOWN)
@pytest.mark.parametrize("compiled", [False, True])
def test_known_answers(counter, key, result, compiled):
    words = [np.array([w], np.uint32) for w in (*key, *counter)]
    block = tj.jit(threefry2x32) if compiled else threefry2x32
    assert tuple(int(w[0]) for w in block(*words)) == result


def test_numbers_stay_what_they_are():
    """Programs that keep a seed keep their results."""
    key = tj.random.key(42)
    np.testing.assert_array_equal(
        tj.random.split(key),
        np.array([[1832780943, 270669613], [64467757, 2916123636]], np.uint32),
    )
    np.testing.assert_array_equal(
        tj.random.bits(key, (3,)), np.array([2098992034, 2919706841, 2646866425])
    )
    np.testing.assert_array_equal(
        tj.random.uniform(key, (3,), np.float32),
        np.array([4099593, 5702552, 5169660], np.float32) * np.float32(2.0**-23),
    )
    np.testing.assert_array_equal(
        tj.random.normal(key, (3,), np.float32), np.array(NORMAL, np.float32)
    )
