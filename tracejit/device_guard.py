"""The guard of calls on a device: a call like an earlier one, in few Python steps.

Like `guard.Guard`, for calls whose arrays all are on the device already: shadows are
compared where that one compares NumPy's arrays, and numbers go to the device in one
copy. Anything else takes the long way.
"""

from collections.abc import Mapping
from typing import Any

from .call_plan import CallPlan
from .compiled import Compiled
from .device_call import ALIGNMENT, DeviceCompiled
from .guard import MISS, Guard
from .runtime.cuda.array import Array
from .tracing.record import ViewLeaf
from .tracing.signature import Call


def device_guard(plan: CallPlan, compiled: Compiled, call: Call) -> Guard | None:
    """Return a guard of calls like `call`; None where the host's arrays take part."""
    assert isinstance(compiled, DeviceCompiled)
    placed = tuple(i for i, x in enumerate(call.given) if isinstance(x, Array))
    captured = (c.owner for c in compiled.recording.captures)
    if placed != plan.arrays or not all(isinstance(x, Array) for x in captured):
        return None
    views = [r for r in compiled.recording.results if isinstance(r, ViewLeaf)]
    if any(r.whole and r.argument >= 0 for r in views):
        return None  # these are the very objects of the call
    return _DeviceGuard(plan, compiled, placed)


class _DeviceGuard(Guard):
    """Runs one specialisation for calls that are like its plan.

    Parameters
    ----------
    plan : CallPlan
    compiled : DeviceCompiled
    placed : tuple of int
        The leaves that are arrays on the device.
    """

    def __init__(
        self, plan: CallPlan, compiled: DeviceCompiled, placed: tuple[int, ...]
    ) -> None:
        super().__init__(plan, compiled)
        self.refusal = "its arrays are on a device"
        self._placed = placed
        self._device = compiled.device
        self._loses = bool(compiled.lowered.lost)
        self._on = compiled
        self._dtypes = [dtype for _, dtype in self._scalars]
        self._unaligned = [ALIGNMENT - 1] * len(self._unaligned)

    def _leaves(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> list[Any] | None:
        found = super()._leaves(args, kwargs)
        if found is None:
            return None
        leaves = list(found)
        for i in self._placed:
            x = leaves[i]
            if type(x) is not Array or x.device is not self._device:
                return None
            leaves[i] = x.shadow
        return leaves

    def __call__(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Run the call and return its result, or return `MISS`."""
        result = super().__call__(args, kwargs)
        if self._loses and result is not MISS:
            self._on.lose(super()._leaves(args, kwargs) or ())
        return result

    def _run(self, leaves: list[Any] | tuple[Any, ...], addresses: list[int]) -> Any:
        block = self._on.numbers([leaves[i] for i, _ in self._scalars], self._dtypes)
        addresses.extend(block.places)
        if self._order is not None:
            addresses = [addresses[k] for k in self._order]
        return self._on.finish(leaves, self._on.executable.run_at(addresses))
