"""Guards: how a call like an earlier one is recognised and fed, in few Python steps.

A guard is made after a call that found or made its specialisation the long way:
signature, key, trie of questions. It holds what the arguments of that call were like,
as flat lists that `map` and `==` compare, and the order of the addresses to pass on.
It runs the call, or answers `MISS` when it is not sure; then the long way decides. So a
guard may be stricter than the key, never laxer.
"""

from collections.abc import Callable, Mapping
from operator import and_, attrgetter
from typing import Any, Final

import numpy as np

from . import config
from .runtime.cpu.call import data_pointer
from .runtime.overlap import byte_range, has_hazard
from .stages import Compiled, as_input, is_passed_as_is
from .tracing.signature import ARRAY, INT, STATIC, Call, Form, Identity, aliases_of
from .tracing.tree import collect

MISS: Final = object()
_layout: Callable[[Any], tuple[object, ...]] = attrgetter("dtype", "shape", "strides")


class Guard:
    """What a call must be like to run one specialisation.

    Parameters
    ----------
    form : Form
        How the call's arguments were bound.
    call : Call
        A call that `compiled` is right for.
    compiled : Compiled
    dynamic : frozenset of int
        Int leaves that are run-time values.
    """

    def __init__(
        self, form: Form, call: Call, compiled: Compiled, dynamic: frozenset[int]
    ) -> None:
        self.form = form
        self.compiled = compiled
        self._config = config.current()
        self._args, self._kwargs = call.spec.children
        self._is_plain = form.is_plain and self._args.is_flat
        self._types = list(map(type, call.leaves))
        self._aliases = call.aliases
        self._array_at = [i for i, k in enumerate(call.keys) if k.kind == ARRAY]
        self._only_arrays = len(self._array_at) == len(call.leaves)
        self._captures = compiled.recording.captures
        self._captured = [c.array for c in self._captures]
        self._describe_arrays(call)
        self._describe_values(call, dynamic)
        self._describe_feeds()

    def _describe_arrays(self, call: Call) -> None:
        arrays = [*(call.leaves[i] for i in self._array_at), *self._captured]
        self._layouts = list(map(_layout, arrays))
        self._unaligned = [x.dtype.alignment - 1 for x in arrays]
        writes = dict(self.compiled.recording.writes)
        self._written = [*writes]
        first = dict.fromkeys(call.aliases or range(len(call.leaves)))
        places = [*self._array_at, *([-1] * len(self._captured))]
        self._ranges = [
            (k, *byte_range(x), i in writes)
            for k, (i, x) in enumerate(zip(places, arrays, strict=True))
            if i in first or i < 0
        ]

    def _describe_values(self, call: Call, dynamic: frozenset[int]) -> None:
        """Sort the leaves whose values matter by how these are compared."""
        self._equal: list[tuple[int, object]] = []
        self._same: list[tuple[int, object]] = []
        self._written_alike: list[tuple[int, str]] = []
        pinned = self.compiled.recording.pinned
        for i, (x, key) in enumerate(zip(call.leaves, call.keys, strict=True)):
            is_constant = key.kind == INT and i not in dynamic
            if key.kind != STATIC and i not in pinned and not is_constant:
                continue
            if isinstance(key.value, tuple) and isinstance(key.value[1], Identity):
                self._same.append((i, x))
            elif isinstance(x, int | str | bytes | np.dtype):
                self._equal.append((i, x))
            else:
                self._written_alike.append((i, repr(x)))

    def _describe_feeds(self) -> None:
        """Note where each input of the machine code is found."""
        arrays = {leaf: k for k, leaf in enumerate(self._array_at)}
        places = {id(c): len(arrays) + k for k, c in enumerate(self._captures)}
        count = len(arrays) + len(places)
        self._scalars: list[tuple[int, np.dtype]] = []
        order: list[int] = []
        for feed, dtype in self.compiled.feeds:
            if not isinstance(feed, int):
                order.append(places[id(feed)])
            elif feed in arrays:
                order.append(arrays[feed])
            else:
                order.append(count + len(self._scalars))
                self._scalars.append((feed, dtype))
        total = count + len(self._scalars)
        self._order = None if order == [*range(total)] else order

    def captures_current(self) -> bool:
        """Tell whether every captured array is still where it was found."""
        return self.compiled.captures_current()

    def __call__(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Run the call and return its result, or return `MISS`."""
        leaves = self._leaves(args, kwargs)
        if leaves is None or not self._fits(leaves):
            return MISS
        arrays = leaves if self._only_arrays else [leaves[i] for i in self._array_at]
        if self._aliases:
            if aliases_of(leaves) != self._aliases:
                return MISS
        elif len(arrays) > 1 and len(set(map(id, arrays))) != len(arrays):
            return MISS
        if not self.compiled.captures_current():
            return MISS
        if self._captured:
            arrays = [*arrays, *self._captured]
        if list(map(_layout, arrays)) != self._layouts:
            return MISS
        addresses = list(map(data_pointer, arrays))
        if any(map(and_, addresses, self._unaligned)):
            return MISS
        if self._written and not self._may_write(leaves, addresses):
            return MISS
        return self._run(leaves, addresses)

    def _leaves(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> list[Any] | tuple[Any, ...] | None:
        form = self.form
        if len(args) != form.count or tuple(kwargs) != form.names:
            return None
        if self._is_plain:
            return args
        if not form.is_plain:
            args, kwargs = form.arrange((*args, *kwargs.values()))
        leaves: list[Any] = []
        for tree, spec in zip(args, self._args.children, strict=True):
            if not collect(spec, tree, leaves):
                return None
        for tree, spec in zip(kwargs.values(), self._kwargs.children, strict=True):
            if not collect(spec, tree, leaves):
                return None
        return leaves

    def _fits(self, leaves: list[Any] | tuple[Any, ...]) -> bool:
        """Tell whether types, values and switches are the ones compiled for."""
        if list(map(type, leaves)) != self._types:
            return False
        now = config.current()
        if now is not self._config and now.cache_key != self._config.cache_key:
            return False
        for i, value in self._equal:
            if leaves[i] != value:
                return False
        for i, value in self._same:
            if leaves[i] is not value:
                return False
        return all(repr(leaves[i]) == text for i, text in self._written_alike)

    def _may_write(
        self, leaves: list[Any] | tuple[Any, ...], addresses: list[int]
    ) -> bool:
        """Tell whether written arguments are writeable and share no memory."""
        if not all(leaves[i].flags.writeable for i in self._written):
            return False
        return not has_hazard(
            [(addresses[k] + a, addresses[k] + b, w) for k, a, b, w in self._ranges]
        )

    def _run(self, leaves: list[Any] | tuple[Any, ...], addresses: list[int]) -> Any:
        scalars = [as_input(leaves[i], dtype) for i, dtype in self._scalars]
        if scalars:
            addresses.extend(map(data_pointer, scalars))
        if self._order is not None:
            addresses = [addresses[k] for k in self._order]
        compiled = self.compiled
        return compiled.finish(leaves, compiled.executable.run_at(addresses))


def guard_for(
    form: Form, call: Call, compiled: Compiled, dynamic: frozenset[int]
) -> Guard | None:
    """Return a guard for calls like `call`.

    None when its arrays must be copied, or containers of its arguments change.
    """
    if compiled.recording.changes:
        return None
    arrays = [x for x in call.leaves if isinstance(x, np.ndarray)]
    arrays += [c.array for c in compiled.recording.captures]
    if not all(is_passed_as_is(x) for x in arrays):
        return None
    return Guard(form, call, compiled, dynamic)
