"""The command line: `tracejit trace | opt | demo`.

Exit codes: 0 done; 1 the program or the IR given is at fault; 2 the command line is.
Commands import what they need when they run, so that `--help` is quick.
"""

import functools
import sys
from collections.abc import Callable
from typing import Any

import click

from .._version import __version__
from ..errors import TracejitError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="tracejit")
def main() -> None:
    """Write NumPy, add `@jit`; see every level of what it becomes.

    \b
    Examples:
      tracejit trace model.py:loss --arg f32[8,16] --arg f32[16]
      tracejit opt graph.tir -p "canonicalize,cse,dce,fuse" --time-passes
      tracejit demo

    Exit codes: 0 done, 1 the program or IR is at fault, 2 the command line is.
    """


def _reported(run: Callable[..., None]) -> Callable[..., None]:
    """Show errors of tracejit, and of user code, without the compiler's traceback."""

    @functools.wraps(run)
    def reported(**options: Any) -> None:
        try:
            run(**options)
        except TracejitError as error:
            click.echo(f"error: {error}", err=True)
            sys.exit(1)

    return reported


@main.command()
@click.argument("target", metavar="FILE.py:FUNC")
@click.option(
    "--arg",
    "args",
    multiple=True,
    metavar="SPEC",
    help="one argument: f32[8,16], a Python literal such as 3, or @file.npy",
)
@click.option(
    "--level",
    type=click.Choice(["graph", "passes", "program", "llvm", "all"]),
    default="all",
    help="what to print",
)
@click.option("--isa", default=None, help="auto, avx512, avx2 or baseline")
@_reported
def trace(target: str, args: tuple[str, ...], level: str, isa: str | None) -> None:
    """Print every level of a function: graph, passes, program, kernels, LLVM."""
    from .trace import print_levels  # noqa: PLC0415

    print_levels(target, args, level, isa)


@main.command()
@click.argument("file", type=click.File("r"))
@click.option("-p", "--passes", required=True, help='e.g. "canonicalize,cse,fuse"')
@click.option("--print-after", multiple=True, metavar="PASS", help="print after it")
@click.option("--print-changed", is_flag=True, help="print after passes that changed")
@click.option("--verify-each", is_flag=True, help="verify after every pass")
@click.option("--time-passes", is_flag=True, help="print seconds per pass")
@click.option("--stats", is_flag=True, help="print how often each rule fired")
@click.option("--bisect-limit", type=int, default=None, help="allow N rewrites")
@click.option("--disable-rule", multiple=True, metavar="RULE", help="leave a rule out")
@_reported
def opt(**options: Any) -> None:
    """Run passes over the graphs of a .tir file (- for stdin) and print them."""
    from .opt import OptOptions, optimize_text  # noqa: PLC0415

    text = options.pop("file").read()
    click.echo(optimize_text(text, OptOptions(**options)))


@main.command(context_settings={"ignore_unknown_options": True})
@click.argument("rest", nargs=-1, type=click.UNPROCESSED)
def demo(rest: tuple[str, ...]) -> None:
    """Train an MLP on handwritten digits, and write demo-report/."""
    from .demo import demo as command  # noqa: PLC0415

    command.main(list(rest), prog_name="tracejit demo")


if __name__ == "__main__":
    main()
