"""Rows measured: built, checked against float64, timed in turns, written at once."""

import json
import math
import random
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import tracejit as tj

from .contenders import OURS, PEERS, Contender, leaves, ours, reference
from .rows import Row

SAMPLE_S = 0.01
ROUNDS = 15


def largest_error(got: Sequence[np.ndarray], want: Sequence[np.ndarray]) -> float:
    """Return the largest deviation, relative to each array's largest element."""
    worst = 0.0
    for x, y in zip(got, want, strict=True):
        if x.shape != y.shape:
            return math.inf
        away = np.max(np.abs(x.astype(np.float64) - y), initial=0.0)
        worst = max(worst, float(away / np.max(np.abs(y), initial=1e-30)))
    return worst


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
    for _ in range(20):
        contender.wait()
        start = time.perf_counter()
        contender.run()
        times.append(time.perf_counter() - start)
    contender.wait()
    return statistics.median(times)


def started(
    row: Row, name: str, device: tj.Device, want: Sequence[np.ndarray]
) -> tuple[Contender | None, dict[str, Any]]:
    """Build a contender, call it, and compare what it gives."""
    about: dict[str, Any] = {}
    start = time.perf_counter()
    try:
        contender = ours(row, device) if name == OURS else PEERS[name](row)
        result = contender.run()
        contender.wait()
        about["first_call_s"] = time.perf_counter() - start
        got = [contender.to_numpy(x) for x in leaves(result)]
    except Exception as error:  # one row that fails must not cost the others
        text = " ".join(str(error).split())
        return None, {"failed": f"{type(error).__name__}: {text}"[:600]}
    about["error"] = largest_error(got, want)
    if not about["error"] <= row.rtol:
        return None, {**about, "failed": f"wrong by {about['error']:.1e}"}
    return contender, about


def measure(
    row: Row, names: Sequence[str], device: tj.Device, rounds: int = ROUNDS
) -> dict[str, Any]:
    """Return what each contender did on a row, as data for JSON."""
    want = reference(row)
    found: dict[str, dict[str, Any]] = {}
    live: dict[str, Contender] = {}
    for name in names:
        contender, found[name] = started(row, name, device, want)
        if contender is not None:
            live[name] = contender
    calls = {}
    for name, contender in live.items():
        guess = min(seconds_per_call(contender, 2) for _ in range(3))
        calls[name] = min(max(math.ceil(SAMPLE_S / guess), 1), 2000)
    samples: dict[str, list[float]] = {name: [] for name in live}
    turns = random.Random(0)
    for _ in range(rounds):
        for name in turns.sample([*live], len(live)):
            seconds_per_call(live[name], 2)  # warm again
            samples[name].append(seconds_per_call(live[name], calls[name]))
    for name, contender in live.items():
        seconds = statistics.median(samples[name])
        found[name] |= {
            "seconds": seconds,
            "samples": samples[name],
            "host_s": host_seconds(contender),
            "gb_s": row.bytes / seconds / 1e9,
            "tflop_s": row.flops / seconds / 1e12,
        }
    return {"row": row.name, "dtype": row.dtype, "contenders": found}


def limits(device: tj.Device, scale: int = 1) -> dict[str, float]:
    """Measure the device: bytes copied in a second, bfloat16 operations in a second.

    By PyTorch where it is there, else by what is measured here itself.
    """
    try:
        import torch  # noqa: PLC0415

        if not torch.cuda.is_available():
            return {}
    except ImportError:
        return {}
    x = torch.empty((1 << 30) // scale, device="cuda", dtype=torch.float32)
    a = torch.randn(8192 // scale, 8192 // scale, device="cuda").bfloat16()
    wait = torch.cuda.synchronize
    copy = Contender(lambda: x.clone(), wait, np.asarray)
    product = Contender(lambda: a @ a, wait, np.asarray)
    for one in (copy, product):
        seconds_per_call(one, 3)
    best = [min(seconds_per_call(c, 5) for _ in range(5)) for c in (copy, product)]
    return {
        "copy_gb_s": 2 * x.nbytes / best[0] / 1e9,
        "matmul_tflop_s": 2 * a.shape[0] ** 3 / best[1] / 1e12,
    }


def ratio(result: dict[str, Any]) -> float:
    """Return the best peer's time over ours; NaN where one is missing."""
    times = {n: c.get("seconds", math.nan) for n, c in result["contenders"].items()}
    ours_s = times.pop(OURS, math.nan)
    known = [t for t in times.values() if not math.isnan(t)]
    return min(known) / ours_s if known else math.nan


def write(path: Path, data: dict[str, Any]) -> None:
    """Write results, whole at each row."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
