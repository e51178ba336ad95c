"""The command `tracejit profile`: where the time of a function or a script goes.

Needs `debug.profiler`. Establishes tables of steps and of the user's lines with their
share of the machine's limits, as text or JSON, and a trace for Perfetto.
"""

import json
import runpy
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import click
import numpy as np

from .. import config
from ..debug import machine
from ..debug.profiler import Profile, Recorder, profile_call
from ..debug.samples import sample_inputs
from ..ir.aval import ShapedArray
from ..runtime.cpu.threads import usable_cores
from ..tracing.tree import flatten, unflatten
from .args import HELP_END, argument_option
from .functions import (
    args_from_option,
    as_jit,
    check_call,
    function_and_calls,
    json_option,
    print_json,
    user_errors,
)

EPILOG = f"""\b
Examples:
  tracejit profile model.py:predict --arg f32[8,16] --arg f32[16,4]
  tracejit profile model.py:step --arg f64[1000,1000] --calls 50 --json
  tracejit profile train.py -- --epochs 2
  tracejit profile train.py --trace trace.json   # opens in https://ui.perfetto.dev

{HELP_END}"""


@click.command(
    "profile", epilog=EPILOG, context_settings={"ignore_unknown_options": False}
)
@click.argument("target", metavar="FILE.py:FUNC|MODULE:FUNC|SCRIPT.py")
@click.argument("script_arguments", metavar="[-- SCRIPT ARGUMENTS]", nargs=-1)
@argument_option
@args_from_option
@click.option("--calls", type=click.IntRange(1), help="How many calls of FUNC.")
@click.option("--threads", type=click.IntRange(1), help="How many threads they use.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the values.")
@click.option(
    "--trace",
    "trace_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also write what ran when to a file that Perfetto and Chrome open.",
)
@click.option(
    "--order",
    type=click.Choice(("time", "program")),
    default="time",
    show_default=True,
    help="Of steps and lines: the longest first, or as they stand.",
)
@click.option("--measure", is_flag=True, help="Measure the machine again first.")
@json_option
def profile(
    target: str,
    script_arguments: tuple[str, ...],
    arguments: tuple[str, ...],
    args_from: str | None,
    calls: int | None,
    threads: int | None,
    seed: int,
    trace_file: Path | None,
    order: str,
    measure: bool,
    as_json: bool,
) -> None:
    """Measure a function or a script: each step, each line, against the machine.

    FUNC is called many times, with arrays of random values; a SCRIPT.py runs once, as
    python runs it, and all compiled functions in it are profiled together. The first
    profile on a machine measures its limits, which takes some seconds.
    """
    switches = {} if threads is None else {"threads": threads}
    with user_errors(), config.override(**switches):
        if measure:
            machine.improve({1, threads or usable_cores()})
        if ":" in target:
            if script_arguments:
                raise click.UsageError("a function takes its arguments by --arg")
            found = _of_function(target, arguments, args_from, calls, seed)
        elif arguments or args_from or calls:
            raise click.UsageError("--arg and --calls need a function, FILE.py:FUNC")
        else:
            found = _of_script(Path(target), script_arguments)
    if trace_file is not None:
        trace_file.write_text(json.dumps(found.chrome_trace()), encoding="utf-8")
    if as_json:
        print_json(found.as_json())
    else:
        click.echo(found.as_text(order))


def _of_function(
    target: str,
    arguments: Sequence[str],
    args_from: str | None,
    calls: int | None,
    seed: int,
) -> Profile:
    # What the user's code prints is kept out of a stdout that may be piped on.
    with redirect_stdout(sys.stderr):
        function, given = function_and_calls(target, arguments, args_from)
        args, kwargs = next(given)
        check_call(function, args, kwargs)
        if args_from is None:
            args, kwargs = with_samples((args, kwargs), seed)
        return profile_call(as_jit(function), tuple(args), kwargs, calls)


def with_samples(tree: Any, seed: int) -> Any:
    """Return arguments with random values in place of arrays that are all zeros.

    So are those that the command line gave as types.
    """
    leaves, spec = flatten(tree)
    rng = np.random.default_rng(seed)
    for k, x in enumerate(leaves):
        if isinstance(x, np.ndarray) and not x.any():
            own = int(rng.integers(1 << 31))
            [leaves[k]] = sample_inputs([ShapedArray(x.shape, x.dtype)], own)
    return unflatten(spec, leaves)


def _of_script(path: Path, arguments: Sequence[str]) -> Profile:
    if not path.is_file():
        raise click.UsageError(f"there is no file {path}; FILE.py:FUNC is a function")
    recorder = Recorder()
    with _as_main(path, arguments), redirect_stdout(sys.stderr), recorder:
        try:
            runpy.run_path(str(path), run_name="__main__")
        except SystemExit as end:
            if end.code not in (None, 0):
                click.echo(f"{path} ended with exit code {end.code}", err=True)
    return recorder.profile


@contextmanager
def _as_main(path: Path, arguments: Sequence[str]) -> Iterator[None]:
    """Have the script see its arguments, and threads that it starts be profiled."""
    argv, folders, was_on = sys.argv, sys.path[:], config.get("profile")
    sys.argv = [str(path), *arguments]
    sys.path.insert(0, str(path.parent.resolve()))
    config.set("profile", True)
    try:
        yield
    finally:
        config.set("profile", was_on)
        sys.argv, sys.path[:] = argv, folders
