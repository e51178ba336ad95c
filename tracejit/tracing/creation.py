"""Creation functions under tracing: `np.zeros` and the like make traced arrays.

They have no operand that NumPy could dispatch on, so they are wrapped in the `numpy`
module while a trace runs. A wrapper acts only on a thread that is tracing and only for
calls from the user's code; otherwise it is NumPy's function.
"""

import functools
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.machinery import ModuleSpec
from types import FrameType, FunctionType, ModuleType
from typing import Any, ParamSpec, TypeVar

import numpy as np

from ..errors import UnsupportedError
from ..ir import dtypes as dt
from . import alternatives, functions, ufuncs
from .refusals import ArrayWantedError
from .source import is_called_from, is_library, user_line
from .storage import Kind, own
from .trace import Trace, current_trace
from .tracer import Tracer

Fn = Callable[..., Any]
P = ParamSpec("P")
R = TypeVar("R")

# Creation functions whose result depends on shapes and numbers alone.
FROM_NUMBERS = (
    "zeros",
    "ones",
    "empty",
    "full",
    "arange",
    "linspace",
    "logspace",
    "geomspace",
    "eye",
    "identity",
    "tri",
    "indices",
    "diag_indices",
    "tril_indices",
    "triu_indices",
    "meshgrid",
    "ix_",
    "fromfunction",
    "mask_indices",
    "hanning",
    "hamming",
    "blackman",
    "bartlett",
    "kaiser",
)
FROM_ARRAYS = (
    "array",
    "asarray",
    "asanyarray",
    "asarray_chkfinite",
    "ascontiguousarray",
    "asfortranarray",
    "copy",
    "require",
)
# Functions of arrays that take nested lists of numbers for them, which do not dispatch.
FROM_LISTS = (
    *("all", "any", "max", "min", "amax", "amin", "sum", "prod", "mean", "average"),
    *("std", "var", "median", "ptp", "argmax", "argmin", "cumsum", "cumprod", "diff"),
    *("nansum", "nanmean", "nanmax", "nanmin", "nanstd", "nanvar", "count_nonzero"),
    *("dot", "inner", "outer", "vdot", "cross", "kron", "convolve", "correlate"),
    *("trace", "diag", "sort", "argsort", "clip", "round", "around", "ravel"),
    *("transpose", "flip", "roll", "atleast_1d", "atleast_2d", "polyval", "trapezoid"),
)
FROM_LISTS_LINALG = ("norm", "det", "inv", "solve", "eigvalsh", "cholesky")
# Functions whose lists are of arrays, which NumPy asks, and may differ in shape.
OF_SEQUENCES = frozenset(
    (
        *("concatenate", "concat", "stack", "vstack", "hstack", "dstack", "block"),
        *("column_stack", "broadcast_arrays", "meshgrid", "ix_", "select", "choose"),
        *("piecewise", "lexsort", "multi_dot", "histogramdd"),
    )
)
# Functions that take values in arguments that NumPy does not ask.
NOT_ASKED = ("interp", "full_like", "take", "pad")
# Which arguments of creation functions are values, not shapes.
OF_VALUES = {
    **dict.fromkeys(("linspace", "logspace", "geomspace"), range(2)),
    "full": range(1, 2),
}
_DISPATCHER = type(np.sum)
_MADE_REAL = "_to_real_if_imag_zero"  # in numpy.linalg from NumPy 2.5 on
_RANDOM_MODULE = "numpy.random"
RANDOM = [
    "rand",
    "randn",
    "random",
    "random_sample",
    "randint",
    "normal",
    "uniform",
    "standard_normal",
    "choice",
    "permutation",
    "shuffle",
    "seed",
    "default_rng",
    "binomial",
    "poisson",
    "exponential",
    "beta",
    "gamma",
    "dirichlet",
    "geometric",
    "gumbel",
    "laplace",
    "multinomial",
    "multivariate_normal",
    "random_integers",
    "ranf",
    "sample",
    "standard_exponential",
]


def has_tracer(x: object) -> bool:
    """Tell whether `x` is or contains a traced value."""
    if isinstance(x, list | tuple) and not isinstance(x, Tracer):
        return any(has_tracer(v) for v in x)
    return isinstance(x, Tracer)


