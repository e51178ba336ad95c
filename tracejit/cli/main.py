"""The command `tracejit`: its name, version, help, and the table of its commands.

A command's module is imported when that command runs, so that `tracejit --help` and
`tracejit --version` need neither the compiler's modules nor the demo's libraries.
"""

import importlib
from dataclasses import dataclass

import click
from click.shell_completion import CompletionItem

from .._version import __version__


@dataclass(frozen=True)
class Entry:
    """A command: where it is, and the line that says what it does."""

    module: str
    attribute: str
    help: str


COMMANDS = {
    "trace": Entry(
        "tracejit.cli.trace", "trace", "Show a function at every level of the compiler."
    ),
    "emit": Entry(
        "tracejit.cli.emit", "emit", "Print one level: kernels, LLVM, Triton, PTX, ..."
    ),
    "view": Entry(
        "tracejit.cli.view", "view", "Write a page that shows all levels, linked."
    ),
    "explain": Entry(
        "tracejit.cli.explain",
        "explain",
        "Say what is compiled again, and what goes through memory.",
    ),
    "opt": Entry("tracejit.cli.opt", "opt", "Run passes over a graph in .tir text."),
    "run": Entry(
        "tracejit.cli.run", "run", "Compile and run on samples; check the results."
    ),
    "diff": Entry("tracejit.cli.diff", "diff", "Compare graphs in .tir text."),
    "bisect": Entry(
        "tracejit.cli.bisect", "bisect", "Find the rewrite that makes results wrong."
    ),
    "reduce": Entry(
        "tracejit.cli.reduce",
        "reduce",
        "Make a graph that fails as small as it can be.",
    ),
    "nan": Entry(
        "tracejit.cli.nan", "nan", "Call a function and name the line that makes NaN."
    ),
    "bench": Entry(
        "tracejit.cli.bench", "bench", "Measure a function, compiled and not."
    ),
    "cache": Entry(
        "tracejit.cli.cache", "cache", "Show and remove compiled code on disk."
    ),
    "doctor": Entry(
        "tracejit.cli.doctor", "doctor", "Look whether all that is needed is in order."
    ),
    "repro": Entry(
        "tracejit.cli.repro", "repro", "Compile again what an internal error wrote."
    ),
    "profile": Entry(
        "tracejit.cli.profile", "profile", "Measure a function or script, by line."
    ),
    "demo": Entry(
        "tracejit.cli.demo", "demo", "Train a network on handwritten digits."
    ),
}

EPILOG = """\b
Examples:
  tracejit trace model.py:predict --arg f32[8,16] --arg f32[16,4]
  tracejit emit model.py:predict --arg f32[8,16] --arg f32[16,4] --target triton
  tracejit view model.py:predict --arg f32[8,16] --arg f32[16,4] --open
  tracejit explain model.py:predict --args-from model.py:batches
  tracejit opt graph.tir -p "canonicalize,cse,fuse" --print-changed
  tracejit demo --epochs 30

\b
Completion by the shell, for ~/.bashrc, ~/.zshrc, ~/.config/fish/config.fish:
  eval "$(_TRACEJIT_COMPLETE=bash_source tracejit)"
  eval "$(_TRACEJIT_COMPLETE=zsh_source tracejit)"
  _TRACEJIT_COMPLETE=fish_source tracejit | source

\b
Exit codes:
  0  done
  1  the program, graph or training given to the command failed
  2  the command line is wrong
"""


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command; None if there is none of that name."""
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        module = importlib.import_module(entry.module)
        command: click.Command = getattr(module, entry.attribute)
        return command

    def shell_complete(
        self, ctx: click.Context, incomplete: str
    ) -> list[CompletionItem]:
        """Return what can stand here; from the table, without imports."""
        options = click.Command.shell_complete(self, ctx, incomplete)
        found = [(k, e) for k, e in COMMANDS.items() if k.startswith(incomplete)]
        return [*(CompletionItem(k, help=e.help) for k, e in found), *options]

    def format_commands(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        """Write the commands from the table, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, e.help) for name, e in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="tracejit")
def main() -> None:
    """See what tracejit makes of NumPy functions, level by level."""
