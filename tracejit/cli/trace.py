"""The command `tracejit trace`: one function at every level of the compiler.

Needs the stages of `tracejit.stages`. Establishes what users see of a compilation: the
graph as traced, the graph after each pass that changed it, the Program, its kernels
with their schedules, and the LLVM text.
"""

import difflib
import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from types import ModuleType, TracebackType

import click

from .. import config
from ..api import JitFunction, jit
from ..errors import InternalError, ParseError, TracejitError, VerifyError
from ..stages import Lowered, Traced
from ..tracing.source import is_internal
from .args import (
    HELP_END,
    ROWS,
    Value,
    argument_option,
    isa_option,
    parse_argument,
)

LEVELS = ("graph", "passes", "program", "kernels", "llvm")
FILES_SHOWN = 5

EPILOG = f"""\b
Examples:
  tracejit trace model.py:predict --arg f32[8,16] --arg f32[16,4]
  tracejit trace model.py:step --arg "[(f32[8,4], f32[4])]" --arg lr=0.1
  tracejit trace package.module:loss --arg @x.npy --level kernels
  tracejit trace model.py:predict --arg f32[8] --level llvm --isa avx2

{HELP_END}"""


@click.command(epilog=EPILOG)
@click.argument("target", metavar="FILE.py:FUNC|MODULE:FUNC")
@argument_option
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
    target: str, arguments: tuple[str, ...], levels: tuple[str, ...], isa: str | None
) -> None:
    """Show a function at every level: graph, passes, Program, kernels, LLVM text.

    FUNC is a plain NumPy function, or one under tj.jit or tj.grad. It is traced and
    compiled, but not run; code of its module runs, as in an import. Each level is
    verified.
    """
    args, kwargs = read_arguments(arguments)
    wanted = frozenset(LEVELS if "all" in levels else levels)
    switches = {} if isa is None else {"isa": isa}
    with user_errors(), config.override(verify=True, **switches):
        # What the user's code prints is kept out of a stdout that may be piped on.
        with redirect_stdout(sys.stderr):
            function = find_function(target)
            check_call(function, args, kwargs)
            traced = as_jit(function).trace(*args, **kwargs)
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
