"""Functions and their arguments, as every command that takes a function reads them.

Needs the text of one argument (`args`) and `tracejit.jit`. Establishes `traced_target`:
``FILE.py:FUNC`` and the user's ``--arg`` options as a `Traced`; `user_errors`, which
prints the user's mistakes without frames of the compiler; and the option ``--json``
with `print_json`.
"""

import difflib
import importlib
import importlib.util
import inspect
import json
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from types import ModuleType, TracebackType

import click

from ..api import JitFunction, jit
from ..errors import InternalError, ParseError, TracejitError, VerifyError
from ..stages import Traced
from ..tracing.source import is_internal
from .args import ROWS, Value, parse_argument

FILES_SHOWN = 5

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document instead of text."
)


def print_json(document: object) -> None:
    """Write a JSON document to stdout; its keys stand in the order they were made."""
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))


def traced_target(target: str, arguments: Sequence[str]) -> Traced:
    """Trace the function that the user named, at the arguments of the command line.

    Parameters
    ----------
    target : str
        ``FILE.py:FUNC`` or ``MODULE:FUNC``.
    arguments : sequence of str
        The texts of ``--arg``; see `args.GRAMMAR`.

    Raises
    ------
    click.UsageError
        There is no such function, or it does not take these arguments.
    """
    args, kwargs = read_arguments(arguments)
    # What the user's code prints is kept out of a stdout that may be piped on.
    with redirect_stdout(sys.stderr):
        function = find_function(target)
        check_call(function, args, kwargs)
        return as_jit(function).trace(*args, **kwargs)


# --- arguments and the function ---------------------------------------------------


def read_arguments(texts: Sequence[str]) -> tuple[list[Value], dict[str, Value]]:
    """Return the positional and the keyword arguments that the user wrote."""
    args: list[Value] = []
    kwargs: dict[str, Value] = {}
    for text in texts:
        try:
            keyword, value = parse_argument(text)
        except ParseError as error:
            raise click.UsageError(
                f"--arg {text}: {error}\nan argument is one of:\n{ROWS}"
            ) from error
        if keyword is not None:
            kwargs[keyword] = value
        elif kwargs:
            raise click.UsageError(f"--arg {text}: it must stand before keyword ones")
        else:
            args.append(value)
    return args, kwargs


def find_function(target: str) -> Callable[..., object]:
    """Return the function that ``FILE.py:FUNC`` or ``MODULE:FUNC`` names.

    Raises
    ------
    click.UsageError
        If the file, the module or the function is not there.
    """
    place, colon, name = target.rpartition(":")
    if not colon or not place or not name:
        raise click.UsageError(
            f"{target!r} names no function; write FILE.py:FUNC or MODULE:FUNC"
        )
    module = load_file(Path(place)) if place.endswith(".py") else load_module(place)
    found: object = module
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is None:
        raise click.UsageError(f"{place} has no function {name!r}; {has(module)}")
    if not callable(found) or inspect.isclass(found):
        kind = "class" if inspect.isclass(found) else type(found).__name__
        raise click.UsageError(f"{target} is a {kind}, not a function; {has(module)}")
    return found


def has(module: ModuleType) -> str:
    """Say which functions a module defines."""
    names = [
        name
        for name, value in vars(module).items()
        if callable(value)
        and not inspect.isclass(value)
        and getattr(value, "__module__", None) == module.__name__
    ]
    return f"it has {', '.join(names)}" if names else "it has none"


def load_file(path: Path) -> ModuleType:
    """Import a file under its stem; what lies beside it can be imported by it."""
    if not path.is_file():
        raise click.UsageError(f"there is no file {path}{files_beside(path)}")
    name = path.stem
    if name in sys.modules:  # model.py must not hide an installed `model`
        name = f"_traced_{name}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look it up
    sys.path.insert(0, str(path.parent.resolve()))
    spec.loader.exec_module(module)
    return module


def files_beside(path: Path) -> str:
    """Say which Python files there are instead, those of like names first."""
    names = sorted(p.name for p in path.parent.glob("*.py"))
    close = difflib.get_close_matches(path.name, names, n=FILES_SHOWN, cutoff=0)
    more = ", ..." if len(names) > len(close) else ""
    return f"; {path.parent} has {', '.join(close)}{more}" if names else ""


def load_module(name: str) -> ModuleType:
    """Import a module by its name, from this folder too."""
    sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise  # what is missing is something that the module imports
        raise click.UsageError(
            f"there is no module {name!r}; to name a file, write FILE.py:FUNC"
        ) from error


def check_call(
    function: Callable[..., object], args: Sequence[Value], kwargs: dict[str, Value]
) -> None:
    """Raise `click.UsageError` if the function does not take these arguments."""
    try:
        signature = inspect.signature(function)
    except ValueError as error:
        raise click.UsageError(
            f"{error}; write a Python function that calls it"
        ) from error
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        name = getattr(function, "__name__", "the function")
        raise click.UsageError(
            f"{name}{signature} does not take these arguments: {error}\n"
            "give one --arg for each"
        ) from error


def as_jit(function: Callable[..., object]) -> JitFunction:
    """Return the function under `jit`, which it may be already."""
    jitted: JitFunction = (
        function if isinstance(function, JitFunction) else jit(function)
    )
    return jitted


# --- errors -----------------------------------------------------------------------


@contextmanager
def user_errors() -> Iterator[None]:
    """Print the user's mistakes without frames of the compiler, and exit with 1.

    Faults of the compiler itself pass, with their whole traceback.
    """
    try:
        yield
    except (click.ClickException, click.exceptions.Exit, InternalError, VerifyError):
        raise
    except TracejitError as error:
        raise click.ClickException(str(error)) from error
    except Exception as error:
        frames = user_frames(error.__traceback__)
        if not frames:
            raise
        click.echo("Traceback (most recent call last):", err=True)
        click.echo("".join(traceback.format_list(frames)), err=True, nl=False)
        click.echo("".join(traceback.format_exception_only(error)), err=True, nl=False)
        raise click.exceptions.Exit(1) from error


def user_frames(trace_back: TracebackType | None) -> list[traceback.FrameSummary]:
    """Return the frames of a traceback that are not of tracejit, NumPy or imports."""
    return [
        frame
        for frame in traceback.extract_tb(trace_back)
        if not is_internal(frame.filename)
        and not frame.filename.startswith("<frozen importlib")
        and frame.filename != importlib.__file__
    ]
