"""Nested dicts, lists and tuples of arrays: map and flatten.

Own functions, so that the harness relies on none of the contenders.
"""

from collections.abc import Callable, Iterator

import numpy as np


def map_leaves(function: Callable, tree: object, *others: object) -> object:
    """The same tree with `function` applied to each leaf, and to those of `others`."""
    if isinstance(tree, dict):
        return {
            key: map_leaves(function, value, *(other[key] for other in others))
            for key, value in tree.items()
        }
    if isinstance(tree, list | tuple):
        parts = zip(tree, *others, strict=True)
        return type(tree)(map_leaves(function, *part) for part in parts)
    return function(tree, *others)


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


def leaves(tree: object) -> list:
    """The leaves, in the order of `named_leaves`."""
    return [leaf for _, leaf in named_leaves(tree)]


def rebuilt(tree: object, flat: Iterator) -> object:
    """The same tree with its leaves replaced, in the order of `leaves`."""
    if isinstance(tree, dict):
        new = {key: rebuilt(tree[key], flat) for key in sorted(tree)}
        return {key: new[key] for key in tree}
    if isinstance(tree, list | tuple):
        return type(tree)(rebuilt(part, flat) for part in tree)
    return next(flat)


def cast_floats(tree: object, dtype: np.dtype) -> object:
    """The same tree with every float32 array in `dtype`, the others untouched."""
    is_float32 = np.dtype(np.float32).__eq__
    return map_arrays(lambda a: a.astype(dtype) if is_float32(a.dtype) else a, tree)


def as_float64(tree: object) -> object:
    """The same tree with every floating array in float64, custom ones too."""
    return map_arrays(
        lambda a: a if a.dtype.kind in "biu" else a.astype(np.float64), tree
    )
