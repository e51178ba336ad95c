"""Each call of `corners` under `jit` beside NumPy: results, arguments and errors."""

import numpy as np
import pytest

import tracejit as tj
from tests.sampling import sampled

from .corners import CALLS, arguments
from .measure import difference

ARGUMENTS = arguments()


def function_of(line):
    """The line as a function of the arguments: its last statement is what it gives."""
    *statements, last = line.split("; ")
    body = [*statements, last if last.startswith("return") else f"return {last}"]
    text = f"def f({', '.join(ARGUMENTS)}):\n    " + "\n    ".join(body)
    scope = {"np": np}
    exec(text, scope)
    return scope["f"]


def outcome(function):
    """What a call gives, or its error, and its arguments afterwards."""
    given = {k: np.copy(a) if np.ndim(a) else a for k, a in ARGUMENTS.items()}
    try:
        return function(**given), None, given
    except Exception as error:
        return None, error, given


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("line", sampled(CALLS, 2))
def test_as_in_numpy(line):
    function = function_of(line)
    want, refused, after = outcome(function)
    got, error, given = outcome(tj.jit(function))
    if refused is not None:
        assert isinstance(error, type(refused)), error
        return
    assert error is None, error
    assert difference(got, want) == ""
    assert difference(list(given.values()), list(after.values())) == ""
