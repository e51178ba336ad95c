"""Kernels built once: from the cache on disk, or in several processes at a time.

A kernel found on disk needs neither Triton nor its import. Of several that are not
there, each worker process builds some and puts them on disk; workers are told their
kernels on standard input, and run none of the user's code.
"""

import contextlib
import importlib.metadata
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Collection, Sequence
from functools import cache

from ..._version import __version__
from ...disk import DiskCache, key_of
from ...errors import InternalError
from .build import Built, Facts, build
from .code import TritonCode

Wanted = tuple[TritonCode, tuple[str, ...]]  # a kernel, and its aligned pointers
_WORTH = 4  # kernels to build from which on processes pay: each takes a second to start


def key(code: TritonCode, arch: str, aligned: Collection[str]) -> str:
    """Return the name of a built kernel on disk."""
    launch = code.sizes, sorted(aligned)
    return key_of(__version__, triton_version(), arch, code.source, launch)


@cache
def triton_version() -> str:
    """Return the version of Triton; empty without it."""
    try:
        return importlib.metadata.version("triton")
    except importlib.metadata.PackageNotFoundError:
        return ""


def stored_build(
    code: TritonCode, arch: str, aligned: Collection[str], disk: DiskCache | None
) -> Built:
    """Return a kernel, from disk if it is there; see `build`."""
    if disk is None:
        return build(code, arch, aligned, measured=False)
    name = key(code, arch, aligned)
    parts = disk.get(name)
    if parts is not None:
        return _loaded(parts)
    built = build(code, arch, aligned, measured=False)
    disk.put(name, _kept(built))
    return built


def _kept(built: Built) -> dict[str, bytes]:
    facts = built.facts
    about = {
        "name": built.name,
        "shared": facts.shared,
        "num_warps": facts.num_warps,
        "global_scratch": built.global_scratch,
    }
    return {
        "about": json.dumps(about).encode(),
        "ptx": built.ptx.encode(),
        "cubin": built.cubin,
    }


def _loaded(parts: dict[str, bytes]) -> Built:
    about = json.loads(parts["about"])
    return Built(
        about["name"],
        parts["ptx"].decode(),
        parts["cubin"],
        Facts(about["shared"], about["num_warps"], None, None),
        about["global_scratch"],
    )


def build_together(wanted: Sequence[Wanted], arch: str, disk: DiskCache | None) -> None:
    """Put kernels on disk, built in as many processes as there are cores for.

    Few are left to whoever asks for them next, and so are those that fail, so that the
    error is raised there.
    """
    if disk is None:
        return
    missing = [w for w in wanted if not disk.has(key(w[0], arch, w[1]))]
    if len(missing) < _WORTH:
        return
    count = min(len(missing), os.cpu_count() or 1)
    workers = [_start(disk, arch, missing[k::count]) for k in range(count)]
    for worker in workers:
        worker.wait()


def _start(
    disk: DiskCache, arch: str, wanted: Sequence[Wanted]
) -> "subprocess.Popen[bytes]":
    worker = subprocess.Popen(
        [sys.executable, "-c", f"from {__name__} import work; work()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert worker.stdin is not None
    with worker.stdin as pipe:
        pickle.dump((str(disk.folder), disk.limit, arch, list(wanted)), pipe)
    return worker


def work() -> None:
    """Build what standard input says; the main program of a worker."""
    folder, limit, arch, wanted = pickle.load(sys.stdin.buffer)
    disk = DiskCache(folder, limit)
    for code, aligned in wanted:
        with contextlib.suppress(InternalError):  # is raised for whoever asks for it
            stored_build(code, arch, aligned, disk)
