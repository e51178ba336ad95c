"""Every ufunc on every dtype, and every method of each, as NumPy itself."""

import pytest

from tests.sampling import sampled

from . import ufuncs
from .measure import problem_of_ufunc

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


@pytest.mark.parametrize("name", ufuncs.names())
def test_loops(name):
    found = {str(case): problem_of_ufunc(case) for case in ufuncs.calls(name)}
    assert found
    assert not {case: problem for case, problem in found.items() if problem}


@pytest.mark.parametrize("name", sampled(ufuncs.names(), 2))
def test_methods(name):
    found = {
        str(case): problem_of_ufunc(case)
        for case in ufuncs.methods(name)
        if (name, case.form) not in ufuncs.FAULTS
    }
    assert not {case: problem for case, problem in found.items() if problem}