def array_of(trace: Trace, x: Sequence[object], dtype: Any = None) -> Tracer:
    """Return the array `np.array` makes of a nested sequence that may hold tracers."""
    if not has_tracer(x):
        return trace.constant(np.array(x, dtype), born_here=True)
    rows = [
        array_of(trace, v)
        if isinstance(v, list | tuple) and not isinstance(v, Tracer)
        else v
        for v in x
    ]
    target = np.dtype(dtype) if dtype is not None else _common_dtype(trace, rows)
    lifted = [trace.lift(r).astype(target) for r in rows]
    out: Tracer = functions.stack(lifted).copy()
    return out


def _common_dtype(trace: Trace, rows: Sequence[Any]) -> np.dtype:
    """`np.array` promotes Python scalars by their default dtypes, not weakly."""
    return np.result_type(*(trace.lift(r).dtype for r in rows))


def _made(trace: Trace, fn: Fn, args: Any, kwargs: Any) -> Any:
    """Run a creation function; its array becomes a constant of the trace."""
    if fn.__name__ in ("meshgrid", "ix_") and has_tracer(args):
        return fn(*args, **kwargs)
    if fn.__name__ == "fromfunction":
        return _from_function(trace, *args, **kwargs)
    values = OF_VALUES.get(fn.__name__, ())
    args = tuple(
        array_of(trace, a) if i in values and _is_list(a) else a
        for i, a in enumerate(args)
    )
    if any(isinstance(a, Tracer) for a in (*args, *kwargs.values())):
        lowering = functions.CREATION.get(fn.__name__)
        if lowering is not None:
            return lowering(trace, *args, **kwargs)
        args = tuple(_python(a) for a in args)
        kwargs = {k: _python(v) for k, v in kwargs.items()}
    return _constants(trace, fn(*args, **kwargs))


def _is_list(x: object) -> bool:
    """Tell whether `x` is a list or tuple of traced values."""
    return type(x) in (list, tuple) and has_tracer(x)


def _from_function(
    trace: Trace, function: Fn, shape: Any, *, dtype: Any = float, **kwargs: Any
) -> Any:
    """``np.fromfunction``: the function's value at the indices, which are known."""
    indices = [
        trace.constant(i, born_here=True) for i in np.indices(shape, dtype=dtype)
    ]
    return function(*indices, **kwargs)


def _constants(trace: Trace, made: Any) -> Any:
    """Record arrays just made as constants; other results stay what they are."""
    if isinstance(made, list | tuple):
        return type(made)(_constants(trace, m) for m in made)
    if not isinstance(made, np.ndarray) or made.dtype not in dt.DTYPE_TO_NAME:
        return made
    return trace.constant(made, born_here=True)


class _GridProxy:
    """Stands for `np.mgrid`, `np.ogrid`, `np.r_`, `np.c_` while a trace runs."""

    def __init__(self, original: Any, name: str) -> None:
        self.original = original
        self.name = name

    def __getattr__(self, name: str) -> Any:
        return getattr(self.original, name)

    def __getitem__(self, index: Any) -> Any:
        trace = current_trace()
        if trace is None or is_library(sys._getframe(1).f_code.co_filename):
            return self.original[index]
        if not has_tracer(index):
            return _constants(trace, self.original[index])
        if self.name not in ("r_", "c_"):
            return self.original[_plain_bounds(index)]
        items = index if isinstance(index, tuple) else (index,)
        parts = [_range(i) if isinstance(i, slice) else i for i in items]
        join = np.hstack if self.name == "r_" else np.column_stack
        dtype = np.result_type(*(_weak_dtype(p) for p in parts))
        return join([trace.lift(p).astype(dtype) for p in parts])


def _weak_dtype(x: Any) -> Any:
    """Python scalars promote weakly."""
    return x if isinstance(x, int | float | complex) else x.dtype


def _range(item: slice) -> np.ndarray:
    return own(np.r_[_plain_bounds(item)])


def _plain_bounds(index: Any) -> Any:
    """Ask for the values of traced bounds of slices."""
    if isinstance(index, tuple):
        return tuple(_plain_bounds(i) for i in index)
    if not isinstance(index, slice):
        return _python(index)
    return slice(*(_python(b) for b in (index.start, index.stop, index.step)))


