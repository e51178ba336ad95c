"""What the numbers were measured on: processor, cores, versions, commit, date."""

import importlib.metadata
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from tracejit.debug.machine import cpu_model
from tracejit.runtime.cpu.threads import usable_cores

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
ROOT = Path(__file__).resolve().parents[1]
PACKAGES = (
    "numpy",
    "scipy",
    "llvmlite",
    "jax",
    "jaxlib",
    "torch",
    "numba",
    "drjit",
    "triton",
)


def package_version(name: str) -> str | None:
    """The installed version, or None."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def commit() -> str | None:
    """The checkout's commit, with ``-dirty`` where files differ from it."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def describe() -> dict[str, object]:
    """Everything a reader needs to judge the numbers, ready for JSON."""
    return {
        "cpu": cpu_model(),
        "architecture": platform.machine(),
        "cores": os.cpu_count(),
        "threads": usable_cores(),
        "load_before": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "versions": {name: package_version(name) for name in PACKAGES},
        "commit": commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def limit_threads(count: int) -> None:
    """Start this process anew on the first `count` of its cores.

    Thread pools are sized when libraries load, so the limit has to be there before
    they are: by affinity, which JAX and OpenMP honour, and by their variables.
    """
    wanted = {name: str(count) for name in THREAD_VARIABLES}
    has_affinity = hasattr(os, "sched_setaffinity")
    is_narrow = not has_affinity or usable_cores() <= count
    if is_narrow and wanted.items() <= os.environ.items():
        return
    if has_affinity:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])
    sys.stdout.flush()
    os.execve(sys.executable, sys.orig_argv, os.environ | wanted)
