"""Warnings come once for each cause, however often a function is compiled."""

import os
import subprocess
import sys
from pathlib import Path

import tracejit as tj

PROGRAM = """
import numpy as np
import tracejit as tj
from numpy import zeros

@tj.jit
def kept(x):
    return x + zeros(1)

given = tj.jit(lambda x: x.sum(), donate_argnums=0)
for n in (2, 3, 4, 4):
    kept(np.ones(n))
    given(np.ones(n))
"""


def test_each_cause_is_told_once(tmp_path):
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    env = {**os.environ, "PYTHONPATH": str(Path(tj.__file__).parent.parent)}
    words = [sys.executable, "-W", "default", str(path)]
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=True)
    told = [x for x in done.stderr.splitlines() if "Warning: " in x]
    assert told
    assert len(told) == len(set(told))
    assert sum("kept as a constant" in x for x in told) <= 1