def _python(x: Any) -> Any:
    """Return the Python number a traced scalar stands for, asking for its value."""
    if not isinstance(x, Tracer):
        return x
    return x.known_value("a number")[()] if x.ndim == 0 else x


def _from_array(trace: Trace, fn: Fn, args: Any, kwargs: Any) -> Any:
    """``np.array(x)`` and relatives: copies of tracers, constants of the rest."""
    x = args[0] if args else kwargs.get("object", kwargs.get("a"))
    dtype = args[1] if len(args) > 1 else kwargs.get("dtype")
    copy = kwargs.get("copy", True if fn.__name__ in ("array", "copy") else None)
    copies = copy is True
    if isinstance(x, Tracer):
        if fn.__name__ == "asarray_chkfinite":
            functions.require(np.isfinite(x), "array must not contain infs or NaNs")
        out = _in_order(_of_tracer(x, dtype, copy), fn.__name__, kwargs.get("order"))
        is_row = fn.__name__ in ("ascontiguousarray", "asfortranarray")
        return _at_least(out, kwargs.get("ndmin", int(is_row)))
    if isinstance(x, list | tuple):
        if has_tracer(x):
            return _at_least(array_of(trace, x, dtype), kwargs.get("ndmin", 0))
    elif isinstance(x, np.ndarray):
        if not copies and dtype is None:
            return fn(*args, **kwargs)
        out = trace.lift(x)
        return _from_array(trace, fn, (out, *args[1:]), kwargs)
    return _made(trace, fn, args, kwargs)


def _in_order(x: Tracer, name: str, order: str | None) -> Tracer:
    """Return an array that is contiguous in the order that is asked for, if any is."""
    wanted = {"ascontiguousarray": "C", "asfortranarray": "F"}.get(name, order)
    is_there = {"C": x.flags.c_contiguous, "F": x.flags.f_contiguous}
    if x.kind is not Kind.ARRAY or is_there.get(wanted or "K", True):
        return x
    return x.copy("C" if wanted == "C" else "F")


def _of_tracer(x: Tracer, dtype: Any, copy: bool | None) -> Tracer:
    out = x if dtype is None else x.astype(dtype, copy=False)
    if x.kind is not Kind.ARRAY:
        return out.as_scalar(Kind.ARRAY)
    if copy is False and out is not x:
        raise ValueError("Unable to avoid copy while creating an array as requested.")
    return x.copy("K") if out is x and copy else out


def _at_least(x: Tracer, ndmin: int) -> Tracer:
    return x if x.ndim >= ndmin else x.reshape((1,) * (ndmin - x.ndim) + x.shape)


def _no_random(trace: Trace, fn: Fn, args: Any, kwargs: Any) -> Any:
    raise UnsupportedError(
        f"np.random.{fn.__name__} inside a traced function would give the same numbers "
        "at every call",
        source=user_line(),
        hint="tj.random.normal(key, shape) and its relatives, with a key as an "
        "argument; or draw outside and pass the numbers in",
    )


def _refused(trace: Trace, fn: Fn, args: Any, kwargs: Any) -> Any:
    """Functions of values, not of arrays: they take what Python may know."""
    tracers = [x for x in (*args, *kwargs.values()) if has_tracer(x)]
    if all(isinstance(x, Tracer) and x.storage.known for x in tracers):
        return fn(*args, **kwargs)
    raise ufuncs.unsupported(f"np.{fn.__name__}", alternatives.FUNCTIONS[fn.__name__])


@functools.cache  # making one takes ten times as long as a call
def _wrapper(original: Fn, act: Callable[[Trace, Fn, Any, Any], Any]) -> Fn:
    @functools.wraps(original)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        trace = current_trace()
        frame = sys._getframe(1)
        if (
            trace is None
            or is_library(frame.f_code.co_filename)
            or not is_called_from(frame, original.__name__, wrapped)
        ):
            return original(*args, **kwargs)
        return act(trace, original, args, kwargs)

    return wrapped


@functools.cache
def _of_lists(original: Fn) -> Fn:
    """Return a function that makes arrays of the lists of traced values it is given."""

    @functools.wraps(original)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return original(*_with_arrays(args, sys._getframe(1)), **kwargs)

    return wrapped


