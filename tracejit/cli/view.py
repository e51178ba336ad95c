"""The command `tracejit view`: one HTML file that shows every level of a function.

Needs `debug.page`, which makes the page. Establishes the file, and its name on stdout.
"""

import sys
import webbrowser
from contextlib import redirect_stdout
from pathlib import Path

import click

from .. import config
from ..codegen.triton.build import check_arch
from ..debug.page.model import Extras, document
from ..debug.page.page import Page, file_name, page_of
from ..debug.profiler import Profile, profile_call
from ..errors import TracejitError
from ..stages import Lowered
from .args import HELP_END, argument_option, isa_option
from .functions import (
    args_from_option,
    as_jit,
    function_and_calls,
    json_option,
    print_json,
    traced_target,
    user_errors,
)

EPILOG = f"""\b
Examples:
  tracejit view model.py:predict --arg f32[8,16] --arg f32[16,4] --open
  tracejit view model.py:step --arg "[(f32[8,4], f32[4])]" -o step.html
  tracejit view model.py:step --arg @x.npy --profile
  tracejit view package.module:loss --arg @x.npy --gpu sm_90
  tracejit view model.py:predict --arg f32[8] --json | jq .stages[].name

{HELP_END}"""


@click.command(epilog=EPILOG)
@click.argument("target", metavar="FILE.py:FUNC|MODULE:FUNC")
@argument_option
@args_from_option
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file to write; FUNC.html in this folder if none is said.",
)
@click.option("--open", "is_opened", is_flag=True, help="Open it in a browser.")
@click.option(
    "--gpu",
    metavar="SM",
    default="",
    help="Show kernels and Triton source for a GPU: sm_80, sm_90, sm_100, ...",
)
@click.option(
    "--profile",
    "is_profiled",
    is_flag=True,
    help="Run it too, and show what its kernels take beside the machine's limits.",
)
@isa_option("LLVM text and assembly")
@json_option
def view(
    target: str,
    arguments: tuple[str, ...],
    args_from: str | None,
    output: Path | None,
    is_opened: bool,
    gpu: str,
    is_profiled: bool,
    isa: str | None,
    as_json: bool,
) -> None:
    """Write one HTML file that shows a function at every level, linked line by line.

    Source, the graph after each pass with what the pass changed, kernels, Program, the
    fused graph drawn, LLVM text and assembly, memory, explanations. The file needs
    nothing else and no network. FUNC is a plain NumPy function, or one under tj.jit or
    tj.grad; it is traced and compiled, and run only with --profile.
    """
    if gpu and is_profiled:
        raise click.UsageError("--profile measures this machine; leave out --gpu")
    switches = {} if isa is None else {"isa": isa}
    with user_errors(), config.override(**switches):
        lowered = lowered_for(target, arguments, args_from, gpu)
        profile = profiled(target, arguments, args_from) if is_profiled else None
        extras = Extras(likely_files(target), gpu, profile)
        found = document(lowered, extras)
        if as_json:
            print_json(found)
            return
        name = target.rpartition(":")[2]
        place = output or Path(f"{file_name(name)}.html")
        try:
            Page(name, page_of(found)).save(place)
        except OSError as error:
            raise click.UsageError(
                f"{place} cannot be written: {error.strerror}"
            ) from error
        click.echo(str(place))
        if is_opened:
            webbrowser.open(place.resolve().as_uri())


def lowered_for(
    target: str, arguments: tuple[str, ...], args_from: str | None, gpu: str
) -> Lowered:
    """Return the function's compilation, for a GPU if one is named."""
    if not gpu:
        return traced_target(target, arguments, args_from).lower()
    from ..codegen.triton.limits import TRITON  # noqa: PLC0415  # for GPUs alone

    try:
        check_arch(gpu)
    except TracejitError as error:
        raise click.BadParameter(error.message, param_hint="--gpu") from error
    return traced_target(target, arguments, args_from).lower(TRITON)


def profiled(target: str, arguments: tuple[str, ...], args_from: str | None) -> Profile:
    """Run the function at these arguments and return what its steps take."""
    with redirect_stdout(sys.stderr):
        function, calls = function_and_calls(target, arguments, args_from)
        args, kwargs = next(calls)
        return profile_call(as_jit(function), tuple(args), dict(kwargs))


def likely_files(target: str) -> tuple[str, ...]:
    """Return the file that the command line names, if it names one."""
    place = target.rpartition(":")[0]
    return (str(Path(place).resolve()),) if place.endswith(".py") else ()
