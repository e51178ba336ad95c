"""The command `tracejit cache`: compiled code on disk, shown and removed.

Needs `debug.cache_files`. Establishes four commands, each with ``--json``.
"""

import click

from ..debug import cache_files as files
from ..program.memory import in_bytes
from .functions import json_option, print_json

EPILOG = """\b
Examples:
  tracejit cache show
  tracejit cache list --json
  tracejit cache prune --days 30 --megabytes 500
  tracejit cache clear

\b
Exit codes:
  0  done
  1  a file could not be removed
  2  the command line is wrong
"""


@click.group(epilog=EPILOG)
def cache() -> None:
    """Show and remove compiled code on disk (the switch cache_dir)."""


@cache.command()
@json_option
def show(as_json: bool) -> None:
    """Say where it is, and how much there is."""
    place = files.folder()
    if not as_json:
        click.echo(files.summary(place))
        return
    found = [] if place is None else files.entries(place)
    parts = {k: {"files": n, "bytes": b} for k, (n, b) in files.sizes(found).items()}
    total = sum(x.bytes for x in found)
    where = None if place is None else str(place)
    print_json({"folder": where, "parts": parts, "bytes": total})


@cache.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the files, those used last first."""
    place = files.folder()
    rows = [
        x.as_json()
        for x in ([] if place is None else files.entries(place, with_contents=True))
    ]
    if as_json:
        print_json({"entries": rows})
        return
    for x in rows:
        size = in_bytes(float(str(x["bytes"])))
        click.echo(f"{x['used']}  {size:>9}  {x['part']:9}  {str(x['name'])[:16]}")


@cache.command()
@json_option
def clear(as_json: bool) -> None:
    """Remove everything; functions are compiled again when they are called."""
    place = files.folder()
    _remove([] if place is None else files.entries(place), as_json)


@cache.command()
@click.option("--days", type=click.FloatRange(min=0), help="Not used for so long.")
@click.option(
    "--megabytes", type=click.FloatRange(min=0), help="What may stay, used last."
)
@json_option
def prune(days: float | None, megabytes: float | None, as_json: bool) -> None:
    """Remove what was not used for long, or is too much."""
    if days is None and megabytes is None:
        raise click.UsageError("say what to remove: --days, --megabytes, or both")
    place = files.folder()
    found = [] if place is None else files.entries(place)
    most = None if megabytes is None else int(megabytes * 1e6)
    _remove(files.to_prune(found, most, days), as_json)


def _remove(found: list[files.Entry], as_json: bool) -> None:
    try:
        count, size = files.remove(found)
    except OSError as error:
        raise click.ClickException(
            f"cannot remove {error.filename}: {(error.strerror or '').lower()}"
        ) from error
    if as_json:
        print_json({"removed": count, "bytes": size})
    else:
        plural = "file" if count == 1 else "files"
        click.echo(f"removed {count} {plural}, {in_bytes(size)}")
