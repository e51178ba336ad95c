"""Arguments of many structures, and a function of them all, for tests of calls."""

import sys
from collections import namedtuple
from dataclasses import dataclass

import numpy as np

X = np.arange(6.0)
Pair = namedtuple("Pair", "left right")


@dataclass
class State:
    position: np.ndarray
    step: int


@dataclass
class Slotted:
    __slots__ = ("position",)
    position: np.ndarray


def total(tree):
    if isinstance(tree, dict):
        return total(list(tree.values()))
    if isinstance(tree, list | tuple):
        return sum(total(x) for x in tree)
    if isinstance(tree, State):
        return total(tree.position) + tree.step
    if isinstance(tree, Slotted):
        return total(tree.position)
    return 0 if tree is None or isinstance(tree, str) else np.sum(tree)


def total_of_call(*args, **kwargs):
    return total(args) + total(kwargs)


ARGUMENTS = [
    ((X,), {}),
    ((X, X + 1), {}),
    ((X[::2], X.reshape(2, 3).T, np.zeros(0), np.array(3.0)), {}),
    ((np.ones((2, 1, 3)), np.ones((2, 3))), {}),
    (({"a": X, "b": [X + 1, (X + 2, None)]}, "mode", True), {}),
    (({1: X, (2, 3): X + 1, None: X + 2, "x": {}},), {}),
    ((X,), {"y": X + 1, "z": 3.5}),
    ((Pair(X, {}), State(X, 3), ()), {}),
    ((Slotted(X), [Slotted(X + 1)]), {}),
    ((X, 0.5, 2j, 7, np.float32(2), np.int8(3), np.bool_(1), np.complex64(2j)), {}),
    ((X, X), {}),
    ((X, X + 1, X, [X]), {}),
    (tuple(X + k for k in range(40)), {}),
    (({f"layer{k}": X + k for k in range(300)},), {}),
]


def warm(f, *args, **kwargs):
    """Have the next call like this one go to machine code."""
    for _ in range(2):
        f(*args, **kwargs)
    assert f._chain, [g.refusal for g in f._guards]


def references(objects):
    """Return how many references there are to each of some objects."""
    return [sys.getrefcount(x) for x in objects]
