"""Programs whose shapes take machine code apart: long sums, packed products, bounds.

Those of the tests are small; here are rows that threads share, leaves of summation
trees, panels of products, padding that loads must not read, positions out of range.
Needs to be called in a process with the bug in it.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import tracejit as tj
from tracejit.ir.graph import Graph

# Numbers between two halves: rounded to float32 first, they are halfway.
TIES = 1 + 2.0**-11 * np.array([1, 3, 5, 7]) + 2.0**-40 * np.array([1, -1, 1, -1])
Given = tuple[str, tuple[int, ...]]


def _padded(x):
    wide = np.pad(x, 2)
    return wide[:-4, 2:-2] + wide[4:, 2:-2] + wide[2:-2, :-4] + wide[2:-2, 4:]


def _softmax(axis: int | None) -> Callable[[Any], Any]:
    def softmax(x):
        e = np.exp(x - x.max(axis, keepdims=True))
        return e / e.sum(axis, keepdims=True)

    return softmax


def _slope_of_filters(x, w):
    return tj.grad(lambda w: np.sum(tj.nn.conv(x, w, groups=2) ** 2))(w)


CALLS: tuple[tuple[Callable[..., Any], tuple[Given, ...]], ...] = (
    (_padded, (("f4", (7, 18)),)),
    (lambda x, i: np.take(x, i, axis=1, mode="clip"), (("f4", (4, 5)), ("i8", (40,)))),
    (lambda x, i: np.take(x, i, axis=1, mode="wrap"), (("f4", (4, 5)), ("i8", (40,)))),
    (lambda x, i: x[i], (("f4", (4, 5)), ("i8", (40,)))),
    (lambda x, y: x[::-1] + y[:, ::-1], (("f4", (40, 50)), ("f4", (40, 50)))),
    (lambda x: x.sum(), (("f4", (40000,)),)),
    (lambda x: x.max(), (("f8", (40000,)),)),
    (lambda x: x.prod(), (("f8", (40000,)),)),
    (lambda x: x.argmax(), (("f8", (40000,)),)),
    (lambda x: np.tanh(x).max(), (("f8", (200000,)),)),
    (lambda x: x.sum(1), (("f4", (3, 9001)),)),
    (lambda x: x.sum(0), (("f4", (3001, 7)),)),
    (lambda x: x.sum((0, 2)), (("f4", (5, 70, 300)),)),
    (lambda x: x.T.argmax(), (("f4", (30, 50)),)),
    (lambda x: x.argmax(0), (("f4", (30, 50)),)),
    (lambda x: x + (x.sum(1) ** 2).sum(1)[:, None, None], (("f8", (5, 3, 20)),)),
    (lambda x: np.cumsum(x), (("f4", (9001,)),)),
    (lambda x: np.cumsum(x[:, ::-1], axis=1), (("f4", (3, 2001)),)),
    (lambda x: np.maximum.accumulate(x - 9), (("f4", (9001,)),)),
    (lambda x: np.minimum.accumulate(x + 9, axis=1), (("f8", (3, 200)),)),
    (_softmax(1), (("f4", (4, 1000)),)),
    (_softmax(0), (("f4", (400, 30)),)),
    (_softmax(None), (("f4", (70, 1031)),)),
    (lambda x, y, z: (x * y) * z, (("f2", (67,)),) * 3),
    (lambda x, y, z: x * y + z, (("f2", (67,)),) * 3),
    (lambda x, y: x @ y, (("f4", (70, 1041)), ("f4", (1041, 350)))),
    (lambda x, y: x @ y, (("f4", (701, 1041)), ("f4", (1041, 811)))),
    (lambda x, y: x.T @ y.T, (("f4", (1041, 270)), ("f4", (350, 1041)))),
    (lambda x, y: x @ y.T, (("f8", (35, 1041)), ("f8", (257, 1041)))),
    (lambda x, y: np.einsum("bij,bkj->bik", x, y), (("f4", (3, 37, 90)),) * 2),
    (lambda x, y: np.einsum("aibj,ajbk->abik", x, y), (("f4", (3, 35, 2, 35)),) * 2),
    (lambda x: np.linalg.qr(x)[1], (("f8", (9, 5)),)),
    (lambda x: np.log(np.exp(x).sum(1)), (("f4", (4, 6145)),)),
    (lambda x: x.var(1), (("f8", (4, 6145)),)),
    (lambda x: np.sort(x, 0), (("f4", (90, 50)),)),
    (lambda x: np.sort(x, 0)[40:42], (("i8", (90, 50)),)),
    (_slope_of_filters, (("f4", (1, 2, 150, 60)), ("f4", (2, 1, 3, 3)))),
    (_slope_of_filters, (("f8", (2, 2, 11, 37)), ("f8", (2, 1, 3, 5)))),
)


def graphs() -> Iterator[tuple[Graph, list[Any]]]:
    """Yield graphs, and inputs to run them on besides the samples."""
    half = tj.jit(lambda x: x.astype(np.float16))
    yield half.trace(TIES).graph, [[TIES]]
    for function, given in CALLS:
        ones = [np.ones(shape, dtype) for dtype, shape in given]
        yield tj.jit(function).trace(*ones).graph, []
