"""`jit` and the transformations: what users decorate their functions with."""

import functools
import inspect
import pickle
import sys
import threading
import time
import types
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from . import config, log
from .call_plan import CallPlan, plan_for
from .collection import paused
from .compiled import Compiled
from .debugging import debug_module
from .donation import check_apart, donated_arrays
from .errors import RetraceWarning, UnsupportedError
from .guard import MISS, Guard
from .ir.placed import Placed
from .runtime.cpu.entry.callable import NativeCallable, let_call, set_function
from .runtime.cpu.entry.support import why_not
from .specializations import Node, Specializations
from .tracing.batching import custom_batching
from .tracing.checkpoint import checkpoint, checkpoint_name, checkpoint_policies
from .tracing.custom import custom_jvp, custom_vjp
from .tracing.differentiate import grad, stop_gradient, value_and_grad
from .tracing.jacobians import hessian, jacfwd, jacobian, jacrev
from .tracing.linear_maps import jvp, linearize, vjp
from .tracing.mutation import apply_changes
from .tracing.primitives import register_primitive
from .tracing.record import Recording, record
from .tracing.signature import INT, Call, Signature
from .tracing.source import depth_of_caller, is_internal
from .tracing.trace import current_trace
from .tracing.tree import flatten, unflatten
from .tracing.vmap import vmap

# What compiles, enters machine code and drives devices loads when it is first needed:
# most of the package, and most of what importing it would take.
if TYPE_CHECKING:
    from .placement import DeviceLike
    from .retraces import History, Trace
    from .runtime.cpu.entry.steps import NativeCall
    from .runtime.cuda.device import Device
    from .stages import Traced
    from .stored import Strides

__all__ = [
    "JitFunction",
    "checkpoint",
    "checkpoint_name",
    "checkpoint_policies",
    "custom_batching",
    "custom_jvp",
    "custom_vjp",
    "grad",
    "hessian",
    "jacfwd",
    "jacobian",
    "jacrev",
    "jit",
    "jvp",
    "linearize",
    "register_primitive",
    "remat",
    "stop_gradient",
    "value_and_grad",
    "vmap",
    "vjp",
]

remat = checkpoint


class TraceCounter:
    """Counts traces in the process; `tracejit.testing.count_traces` reads it."""

    def __init__(self) -> None:
        self.traces = 0
        self.compiles = 0


COUNTER = TraceCounter()
CPU = "cpu"
RECENT = 8  # specialisations whose guards a call asks before it goes the long way


class Patience:
    """Puts off compiling the native entry, once in a process, until it may pay.

    Parameters
    ----------
    calls : int
        Calls that a guard in Python ran before.
    """

    def __init__(self, calls: int) -> None:
        self.calls = calls

    def is_over(self) -> bool:
        """Count one more call; tell whether there were enough."""
        self.calls -= 1
        return self.calls <= 0


PATIENCE = Patience(200)


