"""``python -m benchmarks.random_numbers``: 16M random numbers, ours beside its peers.

Nanoseconds per number: medians over interleaved rounds in one process, results
allocated in each call. JAX is left out where it is not installed.
"""

import importlib
import importlib.util
import time
from collections.abc import Callable
from statistics import median

import numpy as np

import tracejit as tj

N = 1 << 24
ROUNDS = 5
F32, I32 = np.float32, np.int32
Call = Callable[[], object]


def ours() -> dict[str, Call]:
    key = tj.random.key(42)
    r = tj.random
    return {
        "uniform float32": lambda: r.uniform(key, N, F32),
        "normal float32": lambda: r.normal(key, N, F32),
        "normal float64": lambda: r.normal(key, N),
        "exponential float32": lambda: r.exponential(key, N, F32),
        "randint int32": lambda: r.randint(key, N, 0, 100, I32),
    }


def numpys() -> dict[str, Call]:
    rng = np.random.default_rng(42)
    return {
        "uniform float32": lambda: rng.random(N, F32),
        "normal float32": lambda: rng.standard_normal(N, F32),
        "normal float64": lambda: rng.standard_normal(N),
        "exponential float32": lambda: rng.standard_exponential(N, F32),
        "randint int32": lambda: rng.integers(0, 100, N, I32),
    }


def jaxs() -> dict[str, Call]:
    if importlib.util.find_spec("jax") is None:
        return {}
    jax = importlib.import_module("jax")
    key = jax.random.PRNGKey(42)

    def call(draw: Callable[..., object]) -> Call:
        compiled = jax.jit(draw)
        return lambda: compiled(key).block_until_ready()

    return {
        "uniform float32": call(lambda k: jax.random.uniform(k, (N,))),
        "normal float32": call(lambda k: jax.random.normal(k, (N,))),
        "exponential float32": call(lambda k: jax.random.exponential(k, (N,))),
        "randint int32": call(lambda k: jax.random.randint(k, (N,), 0, 100)),
    }


def measure(calls: dict[str, Call]) -> dict[str, float]:
    """Return nanoseconds per number of each contender."""
    for call in calls.values():
        call()
    found: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            found[name].append(time.perf_counter() - start)
    return {name: median(t) / N * 1e9 for name, t in found.items()}


def main() -> None:
    contenders = {"tracejit": ours(), "NumPy": numpys(), "JAX": jaxs()}
    for row in contenders["tracejit"]:
        calls = {name: c[row] for name, c in contenders.items() if row in c}
        times = measure(calls)
        text = ", ".join(f"{name} {t:.1f}" for name, t in times.items())
        print(f"{row:20} {text}", flush=True)


if __name__ == "__main__":
    main()
