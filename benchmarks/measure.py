"""One row, all contenders: build, check against float64, time, check again."""

import zlib
from collections.abc import Sequence
from time import perf_counter

import numpy as np

from .check import WrongResultError, largest_error
from .contenders import BUILDERS, Contender, is_missing
from .row import Measurement, Row, Status
from .timing import interleave
from .trees import as_float64, map_leaves

FLOAT32 = np.dtype(np.float32)


def make_inputs(row: Row) -> tuple:
    """The row's inputs, the same in every run."""
    return row.make_inputs(np.random.default_rng(zlib.crc32(row.name.encode())))


def measure(
    row: Row, names: Sequence[str], rounds: int | None = None
) -> list[Measurement]:
    """Measure `row` for each contender named, in that order.

    A contender that cannot be built or called, or whose result is wrong, is not
    timed: its measurement says why and has no seconds.
    """
    inputs = make_inputs(row)
    reference = row.numpy_fn(*(as_float64(argument) for argument in inputs))
    started = [_start(row, name, inputs, reference) for name in names]
    live = [contender for contender, _ in started if contender is not None]
    samples, calls = interleave(live, rounds) if live else ({}, {})
    for contender, measurement in started:
        if contender is None:
            continue
        measurement.seconds = samples[contender.name]
        measurement.calls_per_round = calls[contender.name]
        _check(measurement, contender, row, reference, calls=1)
    return [measurement for _, measurement in started]


def _start(
    row: Row, name: str, inputs: tuple, reference: object
) -> tuple[Contender | None, Measurement]:
    """Build a contender and make its first calls; None if that went wrong."""
    measurement = Measurement(contender=name, status=Status.OK)
    try:
        contender = BUILDERS[name](row, inputs)
    except Exception as error:
        is_absent = is_missing(error, name)
        measurement.status = Status.MISSING if is_absent else Status.FAILED
        measurement.note = _one_line(error)
        return None, measurement
    start = perf_counter()
    try:
        contender.function(*contender.args)
    except Exception as error:
        measurement.status, measurement.note = Status.FAILED, _one_line(error)
        return None, measurement
    measurement.first_call_s = perf_counter() - start
    _check(measurement, contender, row, reference, calls=2)
    return (contender if measurement.status is Status.OK else None), measurement


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
            largest_error(map_leaves(np.asarray, result), reference, FLOAT32)
            for result in results
        )
    except WrongResultError as wrong:
        measurement.status, measurement.note = Status.WRONG, str(wrong)
        return
    except Exception as failure:
        measurement.status, measurement.note = Status.FAILED, _one_line(failure)
        return
    measurement.error = float(np.fmax(measurement.error, error))
    if not error <= row.rtol:
        measurement.status = Status.WRONG
        measurement.note = f"error {error:.1e}, allowed {row.rtol:.0e}"


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:300]