def _with_arrays(args: tuple[Any, ...], caller: FrameType) -> tuple[Any, ...]:
    """Make arrays of lists of traced values, in a call by the user's code."""
    if not any(type(x) in (list, tuple) for x in args):
        return args
    trace = current_trace()
    if trace is None or is_library(caller.f_code.co_filename):
        return args
    return tuple(array_of(trace, x) if _is_list(x) else x for x in args)


def _dispatcher(function: object) -> Fn | None:
    """Return NumPy's own function, of those that ask their arguments, if it is one."""
    while isinstance(function, FunctionType) and hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    return function if isinstance(function, _DISPATCHER) else None  # type: ignore[return-value]


@functools.cache
def _of_all(function: Fn) -> Fn:
    """Return a function that is traced if anything in its arguments is."""

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        caller = sys._getframe(1)
        trace = current_trace()
        if trace is None or is_library(caller.f_code.co_filename):
            return function(*args, **kwargs)
        if function.__name__ not in OF_SEQUENCES:
            args = _with_arrays(args, caller)
            values = _with_arrays(tuple(kwargs.values()), caller)
            kwargs = dict(zip(kwargs, values, strict=True))
        if not has_tracer((*args, *kwargs.values())):
            return function(*args, **kwargs)
        return trace.rules.function(function, args, kwargs)

    return wrapped


@functools.cache
def _of_plain(function: Fn) -> Fn:
    """Return a function of `numpy.polynomial` that is traced if an argument is."""

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        trace = current_trace()
        caller = sys._getframe(1)
        if trace is None or is_library(caller.f_code.co_filename):
            return function(*args, **kwargs)
        args = _with_arrays(args, caller)
        return trace.rules.plain(function, args, kwargs)

    return wrapped


def _left_complex(function: Fn) -> Fn:
    """Return a function that makes roots real where all are, by values that are known.

    Roots of polynomials whose coefficients are traced are complex.
    """

    @functools.wraps(function)
    def wrapped(roots: Any, matrix: Any) -> Any:
        return roots if has_tracer((roots,)) else function(roots, matrix)

    return wrapped


class _OfLists:
    """Stands for a ufunc, and makes arrays of the lists of traced values it is given.

    It equals the ufunc, and `isinstance` takes it for one. `is` does not, so that it
    stands in the module only where a function would not trace without it.
    """

    def __init__(self, ufunc: np.ufunc) -> None:
        self.ufunc = ufunc

    @property  # type: ignore[misc]
    def __class__(self) -> type:  # type: ignore[override]
        return np.ufunc

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.ufunc(*_with_arrays(args, sys._getframe(1)), **kwargs)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.ufunc, name)
        is_method = name in ("reduce", "accumulate", "reduceat", "outer")
        return _of_lists(value) if is_method else value

    def __eq__(self, other: object) -> bool:
        ufunc: object = self.ufunc
        return ufunc is (other.ufunc if type(other) is _OfLists else other)

    def __hash__(self) -> int:
        return hash(self.ufunc)

    def __repr__(self) -> str:
        return repr(self.ufunc)


def call(fn: Fn, *args: Any, **kwargs: Any) -> Any:
    """Call a creation function: in the running trace, if there is one.

    For code of this package that acts for the user's: the wrappers pass it by.
    """
    trace = current_trace()
    if trace is None:
        return fn(*args, **kwargs)
    act = _from_array if fn.__name__ in FROM_ARRAYS else _made
    return act(trace, fn, args, kwargs)


