"""Nested containers: flattening arguments and results into leaves and back.

Containers are dicts, lists, tuples, namedtuples, dataclass instances and None; all else
is a leaf. A `TreeSpec` is hashable and takes part in cache keys.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import islice
from typing import Any

from ..records import dataclass

Leaf = object
Path = tuple[object, ...]


@dataclass(frozen=True)
class TreeSpec:
    """The shape of a nested container.

    Parameters
    ----------
    kind : type or None
        The container's type; None for a leaf.
    keys : tuple
        Dict keys, field names, or indices.
    children : tuple of TreeSpec
    """

    kind: type | None
    keys: tuple[object, ...] = ()
    children: tuple["TreeSpec", ...] = ()

    @property
    def size(self) -> int:
        """Number of leaves."""
        return 1 if self.kind is None else sum(c.size for c in self.children)

    @cached_property
    def is_flat(self) -> bool:
        """Whether it is a container of leaves alone."""
        return self.kind is not None and all(c.kind is None for c in self.children)


LEAF = TreeSpec(None)
NONE = TreeSpec(type(None))


def flatten(tree: object) -> tuple[list[Leaf], TreeSpec]:
    """Return the leaves of `tree`, depth first, and its spec.

    Examples
    --------
    >>> flatten({"a": 1, "b": [2, None]})[0]
    [1, 2]
    """
    leaves: list[Leaf] = []
    return leaves, _flatten(tree, leaves)


def _flatten(tree: object, leaves: list[Leaf]) -> TreeSpec:
    if tree is None:
        return NONE
    kind = type(tree)
    parts = parts_of(tree)
    if parts is None:
        leaves.append(tree)
        return LEAF
    keys, values = parts
    return TreeSpec(kind, keys, tuple([_flatten(v, leaves) for v in values]))


def parts_of(tree: Any) -> tuple[tuple[object, ...], tuple[object, ...]] | None:
    """Return keys and values of a container; None for a leaf."""
    kind = type(tree)
    if kind is dict:
        return tuple(tree.keys()), tuple(tree.values())
    if kind is list or kind is tuple:
        return tuple(range(len(tree))), tuple(tree)
    if isinstance(tree, tuple) and hasattr(kind, "_fields"):
        return kind._fields, tuple(tree)
    if dataclasses.is_dataclass(kind):
        names = tuple(f.name for f in dataclasses.fields(kind))
        return names, tuple(getattr(tree, n) for n in names)
    return None


def collect(spec: TreeSpec, tree: object, leaves: list[Leaf]) -> bool:
    """Append the leaves of `tree` and return True, if its containers are `spec`'s.

    What stands at a leaf is appended whatever it is.

    Examples
    --------
    >>> leaves = []
    >>> collect(flatten({"a": 1})[1], {"a": 2}, leaves), leaves
    (True, [2])
    >>> collect(flatten({"a": 1})[1], {"b": 2}, leaves)
    False
    """
    kind = spec.kind
    if kind is None:
        leaves.append(tree)
        return True
    if type(tree) is not kind:
        return False
    parts = parts_of(tree)
    if parts is None:
        return kind is type(None)
    keys, values = parts
    if keys != spec.keys:
        return False
    if spec.is_flat:
        leaves.extend(values)
        return True
    children = zip(spec.children, values, strict=True)
    return all(collect(child, value, leaves) for child, value in children)


class TreeMismatch(Exception):
    """Two trees differ in their containers.

    Parameters
    ----------
    path : tuple
        Where they do.
    expected, found : str
        What stands there, in words.
    """

    def __init__(self, path: Path, expected: str, found: str) -> None:
        super().__init__(f"{format_path(path)}: expected {expected}, found {found}")
        self.path = path
        self.expected = expected
        self.found = found


def leaves_like(spec: TreeSpec, tree: object, path: Path = ()) -> list[Leaf]:
    """Return the leaves of `tree` in the order of `spec`, whose containers it has.

    Dict keys may come in another order. What stands at a leaf may not be a container.

    Raises
    ------
    TreeMismatch

    Examples
    --------
    >>> leaves_like(flatten({"a": 1, "b": [2]})[1], {"b": [3], "a": 4})
    [4, 3]
    """
    kind = type(tree)
    parts = None if tree is None else parts_of(tree)
    if spec.kind is None:
        if tree is None or parts is not None:
            raise TreeMismatch(path, "a leaf", _describe(kind, parts))
        return [tree]
    expected = TreeMismatch(path, _describe(spec.kind, (spec.keys, ())), "")
    if kind is not spec.kind:
        expected.found = _describe(kind, parts)
        raise expected
    if parts is None:
        return []
    values = dict(zip(*parts, strict=True))
    if set(values) != set(spec.keys):
        expected.found = _describe(kind, parts)
        raise expected
    return [
        leaf
        for key, child in zip(spec.keys, spec.children, strict=True)
        for leaf in leaves_like(child, values[key], (*path, key))
    ]


def _describe(
    kind: type, parts: tuple[tuple[object, ...], tuple[object, ...]] | None
) -> str:
    if kind is type(None):
        return "None"
    if parts is None:
        return f"a leaf of type {kind.__name__}"
    if kind is dict:
        return f"a dict with keys {sorted(map(repr, parts[0]))}".replace('"', "")
    return f"a {kind.__name__} of {len(parts[0])}"


def unflatten(spec: TreeSpec, leaves: Iterable[Leaf]) -> Any:
    """Rebuild the container of `spec` from its leaves, in order."""
    return _unflatten(spec, iter(leaves))


def _unflatten(spec: TreeSpec, leaves: Iterator[Leaf]) -> Any:
    if spec.kind is None:
        return next(leaves)
    if spec.kind is type(None):
        return None
    if spec.is_flat:
        values: list[Any] = list(islice(leaves, len(spec.children)))
    else:
        values = [_unflatten(c, leaves) for c in spec.children]
    if spec.kind is dict:
        return dict(zip(spec.keys, values, strict=True))
    if spec.kind is list or spec.kind is tuple:
        return spec.kind(values)
    return maker_of(spec)(*values)


def maker_of(spec: TreeSpec) -> Callable[..., Any]:
    """Return what makes a namedtuple or a dataclass of its values, in order."""
    assert spec.kind is not None
    if issubclass(spec.kind, tuple):
        return spec.kind
    return lambda *values: _rebuild_dataclass(spec, values)


def _rebuild_dataclass(spec: TreeSpec, values: Sequence[object]) -> object:
    """Set the fields directly: `__init__` may take others, or have effects."""
    assert spec.kind is not None
    out: object = object.__new__(spec.kind)
    for name, value in zip(spec.keys, values, strict=True):
        object.__setattr__(out, str(name), value)
    return out


def paths(spec: TreeSpec, prefix: Path = ()) -> list[Path]:
    """Return the path of each leaf: the keys from the root to it."""
    if spec.kind is None:
        return [prefix]
    return [
        p
        for key, child in zip(spec.keys, spec.children, strict=True)
        for p in paths(child, (*prefix, key))
    ]


def format_path(path: Path, root: str = "") -> str:
    """Return a path as Python would write it: ``params['w'][0]``."""
    return root + "".join(f"[{key!r}]" for key in path)


def map_leaves(fn: Callable[[Leaf], Leaf], tree: object) -> Any:
    """Return `tree` with `fn` applied to each leaf."""
    leaves, spec = flatten(tree)
    return unflatten(spec, [fn(x) for x in leaves])
