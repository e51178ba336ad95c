"""`numpy.random` is not loaded for a trace, and raises in one that loads it first."""

import subprocess
import sys

import pytest

PROGRAM = """
import sys
import numpy as np, tracejit as tj

def by_attribute(x):
    return x + np.random.normal()

def by_module(x):
    import numpy.random as module
    return x + module.rand()

def by_name(x):
    from numpy import random
    return x + random.rand()

finders = len(sys.meta_path)
assert tj.jit(lambda x: x + 1)(np.ones(2)).sum() == 4
assert "numpy.random" not in sys.modules
for _ in range(2):
    try:
        tj.jit({name})(np.ones(3))
    except tj.errors.UnsupportedError as error:
        assert "would give the same numbers" in str(error)
    else:
        raise SystemExit("no error")
assert "numpy.random" in sys.modules
assert not hasattr(np.random.normal, "__wrapped__")
assert not hasattr(np.random.rand, "__wrapped__")
assert len(sys.meta_path) == finders
"""


@pytest.mark.parametrize("name", ["by_attribute", "by_module", "by_name"])
def test_first_import_within_a_trace(name: str) -> None:
    program = PROGRAM.replace("{name}", name)
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)
