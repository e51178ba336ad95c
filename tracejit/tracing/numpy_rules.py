"""The rules of all of NumPy, in one table that every trace is given."""

from . import creation, functions, indexing, python_scalars, ufunc_calls
from .rules import Rules

RULES = Rules(
    ufunc=ufunc_calls.dispatch,
    function=functions.dispatch,
    get=indexing.get,
    set_item=indexing.set_item,
    binary=python_scalars.binary,
    unary=python_scalars.unary,
    array_of=creation.array_of,
)