class JitFunction(NativeCallable):
    """A function compiled at each new signature of its arguments.

    Made by `jit`. Carries the wrapped function's name, docstring and signature, and
    pickles by reference like a function. Calls that are like earlier ones go to machine
    code; `__call__` gets the others, and all where there is none.
    """

    __name__: str
    __qualname__: str

    def __init__(
        self,
        fn: Callable[..., Any],
        static_argnames: tuple[str, ...] = (),
        device: "DeviceLike" = None,
        donate_argnums: tuple[int, ...] = (),
        donate_argnames: tuple[str, ...] = (),
    ) -> None:
        functools.update_wrapper(self, fn)
        self.__wrapped__ = fn
        self.__name__ = getattr(fn, "__name__", type(fn).__name__)
        self.__qualname__ = getattr(fn, "__qualname__", self.__name__)
        self._static_argnames = static_argnames
        self._device = device
        self._donates = donate_argnums, donate_argnames
        self._signature = Signature(fn, static_argnames, *self._donates)
        self._cache: dict[object, Specializations] = {}
        self._guards: tuple[Guard, ...] = ()
        self._lock = threading.RLock()
        self._chain: tuple[NativeCall, ...] = ()
        self._history: History | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function, compiled for the signature of these arguments."""
        if current_trace() is not None:
            return self.__wrapped__(*args, **kwargs)  # inlined into the trace around it
        for guard in self._guards:
            result = guard(args, kwargs)
            if result is not MISS:
                self._go_native(guard)
                return result
        return self._call(args, kwargs)

    def _go_native(self, guard: Guard) -> None:
        """Have the next call like one that `guard` ran go to machine code."""
        number, (_, override) = config.STATE[0], config.overrides()
        now = config.current()
        if not now.native_calls or now.cache_key != guard.plan.config.cache_key:
            return
        if guard.native is None and not guard.refusal and PATIENCE.is_over():
            self._make_native(guard)
            self._publish()
        if guard.native is not None:
            guard.native.confirm(number, override)

    def _make_native(self, guard: Guard) -> None:
        guard.refusal = why_not()
        if guard.refusal:
            return
        native = _native_calls()
        try:
            machine = native.machine_for(JitFunction.__call__)
            guard.native = native.native_call(guard.plan, guard.compiled, machine)
        except native.Refusal as refusal:
            guard.refusal = str(refusal)
            log.emit("retrace", f"{self.__name__}: calls stay in Python: {refusal}")

    def _publish(self) -> None:
        """Show machine code the guards' native forms, if there are any."""
        found = (guard.native for guard in self._guards)
        self._chain = tuple(native for native in found if native is not None)
        if self._chain:
            machine = _native_calls().machine_for(JitFunction.__call__)
            set_function(self, machine.call)

    def _call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call the long way, which any call can take."""
        if config.current().interpret:
            return self.__wrapped__(*args, **kwargs)
        call = self._signature.bind(args, kwargs)
        donated = donated_arrays(call)
        node, compiled, dynamic = self._specialization(call)
        if donated:
            check_apart(call, donated, compiled.recording.captures)
        if compiled.writes_overlap(call.given):
            log.emit("retrace", f"{self.__name__}: arguments overlap; run in NumPy")
            self.history.overlaps += 1
            return self.__wrapped__(*args, **kwargs)
        watch = _watch_of_calls()
        if watch is not None:
            node.guard = None  # each call is to come here
        elif node.guard is None or node.guard in self._guards:
            form = self._signature.form(len(args), tuple(kwargs))
            plan = plan_for(form, call, compiled, dynamic)
            node.guard = None if plan is None else _guard_for(plan, compiled, call)
        if node.guard is not None:
            self._remember(node.guard)
        result = compiled(call.given) if watch is None else watch(compiled, call.given)
        changes = compiled.recording.changes
        if not changes:
            return result
        result, *made = result
        form = self._signature.form(len(args), tuple(kwargs))
        full = form.arrange((*args, *kwargs.values()))
        apply_changes(changes, *full, made)
        return result

    def _remember(self, guard: Guard) -> None:
        """Ask `guard` first from now on; forget those of captures that changed."""
        others = [g for g in self._guards if g is not guard]
        current = [g for g in others if g.captures_current()]
        self._guards = (guard, *current[: RECENT - 1])
        self._publish()

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return self if instance is None else types.MethodType(self, instance)

    def trace(self, *args: Any, **kwargs: Any) -> "Traced":
        """Trace at these arguments, without compiling and without the cache."""
        call = self._signature.bind(args, kwargs)
        with paused():
            return self._trace(call, frozenset(), _device_for(call, self._device))

    def leaves_of(self, *args: Any, **kwargs: Any) -> list[Any]:
        """Return the leaves of a call's arguments, which recordings count."""
        return self._signature.bind(args, kwargs).given

    def lower(self, *args: Any, **kwargs: Any) -> Any:
        """Shorthand for ``trace(...).lower()``."""
        return self.trace(*args, **kwargs).lower()

    def compile(self, *args: Any, **kwargs: Any) -> Compiled:
        """Shorthand for ``trace(...).lower().compile()``."""
        compiled: Compiled = self.lower(*args, **kwargs).compile()
        return compiled

    def prepare(self, *args: Any, **kwargs: Any) -> Compiled:
        """Compile for calls with these arguments, as a call does, but run nothing.

        Examples
        --------
        >>> f = jit(lambda x: x + 1)
        >>> f.prepare(np.ones(3)).kernels[0].name
        '_lambda__k0'
        """
        return self._specialization(self._signature.bind(args, kwargs))[1]

    def explain(self) -> Any:
        """Return why it was traced again, and what the last compiled form costs.

        Returns
        -------
        tracejit.debug.Explanation
            Findings with a code each: text where it is printed, HTML in notebooks.
        """
        return debug_module("explanation").explain(self)

    @property
    def history(self) -> "History":
        """What it was traced for."""
        if self._history is None:
            from .retraces import History  # noqa: PLC0415  # with the first trace

            self._history = History()
        return self._history

    def compiled_forms(self) -> tuple[Compiled, ...]:
        """Return what is compiled, in the order of the traces."""
        forms = sorted(self._forms(), key=lambda row: row[2].number)
        return tuple(node.compiled for *_, node in forms if node.compiled is not None)

    def call_refusals(self) -> tuple[str, ...]:
        """Return why recent calls cannot be recognised in machine code."""
        return tuple(dict.fromkeys(g.refusal for g in self._guards if g.refusal))

    def profile(self, *args: Any, calls: int | None = None, **kwargs: Any) -> Any:
        """Measure calls at these arguments: each step, each line, against the limits.

        Parameters
        ----------
        *args, **kwargs
            Of the call; what it would change is copied.
        calls : int, optional
            How many; as many as take a third of a second if nothing is said.

        Returns
        -------
        tracejit.debug.profiler.Profile
            Shown by ``as_text()``.

        Raises
        ------
        UnsupportedError
            For a function on a device.
        """
        return debug_module("profiler").profile_call(self, args, kwargs, calls)

    def changes_arguments(self, *args: Any, **kwargs: Any) -> bool:
        """Tell whether such a call writes into its arguments; compiles it."""
        compiled = self.prepare(*args, **kwargs)
        if compiled.device is not None:
            raise UnsupportedError(
                f"{self.__name__} runs on {compiled.device}, whose steps have no clocks"
            )
        return compiled.changes_arguments

    def view(
        self, *args: Any, path: Any = None, profile: Any = None, **kwargs: Any
    ) -> Any:
        """Return a page that shows every level of a compilation, linked line by line.

        Parameters
        ----------
        *args, **kwargs
            Of a call; it is compiled, but not run.
        path : path-like, optional
            Where to write the page, too: one HTML file, which needs nothing else.
        profile : Profile, optional
            What `profile` gave, to be shown beside.

        Returns
        -------
        tracejit.debug.page.page.Page
            HTML in notebooks; has ``save(path)``, and ``open()`` for a browser.
        """
        page = debug_module("page.page")
        return page.view_function(self, args, kwargs, path, profile)

    def cache_size(self) -> int:
        """Return the number of base keys compiled for."""
        return len(self._cache)

    def clear_cache(self) -> None:
        """Forget all specialisations."""
        with self._lock:
            self._cache.clear()
            self._guards = ()
            self.history.lose_all("RETRACE_CLEARED")
            self._publish()

    def _specialization(self, call: Call) -> tuple[Node, Compiled, frozenset[int]]:
        device = _device_for(call, self._device)
        key = (call.key, config.cache_key(), device)
        entry = self._cache.get(key)
        if entry is None:
            ints = {
                i: x
                for i, (x, k) in enumerate(zip(call.leaves, call.keys, strict=True))
                if k.kind == INT
            }
            self._drop_failed()
            entry = self._cache.setdefault(key, Specializations(ints))
        dynamic = entry.update(call.leaves)
        node = entry.find(call.leaves, dynamic)
        if node is None or not node.is_current:
            with self._lock, paused():
                node = self._compile(call, entry, dynamic, device)
        assert node.compiled is not None
        return node, node.compiled, dynamic

    def _compile(
        self,
        call: Call,
        entry: Specializations,
        dynamic: frozenset[int],
        device: "Device | None",
    ) -> Node:
        """Trace and compile for a call, unless another thread did meanwhile."""
        found = entry.find(call.leaves, dynamic)
        if found is not None and found.is_current:
            return found
        stale = None if found is None else found.compiled
        place = str(device or CPU)
        trace = self.history.begin(call.described, place, dynamic, stale)
        if log.is_enabled("retrace"):
            log.emit("retrace", f"{self.__name__}: {trace}")
        compiled = self._trace(call, dynamic, device).compile()
        COUNTER.compiles += 1
        self.history.end(trace, compiled)
        node = entry.insert(call.leaves, dynamic, compiled, trace.number)
        self._bound_cache(trace)
        return node

    def _forms(self) -> "list[tuple[object, Specializations, Node]]":
        """Return all that is compiled: base key, its specialisations, the node."""
        entries = [*self._cache.items()]
        return [(key, entry, node) for key, entry in entries for node in entry.forms()]

    def _drop_failed(self) -> None:
        """Forget keys for which nothing could be compiled, if these are many."""
        if len(self._cache) > 2 * config.get("max_specializations"):
            for key, entry in [*self._cache.items()]:
                if not entry.tries:
                    self._cache.pop(key, None)

    def _bound_cache(self, trace: "Trace") -> None:
        """Forget the oldest forms above the limit; warn of what causes so many."""
        limit = config.get("max_specializations")
        forms = sorted(self._forms(), key=lambda row: row[2].number)
        for key, entry, node in forms[:-limit]:
            assert node.compiled is not None
            self.history.lose(node.compiled, "RETRACE_EVICTED")
            entry.drop(node)
            if not entry.tries:
                self._cache.pop(key, None)
        is_over = len(forms) > limit and not _is_own(self.__wrapped__)
        cause = self.history.new_cause(trace) if is_over else None
        if cause is not None:
            warnings.warn(
                f"{self.__name__} was compiled {trace.number} times and keeps {limit} "
                f"forms (max_specializations): {cause.code} {cause}; its explain() "
                "says how to avoid it",
                RetraceWarning,
                stacklevel=depth_of_caller(),
            )

    def _trace(
        self, call: Call, dynamic: frozenset[int], device: "Device | None"
    ) -> "Traced":
        from .stages import Traced  # noqa: PLC0415

        COUNTER.traces += 1
        static = frozenset(
            i for i, k in enumerate(call.keys) if k.kind == INT and i not in dynamic
        )
        start = time.perf_counter()
        place = CPU if device is None else device
        name = _identifier(self.__name__)
        recording = record(self.__wrapped__, call, static, name, place)
        seconds = time.perf_counter() - start
        device = _device_of_captures(recording, device)
        strides_of = _in_strides if device is None else _placed_strides
        strides = strides_of(recording, call)
        return Traced(recording, strides, seconds, device, donated_arrays(call))

    def __reduce__(self) -> Any:
        module = sys.modules.get(self.__module__)
        found: Any = module
        for part in self.__qualname__.split("."):
            found = getattr(found, part, None)
        if found is self:
            return self.__qualname__
        if found is None or found is not self.__wrapped__:
            raise pickle.PicklingError(
                f"cannot pickle {self.__qualname__}: it is not found by its name in "
                f"{self.__module__}"
            )
        remake = functools.partial(
            jit,
            static_argnames=self._static_argnames,
            device=self._device,
            donate_argnums=self._donates[0],
            donate_argnames=self._donates[1],
        )
        return remake, (self.__wrapped__,)

    def __copy__(self) -> "JitFunction":
        return self

    def __deepcopy__(self, memo: object) -> "JitFunction":
        return self

    def __repr__(self) -> str:
        return f"<jit {self.__qualname__}>"


