"""The command `tracejit nan`: which line makes NaN or inf.

Needs `debug.nan_check`. Establishes its finding as text or JSON, and an exit code that
says whether there is one.
"""

import sys
from contextlib import redirect_stdout

import click

from ..debug.nan_check import check
from .args import ROWS, argument_option
from .functions import (
    args_from_option,
    json_option,
    print_json,
    sampled_call,
    user_errors,
)

FOUND = 3
EPILOG = f"""\b
Examples:
  tracejit nan model.py:loss --arg @x.npy --arg @y.npy
  tracejit nan model.py:loss_grad --args-from model.py:last_batch
  tracejit nan model.py:loss --arg f32[8,16] --seed 3 --infinities

\b
An --arg is one of:
{ROWS}
Arrays of which the type alone is given hold normal random numbers.

\b
Exit codes:
  0  the results hold no NaN
  1  the function, or its file, failed
  2  the command line is wrong
  3  a line makes NaN, or inf
"""


@click.command(epilog=EPILOG)
@click.argument("target", metavar="FILE.py:FUNC|MODULE:FUNC")
@argument_option
@args_from_option
@click.option("--infinities", is_flag=True, help="Results that are inf count, too.")
@click.option("--seed", default=0, show_default=True, help="Of the sample values.")
@json_option
def nan(
    target: str,
    arguments: tuple[str, ...],
    args_from: str | None,
    infinities: bool,
    seed: int,
    as_json: bool,
) -> None:
    """Call a function; where its results hold NaN, name the line that made it.

    FUNC is a plain NumPy function, or one under tj.jit or tj.grad. The line is the
    first that makes NaN or inf of finite numbers and that results come from: in its
    value or in its gradient, in which turn of a loop, for which example of a vmap.
    """
    with user_errors():
        function, (args, kwargs) = sampled_call(target, arguments, args_from, seed)
        with redirect_stdout(sys.stderr):
            finding = check(function, args, kwargs, infinities)
    if as_json:
        print_json({"finding": None if finding is None else finding.as_json()})
    elif finding is None:
        click.echo(f"no {'NaN or inf' if infinities else 'NaN'}")
    else:
        click.echo(f"{finding.as_text()}\n  try: {finding.hint}")
    if finding is not None:
        raise click.exceptions.Exit(FOUND)
