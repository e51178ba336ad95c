"""Keys, bits and uniform numbers are JAX's, where that is installed (extra `bench`).

JAX runs in a process of its own: once it has threads, other tests cannot fork.
"""

import importlib.util
import os
import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest

import tracejit as tj

R = tj.random
SEEDS = [0, 42, -1, 2**40 + 3]
UNSIGNED = ["uint8", "uint16", "uint32", "uint64"]
FLOATS = ["float64", "float32", "float16", "bfloat16"]
BIG = "(3, 70)"
# Expressions of a module `r` and keys `k[seed]`; ours and theirs are written alike.
CALLS = [
    *(f"r.split(k[{s}])" for s in SEEDS),
    *(f"r.split(k[{s}], (2, 3))" for s in SEEDS),
    *(f"r.fold_in(k[{s}], 12)" for s in SEEDS),
    *(f"r.bits(k[42], {BIG}, dtype({d!r}))" for d in UNSIGNED),
    *(f"r.uniform(k[42], {BIG}, dtype({d!r}))" for d in FLOATS),
    "r.bernoulli(k[42], np.float32(0.3), (1000,))",
    "r.bernoulli(k[42], np.float64(0.3), (1000,))",
]
SCRIPT = """
import sys
import jax, ml_dtypes, numpy as np
jax.config.update("jax_enable_x64", True)
dtype, r = np.dtype, jax.random
seeds, calls = eval(sys.argv[1])
k = {s: r.PRNGKey(s) for s in seeds}
found = [np.asarray(k[s]) for s in seeds] + [np.asarray(eval(c)) for c in calls]
narrow = [x.view(np.uint16) if x.dtype == ml_dtypes.bfloat16 else x for x in found]
np.savez(sys.argv[2], *narrow)
"""


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    if importlib.util.find_spec("jax") is None:
        pytest.skip("JAX is not installed")
    path = tmp_path_factory.mktemp("jax") / "numbers.npz"
    subprocess.run(
        [sys.executable, "-c", SCRIPT, repr((SEEDS, CALLS)), str(path)],
        check=True,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
    )
    with np.load(path) as file:
        arrays = [file[f"arr_{i}"] for i in range(len(SEEDS) + len(CALLS))]
    return dict(zip([*SEEDS, *CALLS], arrays, strict=True))


@pytest.mark.parametrize("seed", SEEDS)
def test_keys(theirs, seed):
    np.testing.assert_array_equal(R.key(seed), theirs[seed], strict=True)


@pytest.mark.parametrize("call", CALLS)
def test_numbers(theirs, call):
    keys = {s: R.key(s) for s in SEEDS}
    got = eval(call, {"r": R, "k": keys, "np": np, "dtype": np.dtype})
    if got.dtype == ml_dtypes.bfloat16:
        got = got.view(np.uint16)
    np.testing.assert_array_equal(got, theirs[call], strict=True)