let_call(JitFunction)


def _watch_of_calls() -> Callable[[Compiled, list[Any]], Any] | None:
    """Return what looks at the results of calls, if a switch asks for it."""
    mode = config.current().nans
    if mode == "off":
        return None
    from .watched_call import call_without_nans  # noqa: PLC0415

    return functools.partial(call_without_nans, mode=mode)


def _native_calls() -> ModuleType:
    """Return the module that makes native calls."""
    from . import native_call  # noqa: PLC0415

    return native_call


@cache
def device_parts() -> ModuleType:
    """Return `placement`, and have arrays on devices compute through `jit`."""
    from . import placement  # noqa: PLC0415

    placement.let_compute(_computing)
    return placement


def _device_for(call: Call, wanted: "DeviceLike") -> "Device | None":
    """Return the device that a call runs on; None for the CPU."""
    name = config.get("device") if wanted is None else wanted
    if call.place is None and name == CPU:
        return None
    found: Device | None = device_parts().device_for(call, wanted)
    return found


def _device_of_captures(
    recording: Recording, device: "Device | None"
) -> "Device | None":
    """Return the device that a call runs on, now that its captures are known."""
    if not any(isinstance(c.owner, Placed) for c in recording.captures):
        return device
    found: Device | None = device_parts().device_of_captures(recording, device)
    return found


