"""One row, all contenders: build, check against float64, time, check again."""

import importlib
import zlib
from collections.abc import Sequence
from time import perf_counter

import ml_dtypes  # noqa: F401 - gives NumPy the dtype bfloat16
import numpy as np

from .check import WrongResultError, largest_error
from .contenders import BUILDERS, Contender, NoTwinError, is_missing
from .row import Measurement, Row, RowResult, Status
from .timing import interleave
from .trees import as_float64, cast_floats, map_arrays, map_leaves


def make_inputs(row: Row) -> tuple:
    """The row's inputs in its dtype, the same in every run."""
    inputs = row.make_inputs(np.random.default_rng(zlib.crc32(row.name.encode())))
    return tuple(cast_floats(argument, np.dtype(row.dtype)) for argument in inputs)


def reference_of(row: Row, inputs: tuple) -> object:
    """What the row gives in float64: by NumPy, or by torch where it has no gradients.

    Raises
    ------
    ModuleNotFoundError
        If torch is needed and not installed.
    """
    exact = tuple(as_float64(argument) for argument in inputs)
    if row.numpy_fn is not None:
        return row.numpy_fn(*exact)
    torch = importlib.import_module("torch")
    build = row.torch_reference or row.torch_fn
    assert build is not None
    tensors = tuple(map_arrays(lambda a: torch.from_numpy(a), a) for a in exact)
    return map_leaves(lambda t: t.detach().numpy(), build(torch)(*tensors))


def measure(row: Row, names: Sequence[str], rounds: int | None = None) -> RowResult:
    """Measure `row` for each contender named, in that order.

    A contender that cannot be built or called, or whose result is wrong, is not
    timed: its measurement says why and has no seconds.
    """
    inputs = make_inputs(row)
    try:
        reference = reference_of(row, inputs)
    except Exception as error:
        return without_reference(row, names, error)
    started = [_start(row, name, inputs, reference) for name in names]
    found = {measurement.contender: measurement for _, measurement in started}
    live = [contender for contender, _ in started if contender is not None]
    if not live:
        return RowResult(row, found)
    timed = interleave(live, rounds)
    for contender in live:
        measurement = found[contender.name]
        measurement.seconds = timed.seconds[contender.name]
        measurement.calls_per_round = timed.calls[contender.name]
        _check(measurement, contender, row, reference, calls=1)
    return RowResult(row, found, timed.others, timed.dropped)


def without_reference(row: Row, names: Sequence[str], error: Exception) -> RowResult:
    """What is said of a row whose results cannot be judged."""
    is_absent = isinstance(error, ModuleNotFoundError)
    status = Status.MISSING if is_absent else Status.FAILED
    note = f"no reference: {one_line(error)}"
    return RowResult(
        row, {n: Measurement(contender=n, status=status, note=note) for n in names}
    )


def _start(
    row: Row, name: str, inputs: tuple, reference: object
) -> tuple[Contender | None, Measurement]:
    """Build a contender and make its first calls; None if that went wrong."""
    measurement = Measurement(contender=name, status=Status.OK)
    try:
        contender = BUILDERS[name](row, inputs)
    except Exception as error:
        measurement.status, measurement.note = _status_of(error, name), one_line(error)
        return None, measurement
    start = perf_counter()
    try:
        contender.function(*contender.args)
    except Exception as error:
        measurement.status, measurement.note = Status.FAILED, one_line(error)
        return None, measurement
    measurement.first_call_s = perf_counter() - start
    _check(measurement, contender, row, reference, calls=2)
    return (contender if measurement.status is Status.OK else None), measurement


def _status_of(error: Exception, name: str) -> Status:
    if isinstance(error, NoTwinError):
        return Status.NO_TWIN
    return Status.MISSING if is_missing(error, name) else Status.FAILED


def _check(
    measurement: Measurement,
    contender: Contender,
    row: Row,
    reference: object,
    calls: int,
) -> None:
    """Compare `calls` results, all held at once so that none may share memory."""
    try:
        results = [contender.function(*contender.args) for _ in range(calls)]
        error = max(
            largest_error(
                map_leaves(contender.read, result),
                reference,
                np.dtype(row.dtype),
                row.outliers,
                contender.is_flat,
            )
            for result in results
        )
    except WrongResultError as wrong:
        measurement.status, measurement.note = Status.WRONG, str(wrong)
        return
    except Exception as failure:
        measurement.status, measurement.note = Status.FAILED, one_line(failure)
        return
    measurement.error = float(np.fmax(measurement.error, error))
    if not error <= row.rtol:
        measurement.status = Status.WRONG
        measurement.note = f"error {error:.1e}, allowed {row.rtol:.0e}"


def one_line(error: Exception) -> str:
    """An error as the note of a measurement."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:300]
