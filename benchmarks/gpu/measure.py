"""Rows measured on a device: built, checked against float64, timed in turns."""

import math
import random
import statistics
import time
from collections.abc import Sequence

import numpy as np

import tracejit as tj
from tracejit.debug.machine import Limits

from ..check import WrongResultError, largest_error
from ..contenders import NoTwinError
from ..measure import make_inputs, one_line, without_reference
from ..row import Measurement, Row, RowResult, Status
from ..trees import map_leaves
from .contenders import PEERS, Contender, has_torch_device, ours, reference, release

SAMPLE_S = 0.01
BUDGET_S = 4.0
MIN_ROUNDS, MAX_ROUNDS = 5, 15
HOST_TRIES = 20


def seconds_per_call(contender: Contender, calls: int) -> float:
    """Return the time of one of many calls, the device's end included."""
    contender.wait()
    start = time.perf_counter()
    for _ in range(calls):
        contender.run()
    contender.wait()
    return (time.perf_counter() - start) / calls


def host_seconds(contender: Contender) -> float:
    """Return the host's time for asking, while the device is idle before and after."""
    times = []
    for _ in range(HOST_TRIES):
        contender.wait()
        start = time.perf_counter()
        contender.run()
        times.append(time.perf_counter() - start)
    contender.wait()
    return statistics.median(times)


def started(
    row: Row, name: str, device: tj.Device, inputs: tuple, want: object
) -> tuple[Contender | None, Measurement]:
    """Build a contender, call it, and compare what it gives."""
    found = Measurement(contender=name, status=Status.OK)
    start = time.perf_counter()
    try:
        build = PEERS.get(name) or (lambda row, args: ours(row, args, device))
        contender = build(row, inputs)
        result = contender.run()
        contender.wait()
        found.first_call_s = time.perf_counter() - start
        got = map_leaves(contender.read, result)
        found.error = largest_error(got, want, np.dtype(row.dtype), row.outliers)
    except Exception as error:  # one row that fails must not cost the others
        found.status, found.note = _status(error), one_line(error)
        return None, found
    if not found.error <= row.rtol:
        found.status = Status.WRONG
        found.note = f"error {found.error:.1e}, allowed {row.rtol:.0e}"
        return None, found
    return contender, found


def _status(error: Exception) -> Status:
    if isinstance(error, NoTwinError):
        return Status.NO_TWIN
    if isinstance(error, WrongResultError):
        return Status.WRONG
    is_absent = isinstance(error, ModuleNotFoundError)
    return Status.MISSING if is_absent else Status.FAILED


def measure(
    row: Row,
    names: Sequence[str],
    device: tj.Device,
    end: float = math.inf,
    rounds: int | None = None,
) -> RowResult:
    """Return what each contender did on a row.

    Parameters
    ----------
    end : float
        The time, by `time.monotonic`, after which no contender is begun.
    rounds : int, optional
        Instead of as many as fit `BUDGET_S`.
    """
    inputs = make_inputs(row)
    try:
        want = reference(row, inputs)
    except Exception as error:
        return without_reference(row, names, error)
    found: dict[str, Measurement] = {}
    live: dict[str, Contender] = {}
    for name in names:
        if time.monotonic() > end:
            note = "the time was over"
            found[name] = Measurement(contender=name, status=Status.MISSING, note=note)
            continue
        contender, found[name] = started(row, name, device, inputs, want)
        if contender is not None:
            live[name] = contender
    del want, inputs
    _time(live, found, rounds)
    release()
    return RowResult(row, found)


def _time(
    live: dict[str, Contender], found: dict[str, Measurement], rounds: int | None
) -> None:
    """Time contenders in turns, into their measurements."""
    each = {n: min(seconds_per_call(c, 2) for _ in range(3)) for n, c in live.items()}
    for name, guess in each.items():
        calls = min(max(math.ceil(SAMPLE_S / guess), 1), 2000)
        found[name].calls_per_round = calls
    a_round = sum(each[n] * (2 + found[n].calls_per_round) for n in live)
    wanted = round(BUDGET_S / a_round) if live else 0
    turns = random.Random(0)
    for _ in range(rounds or min(max(wanted, MIN_ROUNDS), MAX_ROUNDS)):
        for name in turns.sample([*live], len(live)):
            seconds_per_call(live[name], 2)  # warm again
            seconds = seconds_per_call(live[name], found[name].calls_per_round)
            found[name].seconds.append(seconds)
    for name, contender in live.items():
        found[name].host_s = host_seconds(contender)


def device_limits(scale: int = 1) -> Limits | None:
    """Measure the device: bytes copied, and operations of products by dtype.

    By torch where it is there; None without it.
    """
    if not has_torch_device():
        return None
    import torch  # noqa: PLC0415

    x = torch.empty((1 << 28) // scale, device="cuda", dtype=torch.float32)
    copy = Contender(x.clone, torch.cuda.synchronize, np.asarray)
    copied = 2 * x.nbytes / _best(copy) / 1e9
    side = 8192 // scale
    rates = {}
    for dtype in ("bfloat16", "float16", "float32"):
        a = torch.randn(side, side, device="cuda").to(getattr(torch, dtype))
        product = Contender(lambda a=a: a @ a, torch.cuda.synchronize, np.asarray)
        rates[dtype] = 2 * side**3 / _best(product) / 1e9
    return Limits(rates, {x.nbytes: copied})


def _best(contender: Contender) -> float:
    """Seconds per call, the best of several samples."""
    seconds_per_call(contender, 3)
    return min(seconds_per_call(contender, 5) for _ in range(5))