class _RandomFinder:
    """Has `numpy.random` wrapped where a traced function is the first to import it.

    Loading it for that would take most functions' first call longer than their trace.
    """

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find the module as others do, and wrap its functions once it is loaded."""
        if name != _RANDOM_MODULE:
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        specs = (finder.find_spec(name, path, target) for finder in others)
        spec = next((s for s in specs if s is not None), None)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                execute(module)
                _installer.wrap_random(module)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


class _Installer:
    """Wraps the functions in the modules while at least one trace runs."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.count = 0
        self.looks_everywhere = False
        self.originals: list[tuple[Any, str, Fn]] = []
        self.random_finder = _RandomFinder()

    def look_everywhere(self) -> None:
        """Have functions look into all arguments until the outermost trace ends."""
        with self.lock:
            self.looks_everywhere = True
            for name, ufunc in list(vars(np).items()):
                if isinstance(ufunc, np.ufunc) and type(ufunc) is not _OfLists:
                    self._wrap(np, name, _OfLists(ufunc))
            for module in (np, np.linalg, np.fft):
                for name, found in list(vars(module).items()):
                    function = _dispatcher(found)
                    if function is not None:
                        self._wrap(module, name, _of_all(function))
            for module in _polynomial_modules():
                for name, found in list(vars(module).items()):
                    if isinstance(found, FunctionType) and not name.startswith("_"):
                        self._wrap(module, name, _of_plain(found))
            roots = getattr(np.linalg, "_linalg", None)
            if hasattr(roots, _MADE_REAL):
                self._wrap(roots, _MADE_REAL, _left_complex(getattr(roots, _MADE_REAL)))

    def install(self) -> None:
        with self.lock:
            self.count += 1
            if self.count > 1:
                return
            for module, name, act in _targets():
                self._wrap(module, name, _wrapper(getattr(module, name), act))
            for module, name in _list_targets():
                self._wrap(module, name, _of_lists(getattr(module, name)))
            for name in NOT_ASKED:
                self._wrap(np, name, _of_all(getattr(np, name)))
            for name in ("mgrid", "ogrid", "r_", "c_"):
                self._wrap(np, name, _GridProxy(getattr(np, name), name))
            if _RANDOM_MODULE in sys.modules:
                self._wrap_random(np.random)
            else:
                sys.meta_path.insert(0, self.random_finder)

    def wrap_random(self, module: ModuleType) -> None:
        """Wrap what makes random numbers, if a trace runs."""
        with self.lock:
            if self.count:
                self._wrap_random(module)

    def _wrap_random(self, module: ModuleType) -> None:
        for name in RANDOM:
            if hasattr(module, name):
                self._wrap(module, name, _wrapper(getattr(module, name), _no_random))

    def _wrap(self, module: Any, name: str, wrapper: Any) -> None:
        self.originals.append((module, name, getattr(module, name)))
        setattr(module, name, wrapper)

    def restore(self) -> None:
        with self.lock:
            self.count -= 1
            if self.count:
                return
            for module, name, original in reversed(self.originals):
                setattr(module, name, original)
            self.originals.clear()
            self.looks_everywhere = False
            with suppress(ValueError):
                sys.meta_path.remove(self.random_finder)


def _polynomial_modules() -> list[ModuleType]:
    """Return those of `numpy.polynomial` that are loaded."""
    package = sys.modules.get("numpy.polynomial")
    names = ("polynomial", "chebyshev", "legendre", "laguerre", "hermite", "hermite_e")
    return [getattr(package, name) for name in names] if package is not None else []


def _targets() -> Iterator[tuple[Any, str, Callable[[Trace, Fn, Any, Any], Any]]]:
    for name in FROM_NUMBERS:
        yield np, name, _made
    for name in FROM_ARRAYS:
        yield np, name, _from_array
    for name in alternatives.UNDISPATCHED:
        yield np, name, _refused
    for name in ("fftfreq", "rfftfreq"):
        yield np.fft, name, _made


def _list_targets() -> Iterator[tuple[Any, str]]:
    yield from ((np, name) for name in FROM_LISTS)
    yield from ((np.linalg, name) for name in FROM_LISTS_LINALG)


_installer = _Installer()

# Each creation function to one that makes traced arrays whoever calls it.
TRACED: dict[Fn, Fn] = {
    getattr(np, name): functools.partial(call, getattr(np, name))
    for name in (*FROM_NUMBERS, *FROM_ARRAYS)
}


@contextmanager
def wrapped_creation() -> Iterator[None]:
    """Wrap the creation functions of `numpy` while the block runs."""
    _installer.install()
    try:
        yield
    finally:
        _installer.restore()


def taking_lists(make: Callable[P, R]) -> Callable[P, R]:
    """Decorate what traces a function: what NumPy does not ask is traced too.

    NumPy asks no element of a list what a ufunc is to do, and some arguments of its
    functions neither, so the trace fails there. It is made once more then, with
    functions that look into everything in the `numpy` module.
    """

    @functools.wraps(make)
    def made(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return make(*args, **kwargs)
        except ArrayWantedError:
            if current_trace() is not None or _installer.looks_everywhere:
                raise
        with wrapped_creation():
            _installer.look_everywhere()
            return make(*args, **kwargs)

    return made
