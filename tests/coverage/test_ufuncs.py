"""Every ufunc on every dtype, and every method of each, as NumPy itself."""

from collections import defaultdict

import pytest

from tests.sampling import sampled

from . import ufuncs
from .measure import problems_of_ufuncs

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


@pytest.mark.parametrize("name", ufuncs.names())
def test_loops(name):
    found = problems_of_ufuncs([*ufuncs.calls(name)])
    assert found
    assert not {case: problem for case, problem in found.items() if problem}


@pytest.mark.parametrize("name", sampled(ufuncs.names(), 8))
def test_methods(name):
    forms = defaultdict(list)
    for case in ufuncs.methods(name):
        if (name, case.form) not in ufuncs.FAULTS:
            forms[case.form].append(case)
    found = {}
    for cases in forms.values():
        found |= problems_of_ufuncs(cases)
    assert not {case: problem for case, problem in found.items() if problem}
