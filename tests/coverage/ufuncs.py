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
    "axes=",
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
# The same operands with their axes elsewhere, and where they are, and the result's.
AXES = {
    "matmul": [(0, 1), (1, 0), (1, 0)],
    "matvec": [(1, 0), (0,), (0,)],
    "vecmat": [(0,), (1, 0), (0,)],
    "vecdot": [(0,), (0,), ()],
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
    for dtype in KINDS:
        shapes = SHAPES.get(name, [(3, 4)] * ufunc.nin)
        made = tuple(operand(rng, dtype, shape) for shape in shapes)
        mask = operand(rng, "?")
        for form, function in _forms(ufunc, dtype).items():
            operands = (mask, *made) if form == "where=" else made
            yield Case(name, form, dtype, function, operands)


def _forms(ufunc: np.ufunc, dtype: str) -> dict[str, Function]:
    if ufunc.signature is not None:
        return _of_axes(ufunc, dtype)
    forms = _keywords(ufunc, dtype)
    if ufunc.nin == 2 and ufunc.nout == 1:
        forms |= _of_two(ufunc)
    elif ufunc.nin == 2:
        forms["outer"] = lambda x, y: ufunc.outer(x[0], y)
    elif ufunc.nout == 1:
        forms["at"] = lambda x: _at(ufunc, x, [0, 1, 0])
    return forms


def _keywords(ufunc: np.ufunc, dtype: str) -> dict[str, Function]:
    def results() -> tuple[np.ndarray, ...]:
        made = ufunc(*[np.ones(1, dtype)] * ufunc.nin)
        made = made if isinstance(made, tuple) else (made,)
        return tuple(np.zeros((3, 4), x.dtype) for x in made)

    wide = ("d" * ufunc.nin, "d" * ufunc.nout)
    return {
        "out=": lambda *xs: ufunc(*xs, out=results()),
        "where=": lambda mask, *xs: ufunc(*xs, out=results(), where=mask),
        "dtype=": lambda *xs: ufunc(*xs, dtype="d"),
        "dtype=(signature=)": lambda *xs: ufunc(*xs, signature="->".join(wide)),
        "dtype=(casting=)": lambda *xs: ufunc(*xs, dtype="d", casting="no"),
    }


def _of_axes(ufunc: np.ufunc, dtype: str) -> dict[str, Function]:
    """Ufuncs of vectors and matrices, which have no methods."""

    def result(*xs: Any) -> np.ndarray:
        made = ufunc(*(np.ones(x.shape, dtype) for x in xs))
        return np.zeros(made.shape, made.dtype)

    at = AXES[ufunc.__name__]
    forms: dict[str, Function] = {
        "out=": lambda *xs: ufunc(*xs, out=result(*xs)),
        "dtype=": lambda *xs: ufunc(*xs, dtype="D"),
        "axes=": lambda *xs: ufunc(*_moved(at, xs), axes=at),
    }
    if ufunc is np.vecdot:
        forms["axes=(axis=)"] = lambda *xs: ufunc(*xs, axis=0)
        forms["axes=(keepdims=)"] = lambda *xs: ufunc(*xs, keepdims=True)
    return forms


def _moved(axes: list[tuple[int, ...]], xs: tuple[Any, ...]) -> list[Any]:
    """Bring the last axes of each operand to where they are said to be."""
    pairs = zip(xs, axes, strict=False)
    return [np.moveaxis(x, tuple(range(-len(at), 0)), at) for x, at in pairs]


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