def _guard_for(plan: CallPlan, compiled: Compiled, call: Call) -> Guard | None:
    if compiled.device is None:
        return Guard(plan, compiled)
    # As `DeviceCompiled`: with the first call on a device.
    from .device_guard import device_guard  # noqa: PLC0415

    return device_guard(plan, compiled, call)


def _is_own(fn: Callable[..., Any]) -> bool:
    """Tell whether a function is tracejit's, of which its users need not be warned."""
    code = getattr(fn, "__code__", None)
    return code is not None and is_internal(code.co_filename)


def _identifier(name: str) -> str:
    kept = "".join(c if c.isalnum() or c == "_" else "_" for c in name)
    return kept if kept and not kept[0].isdigit() else f"f{kept}"


def _in_strides(recording: Recording, call: Call) -> tuple[tuple[int, ...] | None, ...]:
    """Element strides per graph input; None for C-contiguous."""
    out: list[tuple[int, ...] | None] = []
    for feed in recording.inputs:
        array = call.leaves[feed] if isinstance(feed, int) else feed.array
        if not isinstance(array, np.ndarray) or array.flags.c_contiguous:
            out.append(None)
        else:
            out.append(element_strides(array))
    return tuple(out)


def _placed_strides(recording: Recording, call: Call) -> "Strides":
    """Element strides per graph input on a device, where the host's are contiguous."""
    given = [
        call.given[feed] if isinstance(feed, int) else feed.owner
        for feed in recording.inputs
    ]
    return tuple(
        strides if isinstance(x, Placed) else None
        for x, strides in zip(given, _in_strides(recording, call), strict=True)
    )


