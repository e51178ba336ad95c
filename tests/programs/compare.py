"""Compare two runs of a program: structure, dtypes, values, memory.

Independent of tracejit, so that a mistake in its trees cannot hide itself.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np

from .program import Arguments

Leaf = tuple[str, object]


def leaves(value: object, path: str = "") -> Iterator[Leaf]:
    """Flatten nested containers to (path, leaf) pairs in order.

    A path names each container's type, so equal paths mean equal structure; an empty
    container yields itself.
    """
    kind = type(value).__name__
    if isinstance(value, dict):
        children = [(repr(k), v) for k, v in value.items()]
    elif isinstance(value, list | tuple):
        children = [(str(i), v) for i, v in enumerate(value)]
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [f.name for f in dataclasses.fields(value)]
        children = [(name, getattr(value, name)) for name in names]
    else:
        children = []
    if not children:
        yield path, value
    for key, child in children:
        yield from leaves(child, f"{path}/{kind}:{key}")


def relative_error(got: object, want: object) -> float:
    """Largest deviation relative to the largest magnitude in `want`.

    Zero for equal values (NaN equals NaN, inf equals inf); infinite where only one of
    the two is finite. Booleans, integers and other objects count as equal or not.
    """
    got_a, want_a = np.asarray(got), np.asarray(want)
    if want_a.dtype.kind not in "fc":
        return 0.0 if np.array_equal(got_a, want_a) else np.inf
    same = (got_a == want_a) | (np.isnan(got_a) & np.isnan(want_a))
    if same.all():
        return 0.0
    finite = np.isfinite(want_a)
    if not (np.isfinite(got_a) & finite)[~same].all():
        return np.inf
    wide = np.result_type(got_a, want_a, np.float64)
    deviation = np.abs(got_a[~same].astype(wide) - want_a[~same]).max()
    magnitude = np.abs(want_a[finite].astype(wide)).max()
    return float(deviation / magnitude) if magnitude > 0 else np.inf


def worst_error(got: object, want: object) -> float:
    """The largest `relative_error` over the leaves of two equal structures."""
    pairs = zip(leaves(got), leaves(want), strict=True)
    return max((relative_error(g, w) for (_, g), (_, w) in pairs), default=0.0)


def assert_same(got: object, want: object, rtol: float, what: str) -> None:
    """Fail unless structure, leaf types, dtypes, shapes and values agree."""
    got_leaves, want_leaves = list(leaves(got)), list(leaves(want))
    assert [p for p, _ in got_leaves] == [p for p, _ in want_leaves], what
    for (path, g), (_, w) in zip(got_leaves, want_leaves, strict=True):
        where = f"{what}{path}"
        assert type(g) is type(w), f"{where}: {type(g)}, expected {type(w)}"
        if isinstance(w, np.ndarray | np.generic):
            assert g.dtype == w.dtype, f"{where}: {g.dtype}, expected {w.dtype}"
            assert g.shape == w.shape, f"{where}: {g.shape}, expected {w.shape}"
        error = relative_error(g, w)
        message = f"{where}: relative error {error:.3g} > {rtol:.3g}\n{g!r}\n{w!r}"
        assert error <= rtol, message


def memory_relations(result: object, call: Arguments) -> dict[str, object]:
    """How each array of the result lies in each array argument.

    Maps "result path, argument path" to None (no common memory), "same object", or
    the (byte offset, strides) of the result within the argument.
    """
    arrays = [(p, a) for p, a in leaves(result) if isinstance(a, np.ndarray)]
    inputs = [
        (p, a) for p, a in leaves((call.args, call.kwargs)) if isinstance(a, np.ndarray)
    ]
    return {f"{p}, {q}": lies_in(a, b) for p, a in arrays for q, b in inputs}


def lies_in(a: np.ndarray, b: np.ndarray) -> object:
    """None, "same object", or where `a` lies in `b`."""
    if a is b:
        return "same object"
    if not np.shares_memory(a, b):
        return None
    start = [x.__array_interface__["data"][0] for x in (a, b)]
    return start[0] - start[1], a.strides
