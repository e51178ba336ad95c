"""Nested dicts, lists and tuples of arrays: map and flatten.

Own functions, so that the harness relies on none of the contenders.
"""

from collections.abc import Callable, Iterator

import numpy as np


def map_leaves(function: Callable, tree: object) -> object:
    """The same tree with `function` applied to each leaf."""
    if isinstance(tree, dict):
        return {key: map_leaves(function, value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)(map_leaves(function, value) for value in tree)
    return function(tree)


def map_arrays(function: Callable, tree: object) -> object:
    """The same tree with `function` applied to each ndarray, the rest untouched."""
    return map_leaves(
        lambda leaf: function(leaf) if isinstance(leaf, np.ndarray) else leaf, tree
    )


def named_leaves(tree: object, path: str = "out") -> Iterator[tuple[str, object]]:
    """Each leaf with where it stands, dicts in the order of their sorted keys."""
    if isinstance(tree, dict):
        for key in sorted(tree):
            yield from named_leaves(tree[key], f"{path}[{key!r}]")
    elif isinstance(tree, list | tuple):
        for index, value in enumerate(tree):
            yield from named_leaves(value, f"{path}[{index}]")
    else:
        yield path, tree


def as_float64(tree: object) -> object:
    """The same tree with every floating array in float64."""
    return map_arrays(
        lambda a: a.astype(np.float64) if a.dtype.kind == "f" else a, tree
    )
