"""The command `tracejit trace`: one function at every level of the compiler.

Needs the stages of `tracejit.stages`. Establishes what users see of a compilation: the
graph as traced, the graph after each pass that changed it, the Program, its kernels
with their schedules, and the LLVM text.
"""

from collections.abc import Iterator

import click

from .. import config
from ..stages import Lowered, Traced
from .args import HELP_END, argument_option, isa_option
from .functions import args_from_option, traced_target, user_errors

LEVELS = ("graph", "passes", "program", "kernels", "llvm")

EPILOG = f"""\b
Examples:
  tracejit trace model.py:predict --arg f32[8,16] --arg f32[16,4]
  tracejit trace model.py:step --arg "[(f32[8,4], f32[4])]" --arg lr=0.1
  tracejit trace model.py:step --args-from model.py:example
  tracejit trace package.module:loss --arg @x.npy --level kernels
  tracejit trace model.py:predict --arg f32[8] --level llvm --isa avx2

{HELP_END}"""


@click.command(epilog=EPILOG)
@click.argument("target", metavar="FILE.py:FUNC|MODULE:FUNC")
@argument_option
@args_from_option
@click.option(
    "--level",
    "levels",
    type=click.Choice((*LEVELS, "all")),
    multiple=True,
    default=("all",),
    show_default=True,
    help="What to show; can be repeated.",
)
@isa_option("the LLVM text")
def trace(
    target: str,
    arguments: tuple[str, ...],
    args_from: str | None,
    levels: tuple[str, ...],
    isa: str | None,
) -> None:
    """Show a function at every level: graph, passes, Program, kernels, LLVM text.

    FUNC is a plain NumPy function, or one under tj.jit or tj.grad. It is traced and
    compiled, but not run; code of its module runs, as in an import. Each level is
    verified.
    """
    wanted = frozenset(LEVELS if "all" in levels else levels)
    switches = {} if isa is None else {"isa": isa}
    with user_errors(), config.override(verify=True, **switches):
        traced = traced_target(target, arguments, args_from)
        for title, text in sections(traced, wanted):
            click.secho(f"; === {title} ===", bold=True)
            click.echo(f"{text.rstrip()}\n" if text else "")


# --- what is shown ----------------------------------------------------------------


def sections(traced: Traced, wanted: frozenset[str]) -> Iterator[tuple[str, str]]:
    """Yield title and text of each wanted level, compiling no further than needed."""
    if "graph" in wanted:
        yield "graph as traced", traced.as_text()
    if wanted <= {"graph"}:
        return
    lowered = traced.lower()
    if "passes" in wanted:
        yield from changes(traced, lowered)
    program, *kernels = lowered.as_text().rstrip().split("\n\n")
    if "program" in wanted:
        yield "program", program
    if "kernels" in wanted:
        yield f"kernels: {len(kernels)}", "\n\n".join(kernels)
    if "llvm" in wanted:
        yield "llvm", lowered.compile().as_text()


def changes(traced: Traced, lowered: Lowered) -> Iterator[tuple[str, str]]:
    """Yield the graph after each pass that changed it; unchanged ones are named."""
    before = traced.as_text()
    unchanged = []
    for name, text in lowered.stages:
        if text == before:
            unchanged.append(name)
        else:
            yield f"graph after {name}", text
        before = text
    if unchanged:
        yield f"graph not changed by: {', '.join(unchanged)}", ""
