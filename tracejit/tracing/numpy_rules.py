"""The rules of all of NumPy, in one table that every trace is given."""

from . import creation, indexing, numpys_own, python_scalars, ufunc_calls
from .rules import Rules

RULES = Rules(
    ufunc=ufunc_calls.dispatch,
    function=numpys_own.dispatch,
    plain=numpys_own.dispatch_plain,
    get=indexing.get,
    set_item=indexing.set_item,
    binary=python_scalars.binary,
    unary=python_scalars.unary,
    array_of=creation.array_of,
)
