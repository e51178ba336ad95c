"""What happens once: imports, first calls, memory, disk. Each in processes of its own.

``python -m benchmarks.cold KIND PROGRAM CONTENDER`` measures one thing and prints it as
JSON; `compile_tables` and `memory_tables` start such processes and collect tables. Disk
caches of every library are empty, or in "again" tables filled by one call before.
"""

import importlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from .contenders import BUILDERS, PACKAGES
from .machine import ROOT
from .measure import make_inputs
from .row import Row
from .rows import attention, elementwise, growing, language
from .sizes import closure_bytes

PATIENCE_S = 120
IMPORT_TRIES = 3
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
DISK_CACHED = ("tracejit", "jax", "inductor", "drjit")  # what keeps code by itself

FIRST_CALLS: Mapping[str, Row] = {
    row.name: row
    for row in (
        elementwise.gelu_row(2**20, name="gelu_chain"),
        *map(growing.chain_row, growing.CHAINS),
        *map(growing.layers_row, growing.DEPTHS),
        language.transformer_step_row(language.BLOCK),
        language.transformer_step_row(language.SIX_BLOCKS),
    )
}
# Compilers whose time grows faster than the program's length are not kept waiting.
TOO_LONG = {("inductor", "chain_5000"), ("numba", "chain_5000")}
AGAIN = ("gelu_chain", "chain_100", "mlp_grad_10_layers")
# What a process has compiled before: libraries set up their compilers with it.
BEFORE = ("gelu_chain", "chain_10")

# Each after a small row of the same program, which loads what the library needs.
MEMORY: Mapping[str, tuple[Row, Row, int]] = {
    "gelu_chain on 16 MB": (
        elementwise.gelu_row(2**22),
        elementwise.gelu_row(2**10),
        2**24,
    ),
    "attention 4x8x512x64, gradients": (
        attention.attention_grad_row((4, 8, 512, 64), is_causal=True),
        attention.attention_grad_row((1, 2, 16, 16), is_causal=True),
        3 * 2**22,
    ),
}


@dataclass(frozen=True)
class Table:
    """Numbers that are no medians over rounds: by row, then by contender.

    A number is None where it is not known; `notes` say why.
    """

    title: str
    unit: str
    rows: dict[str, dict[str, float | None]]
    notes: tuple[str, ...] = ()


# --- in the process that is measured ----------------------------------------------


def first_call(row: Row, name: str, before: Row | None = None) -> dict[str, float]:
    """Seconds from the function to its first result, its library being imported.

    With `before`, in a process that has called that.
    """
    importlib.import_module(PACKAGES[name])
    if before is not None:
        _call(before, name)
    return {"seconds": _call(row, name)}


def _call(row: Row, name: str) -> float:
    inputs = make_inputs(row)
    start = perf_counter()
    contender = BUILDERS[name](row, inputs)
    contender.function(*contender.args)
    return perf_counter() - start


def peak_bytes(small: Row, row: Row, name: str) -> dict[str, float]:
    """How far memory rises above that of the inputs, in two calls.

    Two calls of the small row come first: pages of a library count as memory when they
    are touched, and would be most of what is seen.
    """
    for each in (small, row):
        contender = BUILDERS[name](each, make_inputs(each))
        CLEAR.write_text("5")
        before = _status("VmRSS")
        for _ in range(2):
            contender.function(*contender.args)
    return {"bytes": _status("VmHWM") - before}


def _status(field: str) -> int:
    lines = STATUS.read_text().splitlines()
    line = next(line for line in lines if line.startswith(field))
    return 1024 * int(line.split()[1])


def main(kind: str, program: str, name: str) -> None:
    """Measure one thing and print it."""
    if kind == "first":
        found = first_call(FIRST_CALLS[program], name)
    elif kind == "next":
        before = next(row for row in BEFORE if row != program)
        found = first_call(FIRST_CALLS[program], name, FIRST_CALLS[before])
    else:
        row, small, _ = MEMORY[program]
        found = peak_bytes(small, row, name)
    print(json.dumps(found))


# --- in the process that collects -------------------------------------------------


def environment(cache: str) -> dict[str, str]:
    """The environment in which every library keeps compiled code in `cache`.

    Python's own bytecode is kept where it is: installed libraries have it.
    """
    return _with_bytecode() | {
        "HOME": cache,
        "TRACEJIT_CACHE_DIR": f"{cache}/tracejit",
        "TORCHINDUCTOR_CACHE_DIR": f"{cache}/inductor",
        "JAX_COMPILATION_CACHE_DIR": f"{cache}/jax",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }


