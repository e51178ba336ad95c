"""Calls of every ufunc and its methods, made from its signatures."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

Function = Callable[..., Any]
# Characters of the dtypes that are numbers here.
TRACED = frozenset("?bBhHiIlLqQefdFD")
KINDS = "dl?"
METHODS = (
    "out=",
    "where=",
    "dtype=",
    "reduce",
    "accumulate",
    "reduceat",
    "outer",
    "at",
)
SHAPES = {
    "matmul": [(3, 4), (4, 2)],
    "matvec": [(3, 4), (4,)],
    "vecmat": [(3,), (3, 4)],
    "vecdot": [(3, 4), (3, 4)],
}


@dataclass(frozen=True)
class Case:
    """A call of a ufunc: of what form, on which dtypes, of which operands."""

    ufunc: str
    form: str
    dtypes: str
    function: Function
    operands: tuple[np.ndarray, ...]

    def __str__(self) -> str:
        return f"{self.ufunc} {self.form} {self.dtypes}"


def names() -> list[str]:
    """Public names of ufuncs of numbers."""
    return [n for n in dir(np) if isinstance(getattr(np, n), np.ufunc) and n != "isnat"]


def operand(
    rng: np.random.Generator, dtype: str, shape: tuple[int, ...] = (3, 4)
) -> np.ndarray:
    """Numbers that most functions are defined for."""
    kind = np.dtype(dtype).kind
    if kind == "b":
        return rng.uniform(size=shape) > 0.5
    if kind in "iu":
        return rng.integers(1, 5, shape).astype(dtype)
    x = rng.uniform(0.1, 0.9, shape)
    return (x + 1j * rng.uniform(0.1, 0.9, shape) if kind == "c" else x).astype(dtype)


def calls(name: str) -> Iterator[Case]:
    """One call for each loop of the ufunc that takes and gives numbers."""
    ufunc, rng = getattr(np, name), np.random.default_rng(1)
    shapes = SHAPES.get(name, [(3, 4)] * ufunc.nin)
    for loop in dict.fromkeys(ufunc.types):
        operands, _, results = loop.partition("->")
        if TRACED.issuperset(operands + results):
            pairs = zip(operands, shapes, strict=True)
            made = tuple(operand(rng, dtype, shape) for dtype, shape in pairs)
            yield Case(name, "call", loop, ufunc.__call__, made)


def methods(name: str) -> Iterator[Case]:
    """Each method and keyword on floats, integers and truths, where NumPy has it."""
    ufunc, rng = getattr(np, name), np.random.default_rng(2)
    if ufunc.signature is not None:
        return
    for dtype in KINDS:
        made = tuple(operand(rng, dtype) for _ in range(ufunc.nin))
        mask = operand(rng, "?")
        for form, function in _forms(ufunc, dtype).items():
            operands = (mask, *made) if form == "where=" else made
            yield Case(name, form, dtype, function, operands)


def _forms(ufunc: np.ufunc, dtype: str) -> dict[str, Function]:
    forms = {}
    if ufunc.nout == 1:
        forms |= _keywords(ufunc, dtype)
    if ufunc.nin == 2 and ufunc.nout == 1:
        forms |= _of_two(ufunc)
    elif ufunc.nin == 1 and ufunc.nout == 1:
        forms["at"] = lambda x: _at(ufunc, x, [0, 1, 0])
    return forms


def _keywords(ufunc: np.ufunc, dtype: str) -> dict[str, Function]:
    def result() -> np.ndarray:
        one = np.ones(1, dtype)
        return np.zeros((3, 4), ufunc(*[one] * ufunc.nin).dtype)

    return {
        "out=": lambda *xs: ufunc(*xs, out=result()),
        "where=": lambda mask, *xs: ufunc(*xs, out=result(), where=mask),
        "dtype=": lambda *xs: ufunc(*xs, dtype="d"),
    }


def _of_two(ufunc: np.ufunc) -> dict[str, Function]:
    return {
        "reduce": lambda x, y: ufunc.reduce(x, axis=1),
        "reduce(axis=(0, 1))": lambda x, y: ufunc.reduce(x, axis=(0, 1), keepdims=True),
        "reduce(initial=)": lambda x, y: ufunc.reduce(x, axis=0, initial=y[0, 0]),
        "reduce(where=)": lambda x, y: ufunc.reduce(
            x, axis=0, initial=y[0, 0], where=x > 0.5
        ),
        "accumulate": lambda x, y: ufunc.accumulate(x, axis=1),
        "reduceat": lambda x, y: ufunc.reduceat(x, [0, 2, 1], axis=1),
        "outer": lambda x, y: ufunc.outer(x[0], y),
        "at": lambda x, y: _at(ufunc, x, ([0, 1, 0], [1, 1, 1]), y[0, :3]),
    }


def _at(ufunc: np.ufunc, x: Any, at: Any, *values: Any) -> Any:
    x = x.copy()
    ufunc.at(x, at, *values)
    return x


# What NumPy computes otherwise itself: (ufunc, form) to why it is not followed.
FAULTS = {
    (name, form): "NumPy's vector loops reduce to other numbers than they accumulate to"
    for name in ("arctan2", "atan2", "power", "pow")
    for form in ("reduce", "reduceat")
} | {
    ("reciprocal", "at"): "the reciprocal of the integer 0 is undefined",
    ("ldexp", "reduce"): "NumPy shifts truths into float16",
    ("ldexp", "reduce(initial=)"): "NumPy shifts truths into float16",
    ("ldexp", "reduce(where=)"): "NumPy shifts truths into float16",
}
