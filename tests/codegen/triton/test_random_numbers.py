"""Random numbers in Triton's interpreter: to the bit those of compiled CPU code."""

import numpy as np
import pytest

import tracejit as tj
from tracejit.codegen.triton.emit import emit_kernel

from .running import outputs_by_triton, runs_of

KEY = tj.random.key(5)
R = tj.random
DRAWS = {
    "bits": lambda k: R.bits(k, (3, 50)),
    "uniform": lambda k: R.uniform(k, (150,), np.float32),
    "uniform64": lambda k: R.uniform(k, (150,)),
    "bernoulli": lambda k: R.bernoulli(k, 0.3, (150,)),
    "randint": lambda k: R.randint(k, (150,), -5, 20),
    "randint_wide": lambda k: R.randint(k, (50,), -(2**60), 2**61),
    "normal": lambda k: R.normal(k, (150,), np.float32),
    "normal64": lambda k: R.normal(k, (150,)),
    "exponential": lambda k: R.exponential(k, (150,), np.float32),
    "gumbel": lambda k: R.gumbel(k, (150,), np.float32),
    "laplace": lambda k: R.laplace(k, (150,)),
}


@pytest.mark.parametrize("name", DRAWS)
def test_same_bits(interpreter, name):
    fn = DRAWS[name]
    ((kernel, schedule),) = runs_of(fn, KEY)
    emitted = emit_kernel(kernel, schedule)
    (found,), error = outputs_by_triton(interpreter, emitted, kernel, [KEY])
    assert not error.any()
    np.testing.assert_array_equal(found.reshape(-1), fn(KEY).reshape(-1), strict=True)
