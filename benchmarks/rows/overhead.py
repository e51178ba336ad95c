"""Calls whose work is nothing: what remains is the cost of a call."""

import numpy as np

from ..row import Row
from .inputs import normal


def add_one(x):
    return x + 1


def add_one_numba(numba):
    one = np.float32(1)
    return numba.njit(lambda x: x + one)


def sum_all(*arrays):
    total = arrays[0]
    for array in arrays[1:]:
        total = total + array
    return total


def sum_all_numba(numba):
    """Numba has no loops over arguments: the sum is written out."""
    names = [f"a{i}" for i in range(20)]
    text = f"def sum_all({', '.join(names)}):\n    return {' + '.join(names)}"
    scope = {}
    exec(text, scope)
    return numba.njit(scope["sum_all"])


def add_one_each(arrays):
    return {name: array + 1 for name, array in arrays.items()}


def row(name: str, function, make_inputs, operations: int, arrays: int, **twins) -> Row:
    """A row whose program is the same text for every library."""
    return Row(
        name=name,
        make_inputs=make_inputs,
        numpy_fn=function,
        jax_fn=lambda jax: function,
        torch_fn=lambda torch: function,
        flops=8 * operations,
        bytes=32 * arrays,
        **twins,
    )


ROWS = [
    row(
        "add_one_8",
        add_one,
        lambda rng: (normal(rng, 8),),
        operations=1,
        arrays=2,
        numba_fn=add_one_numba,
        drjit_fn=lambda dr: add_one,
    ),
    row(
        "sum_20_inputs",
        sum_all,
        lambda rng: tuple(normal(rng, 8) for _ in range(20)),
        operations=19,
        arrays=21,
        numba_fn=sum_all_numba,
        drjit_fn=lambda dr: sum_all,
    ),
    row(
        "dict_of_100",
        add_one_each,
        lambda rng: ({f"layer{i}": normal(rng, 8) for i in range(100)},),
        operations=100,
        arrays=200,
    ),
]