def _with_bytecode() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}


def in_process(*arguments: str, cache: str) -> dict[str, float] | str:
    """What `main` prints for these arguments, or why it prints nothing."""
    command = [sys.executable, "-m", "benchmarks.cold", *arguments]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            cwd=ROOT,
            env=environment(cache),
        )
    except subprocess.TimeoutExpired:
        return f"more than {PATIENCE_S} s"
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        return lines[-1][:200]
    return json.loads(done.stdout.splitlines()[-1])


def collect(
    title: str,
    unit: str,
    programs: Sequence[str],
    names: Sequence[str],
    measure: Callable[[str, str], float | str | None],
) -> Table:
    """Measure every program for every contender; text instead of a number is a note."""
    rows: dict[str, dict[str, float | None]] = {}
    notes = []
    for program in programs:
        rows[program] = {}
        for name in names:
            found = measure(program, name)
            if isinstance(found, str):
                notes.append(f"{name}, {program}: {found}")
                found = None
            rows[program][name] = found
    return Table(title, unit, rows, tuple(notes))


def compile_tables(names: Sequence[str], programs: Sequence[str] = ()) -> list[Table]:
    """First calls: in a fresh process, in others, with a full disk cache; imports."""
    compiling = [name for name in names if name not in ("numpy", "torch")]
    chosen = programs or [*FIRST_CALLS]
    again = [program for program in AGAIN if program in chosen]
    cached = [name for name in compiling if name in DISK_CACHED]
    return [
        collect("first call", "s", chosen, compiling, _cold_call),
        collect(
            "first call in a process that has compiled another program",
            "s",
            chosen,
            compiling,
            _next_call,
        ),
        collect("first call of a process, disk cache full", "s", again, cached, _again),
        collect("import", "s", ["import"], _packages(names), _import),
    ]


def memory_tables(names: Sequence[str]) -> list[Table]:
    """Memory of calls, and what is installed."""
    compiled = [name for name in names if name != "numba"]
    return [
        collect("peak memory above the inputs", "MB", [*MEMORY], compiled, _memory),
        collect(
            "installed, with all that is needed",
            "MB",
            ["size"],
            _packages(names),
            _size,
        ),
    ]


def _packages(names: Sequence[str]) -> list[str]:
    return [*dict.fromkeys(PACKAGES[name] for name in names)]


def _is_left_out(row: Row, name: str) -> bool:
    builders = {"inductor": row.torch_fn, "torch": row.torch_fn, "jax": row.jax_fn}
    builders |= {"numba": row.numba_fn, "drjit": row.drjit_fn, "numpy": row.numpy_fn}
    return builders.get(name, row) is None or (name, row.name) in TOO_LONG


def _cold_call(program: str, name: str, kind: str = "first") -> float | str | None:
    if _is_left_out(FIRST_CALLS[program], name):
        return None
    with tempfile.TemporaryDirectory() as cache:
        found = in_process(kind, program, name, cache=cache)
    return found if isinstance(found, str) else found["seconds"]


def _next_call(program: str, name: str) -> float | str | None:
    return _cold_call(program, name, "next")


def _again(program: str, name: str) -> float | str | None:
    if _is_left_out(FIRST_CALLS[program], name):
        return None
    with tempfile.TemporaryDirectory() as cache:
        in_process("first", program, name, cache=cache)
        found = in_process("first", program, name, cache=cache)
    return found if isinstance(found, str) else found["seconds"]


def _memory(program: str, name: str) -> float | str | None:
    """Megabytes of a row, after a small one in the same process."""
    if _is_left_out(MEMORY[program][0], name):
        return None
    with tempfile.TemporaryDirectory() as cache:
        found = in_process("memory", program, name, cache=cache)
    return found if isinstance(found, str) else found["bytes"] / 2**20


def _import(_: str, package: str) -> float | str:
    """Seconds, the best of several processes; what is on disk is in memory by then."""
    text = f"import time; t = time.perf_counter(); import {package}; "
    command = [sys.executable, "-c", text + "print(time.perf_counter() - t)"]
    times = []
    for _ in range(IMPORT_TRIES):
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=ROOT, env=_with_bytecode()
        )
        if done.returncode:
            return done.stderr.strip().splitlines()[-1]
        times.append(float(done.stdout))
    return min(times)


def _size(_: str, package: str) -> float | str:
    try:
        return closure_bytes(package) / 2**20
    except importlib.metadata.PackageNotFoundError as error:
        return f"not installed: {error}"


if __name__ == "__main__":
    main(*sys.argv[1:])