def element_strides(array: np.ndarray) -> tuple[int, ...] | None:
    """Strides in elements; None when they are not whole (a copy is passed then)."""
    if any(s % array.itemsize for s in array.strides):
        return None
    return tuple(s // array.itemsize for s in array.strides)


def jit(
    fn: Callable[..., Any] | None = None,
    *,
    static_argnames: str | tuple[str, ...] = (),
    device: "DeviceLike" = None,
    donate_argnums: int | Sequence[int] = (),
    donate_argnames: str | Sequence[str] = (),
) -> Any:
    """Compile a function of NumPy arrays.

    Parameters
    ----------
    fn : callable
        Plain NumPy code. Traced at the first call of each signature (shapes, dtypes,
        strides, containers, Python values that decide control flow).
    static_argnames : str or tuple of str
        Parameters whose ints and floats are constants; seldom needed, as ints that
        decide sizes or control flow specialise by themselves.
    device : str or Device, optional
        Where calls run: ``"cpu"``, ``"cuda"``, ``"cuda:1"``. If none is given: where
        their arrays are, or on the switch ``device``. On a CUDA device NumPy's arrays
        are copied there, and results are `tracejit.Array`.
    donate_argnums : int or sequence of int
        Positions of parameters whose arrays calls give away: results of their dtype and
        size may lie in their memory, so that what they hold afterwards is undefined.
        Nothing else may share that memory. Inside of another compiled function it
        means nothing.
    donate_argnames : str or sequence of str
        Names of such parameters.

    Returns
    -------
    JitFunction
        Called like `fn`; gives what `fn` gives in NumPy.

    Raises
    ------
    TypeError
        If a parameter is named that `fn` does not have. Calls raise `ArgumentError` for
        donated arrays that are read-only or share memory with others, and warn once
        (`DonationWarning`) of those that no result can lie in.

    Examples
    --------
    >>> import numpy as np
    >>> @jit
    ... def double(x):
    ...     return x + x
    >>> double(np.arange(3.0))
    array([0., 2., 4.])
    """
    if fn is None:
        return functools.partial(
            jit,
            static_argnames=static_argnames,
            device=device,
            donate_argnums=donate_argnums,
            donate_argnames=donate_argnames,
        )
    if not callable(fn) or inspect.isclass(fn):
        raise TypeError(f"jit takes a function, not {fn!r}")
    numbers = (
        (donate_argnums,) if isinstance(donate_argnums, int) else tuple(donate_argnums)
    )
    return JitFunction(
        fn, _names(static_argnames), device, numbers, _names(donate_argnames)
    )


def _names(given: str | Sequence[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)


def _computing(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of arrays on devices, compiled; inlined where one traces."""
    compiled = JitFunction(fn)

    @functools.wraps(fn)
    def call(*args: Any, **kwargs: Any) -> Any:
        trace = current_trace()
        if trace is None:
            return compiled(*args, **kwargs)
        leaves, spec = flatten((args, kwargs))
        lifted = [trace.lift(x) if isinstance(x, Placed) else x for x in leaves]
        args, kwargs = unflatten(spec, lifted)
        return fn(*args, **kwargs)

    return call
