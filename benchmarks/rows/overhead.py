"""Calls whose work is nothing: what remains is the cost of a call."""

from ..row import Row
from .inputs import normal


def add_one(x):
    return x + 1


def sum_all(*arrays):
    total = arrays[0]
    for array in arrays[1:]:
        total = total + array
    return total


def add_one_each(arrays):
    return {name: array + 1 for name, array in arrays.items()}


def row(name: str, function, make_inputs, operations: int, arrays: int) -> Row:
    """A row whose program is the same text for every library."""
    return Row(
        name=name,
        make_inputs=make_inputs,
        numpy_fn=function,
        jax_fn=lambda jax: function,
        torch_fn=lambda torch: function,
        flops=8 * operations,
        bytes=32 * arrays,
    )


ROWS = [
    row("add_one_8", add_one, lambda rng: (normal(rng, 8),), 1, 2),
    row(
        "sum_20_inputs",
        sum_all,
        lambda rng: tuple(normal(rng, 8) for _ in range(20)),
        19,
        21,
    ),
    row(
        "dict_of_100",
        add_one_each,
        lambda rng: ({f"layer{i}": normal(rng, 8) for i in range(100)},),
        100,
        200,
    ),
]
