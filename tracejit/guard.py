"""The portable guard: a call like an earlier one is recognised in few Python steps.

It holds what a `CallPlan` says as flat lists that `map` and `==` compare, and the order
of the addresses to pass on. It runs the call, or answers `MISS` when it is not sure;
then the long way decides. So a guard may be stricter than the key, never laxer.
"""

from collections.abc import Callable, Mapping
from operator import and_, attrgetter
from typing import TYPE_CHECKING, Any, Final

from . import config
from .call_plan import CallPlan, Compared
from .compiled import Compiled, as_input
from .runtime.cpu.call import data_pointer
from .runtime.overlap import has_hazard
from .tracing.signature import aliases_of
from .tracing.tree import collect

if TYPE_CHECKING:
    from .runtime.cpu.entry.steps import NativeCall

MISS: Final = object()
_layout: Callable[[Any], tuple[object, ...]] = attrgetter("dtype", "shape", "strides")


class Guard:
    """Runs one specialisation for calls that are like its plan.

    Parameters
    ----------
    plan : CallPlan
    compiled : Compiled

    Attributes
    ----------
    native : NativeCall, optional
        The same as steps of the native entry, once they are made.
    refusal : str
        Why there can be none.
    """

    def __init__(self, plan: CallPlan, compiled: Compiled) -> None:
        self.plan = plan
        self.native: NativeCall | None = None
        self.refusal = ""
        self.form = plan.form
        self.compiled = compiled
        self._config = plan.config
        self._args, self._kwargs = plan.args, plan.kwargs
        self._is_plain = plan.form.is_plain and plan.args.is_flat
        self._types = [leaf.kind for leaf in plan.leaves]
        self._aliases = plan.aliases
        self._array_at = [*plan.arrays]
        self._only_arrays = len(self._array_at) == len(plan.leaves)
        self._captured = [c.array for c in plan.captures]
        self._describe_arrays(plan)
        self._describe_values(plan)
        self._describe_feeds(plan)

    def _describe_arrays(self, plan: CallPlan) -> None:
        layouts = [*(plan.leaves[i].layout for i in self._array_at), *plan.captured]
        known = [x for x in layouts if x is not None]
        self._layouts = [(x.dtype, x.shape, x.strides) for x in known]
        self._unaligned = [x.dtype.alignment - 1 for x in known]
        self._written = plan.written
        first = set(plan.first_of_each)
        places = [*self._array_at, *([-1] * len(plan.captured))]
        self._ranges = [
            (k, *x.span, i in self._written)
            for k, (i, x) in enumerate(zip(places, known, strict=True))
            if i in first or i < 0
        ]

    def _describe_values(self, plan: CallPlan) -> None:
        """Sort the leaves whose values matter by how these are compared."""
        rows = [(i, x.compared, x.value) for i, x in enumerate(plan.leaves)]
        self._equal = [(i, x) for i, how, x in rows if how is Compared.EQUAL]
        self._same = [(i, x) for i, how, x in rows if how is Compared.SAME]
        self._written_alike = [
            (i, repr(x)) for i, how, x in rows if how is Compared.ALIKE
        ]

    def _describe_feeds(self, plan: CallPlan) -> None:
        """Note where each input of the machine code is found."""
        arrays = {leaf: k for k, leaf in enumerate(self._array_at)}
        count = len(arrays) + len(plan.captures)
        self._scalars = [
            (feed.leaf, feed.dtype)
            for feed in plan.feeds
            if feed.leaf >= 0 and feed.leaf not in arrays
        ]
        scalars = iter(range(count, count + len(self._scalars)))
        order = [
            len(arrays) + feed.capture
            if feed.leaf < 0
            else arrays[feed.leaf]
            if feed.leaf in arrays
            else next(scalars)
            for feed in plan.feeds
        ]
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
