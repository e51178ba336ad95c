"""Containers of arguments that a function changed: noted in a trace, changed in calls.

A traced function is given copies of the dicts, lists and dataclass instances of its
arguments. What it did to them (``params["w"] = ...``, ``history.append(x)``) is
compared with how they were, and each call does the same to the caller's containers.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import TraceError
from ..records import dataclass
from .tree import Path, format_path, parts_of


@dataclass(frozen=True)
class Kept:
    """An object that stood in the arguments before, at `path`."""

    path: Path


@dataclass(frozen=True)
class Made:
    """An entry that the function made: number `index` of all such."""

    index: int


@dataclass(frozen=True)
class Change:
    """What a container holds after the call.

    Parameters
    ----------
    path : tuple
        Keys from ``(args, kwargs)`` to the container.
    entries : tuple of (key, Kept or Made)
        In order.
    """

    path: Path
    entries: tuple[tuple[object, Kept | Made], ...]


@dataclass(frozen=True)
class Watched:
    """A container as it was before the function ran."""

    path: Path
    container: Any
    keys: tuple[object, ...]
    values: tuple[object, ...]


def watch(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Watched]:
    """Return the mutable containers in the arguments of a function."""
    found: list[Watched] = []
    for i, tree in enumerate(args):
        _watch(tree, (0, i), found)
    for name, tree in kwargs.items():
        _watch(tree, (1, name), found)
    return found


def _watch(tree: Any, path: Path, found: list[Watched]) -> None:
    parts = None if tree is None else parts_of(tree)
    if parts is None:
        return
    keys, values = parts
    if _is_mutable(tree):
        found.append(Watched(path, tree, keys, values))
    for key, value in zip(keys, values, strict=True):
        _watch(value, (*path, key), found)


def _is_mutable(tree: object) -> bool:
    return type(tree) in (dict, list) or dataclasses.is_dataclass(tree)


def changes_of(watched: Sequence[Watched]) -> tuple[tuple[Change, ...], list[Any]]:
    """Return what has changed since `watch`, and the entries that were made.

    Raises
    ------
    TraceError
        When a container of the arguments was put into another one.
    """
    containers = {id(w.container): w.path for w in watched}
    made: list[Any] = []
    changes = []
    for before in watched:
        parts = parts_of(before.container)
        assert parts is not None
        keys, values = parts
        same = len(values) == len(before.values) and keys == before.keys
        if same and all(map(_is, values, before.values)):
            continue
        entries: list[tuple[object, Kept | Made]] = []
        old = {id(v): k for k, v in zip(before.keys, before.values, strict=True)}
        for key, value in zip(keys, values, strict=True):
            if id(value) in old:
                entries.append((key, Kept((*before.path, old[id(value)]))))
            elif id(value) in containers:
                entries.append((key, Kept(containers[id(value)])))
            else:
                _check_new(value, (*before.path, key), containers)
                entries.append((key, Made(len(made))))
                made.append(value)
        changes.append(Change(before.path, tuple(entries)))
    return tuple(changes), made


def _is(x: object, y: object) -> bool:
    return x is y


def _check_new(value: Any, path: Path, containers: Mapping[int, Path]) -> None:
    """Raise when a new entry has a container of the arguments inside of it."""
    inside: list[Watched] = []
    _watch(value, (), inside)
    for found in inside:
        source = containers.get(id(found.container))
        if source is not None:
            raise TraceError(
                f"the function put {_name(source)}, a container of its arguments, "
                f"into a new one at {_name(path)}",
                hint="put a copy there: the compiled function cannot tell which object "
                "is meant",
            )


def _name(path: Path) -> str:
    root, *rest = path[1:]
    where = f"argument {root}" if path[0] == 0 else f"{root}"
    return format_path(tuple(rest), where)


def apply_changes(
    changes: Sequence[Change],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    made: Sequence[Any],
) -> None:
    """Change the containers of a call's arguments as the function did.

    Parameters
    ----------
    changes : sequence of Change
    args, kwargs
        As the function gets them.
    made : sequence
        The entries that this call made.
    """

    def content_of(change: Change) -> list[tuple[object, Any]]:
        return [
            (key, _at(trees, x.path) if isinstance(x, Kept) else made[x.index])
            for key, x in change.entries
        ]

    trees = args, kwargs
    found = [(_at(trees, change.path), content_of(change)) for change in changes]
    for container, content in found:
        _fill(container, content)


def _at(tree: Any, path: Path) -> Any:
    for key in path:
        tree = _entry(tree, key)
    return tree


def _entry(container: Any, key: Any) -> Any:
    if isinstance(container, dict | list):
        return container[key]
    if isinstance(container, tuple) and isinstance(key, int):
        return container[key]
    return getattr(container, key)


def _fill(container: Any, content: list[tuple[Any, Any]]) -> None:
    if isinstance(container, dict):
        container.clear()
        container.update(content)
    elif isinstance(container, list):
        container[:] = [value for _, value in content]
    else:
        for name, value in content:
            object.__setattr__(container, name, value)
