"""Every public function of NumPy traces, or has a reason not to."""

import numpy as np
import pytest

from . import samples
from .measure import problem_of

PARTS = {
    "numpy": (samples.NUMPY, np),
    "linalg": (samples.LINALG, np.linalg),
    "fft": (samples.FFT, np.fft),
}
EXPRESSIONS = [
    expression
    for text in (samples.NUMPY, samples.LINALG, samples.FFT, samples.METHODS)
    for expressions in samples.table(text).values()
    for expression in expressions
]
FORMS = [e for es in samples.table(samples.INDEXING).values() for e in es]
ARGUMENTS = samples.arguments()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.filterwarnings("ignore:numpy.* is deprecated:DeprecationWarning")
@pytest.mark.parametrize("expression", [*dict.fromkeys(EXPRESSIONS), *FORMS])
def test_traced_as_in_numpy(expression):
    assert problem_of(expression, ARGUMENTS) == ""


@pytest.mark.parametrize("part", PARTS)
def test_every_function_has_a_sample_or_a_reason(part):
    text, module = PARTS[part]
    names = set(samples.public(module))
    missing = names - set(samples.table(text)) - set(samples.REASONS)
    assert not missing


def test_every_method_has_a_sample_or_a_reason():
    names = {n for n in dir(np.ndarray) if not n.startswith("_")}
    names = {n for n in names if hasattr(np.ones((1, 1)), n)}  # others are gone by now
    names -= {"tostring"}  # an old name of `tobytes`
    known = set(samples.table(samples.METHODS)) | set(samples.METHOD_REASONS)
    assert not names - known
