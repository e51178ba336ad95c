"""What `tracejit doctor` looks at: versions, processor, cache, GPU, switches, a test.

Establishes `examine`: a list of `Item`s, each of which is fine, worth a note, or
broken. Nothing is changed but a file of a few bytes, which is removed again.
"""

import importlib.metadata
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .. import config
from .._version import __version__
from ..api import jit
from ..codegen.llvm.target import host_target
from ..program.memory import in_bytes
from ..runtime.cpu.entry.support import why_not
from ..runtime.cpu.threads import usable_cores
from ..runtime.cuda.device import cuda_device
from ..runtime.cuda.driver import system_driver
from ..tracing.differentiate import grad
from . import cache_files

OK, NOTE, BROKEN = "ok", "note", "broken"
PACKAGES = ("numpy", "llvmlite", "ml_dtypes", "click", "rich", "scipy", "triton")
OPTIONAL = ("scipy", "triton")


@dataclass(frozen=True)
class Item:
    """One thing that was looked at.

    Parameters
    ----------
    name : str
    state : str
        ``"ok"``, ``"note"`` or ``"broken"``.
    text : str
        What was found.
    """

    name: str
    state: str
    text: str


def examine() -> list[Item]:
    """Look at everything; what raises is broken."""
    found: list[Item] = []
    for name, look in _LOOKS:
        try:
            found += [Item(name, state, text) for state, text in look()]
        except Exception as error:  # a doctor reports whatever is wrong
            text = f"{type(error).__name__}: {error}".splitlines()[0]
            found.append(Item(name, BROKEN, text))
    return found


Findings = Iterator[tuple[str, str]]


def _versions() -> Findings:
    yield OK, f"tracejit {__version__}"
    name, version = sys.implementation.name, platform.python_version()
    yield OK if sys.version_info >= (3, 11) else BROKEN, f"{name} {version}"
    for package in PACKAGES:
        try:
            yield OK, f"{package} {importlib.metadata.version(package)}"
        except importlib.metadata.PackageNotFoundError:
            state = NOTE if package in OPTIONAL else BROKEN
            yield state, f"{package} is not installed"


def _processor() -> Findings:
    target = host_target(config.get("isa"))
    yield OK, f"{target.triple}, {target.cpu}"
    features = [x[1:] for x in target.features.split(",") if x.startswith("+")]
    wide = [x for x in features if x.startswith(("avx", "amx", "fma", "sse4"))]
    yield OK, f"code for {target.name}: vectors of {target.vector_bytes} bytes"
    yield OK, f"features: {' '.join(wide) or 'none that matter'}"
    threads = config.get("threads") or usable_cores()
    yield OK, f"{threads} threads on {usable_cores()} usable cores"


def _llvm() -> Findings:
    # llvmlite has just loaded, or `_processor` says why not.
    from ..codegen.llvm.library import llvm_library  # noqa: PLC0415

    version = llvm_library().llvm_version_info
    yield OK, f"LLVM {'.'.join(map(str, version))}"


def _native_calls() -> Findings:
    reason = why_not()
    yield (NOTE, f"calls stay in Python: {reason}") if reason else (OK, "in use")


def _cache() -> Findings:
    place = cache_files.folder()
    if place is None:
        yield NOTE, "off: every process compiles again"
        return
    found = cache_files.entries(place)
    yield OK, f"{place}: {len(found)} files, {in_bytes(sum(x.bytes for x in found))}"
    yield _writable(place)


def _writable(place: Path) -> tuple[str, str]:
    try:
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=place, prefix=".doctor"):
            pass
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        return BROKEN, f"cannot write there: {reason}"
    return OK, "writable"


def _gpu() -> Findings:
    try:
        count = system_driver().integer("cuDeviceGetCount")
    except Exception as error:  # no driver, or one that refuses
        yield NOTE, f"no CUDA device: {str(error).splitlines()[0]}"
        return
    for k in range(count):
        device = cuda_device(k)
        yield OK, f"{device.name}: {device.model}, {device.arch}"
    if not count:
        yield NOTE, "the CUDA driver finds no device"
    try:
        importlib.metadata.version("triton")
    except importlib.metadata.PackageNotFoundError:
        yield BROKEN if count else NOTE, "triton is not installed: tracejit[gpu]"


def _switches() -> Findings:
    default = config.load({})
    changed = [
        s for k, s in config.SWITCHES.items() if config.get(k) != getattr(default, k)
    ]
    for switch in changed:
        value = config.get(switch.name)
        text = os.environ.get(switch.env)
        is_from_there = text is not None and switch.parse(text) == value
        where = switch.env if is_from_there else "this process"
        yield OK, f"{switch.name} = {value!r}, set by {where}"
    if not changed:
        yield OK, "all have their defaults"
    known = {s.env for s in config.SWITCHES.values()}
    for name in sorted({k for k in os.environ if k.startswith("TRACEJIT_")} - known):
        yield NOTE, f"{name} is set, but is no switch"


def _self_test() -> Findings:
    x = np.linspace(0.1, 1.0, 50, dtype=np.float32).reshape(5, 10)
    got = jit(_softmax)(x)
    np.testing.assert_allclose(got, _softmax(x), rtol=1e-5)
    yield OK, "compiles, and gives what NumPy gives"
    slope = jit(grad(_loss))(x)
    np.testing.assert_allclose(slope, np.cos(x) * 2, rtol=1e-5)
    yield OK, "gradients are right"


def _softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(axis=1, keepdims=True))
    made: np.ndarray = e / e.sum(axis=1, keepdims=True)
    return made


def _loss(x: np.ndarray) -> object:
    return np.sum(np.sin(x) * 2)


_LOOKS: tuple[tuple[str, Callable[[], Findings]], ...] = (
    ("versions", _versions),
    ("llvm", _llvm),
    ("processor", _processor),
    ("native calls", _native_calls),
    ("cache", _cache),
    ("gpu", _gpu),
    ("switches", _switches),
    ("self-test", _self_test),
)
