"""Functions and their arguments, as every command that takes a function reads them.

Needs the text of one argument (`args`) and `tracejit.jit`. Establishes `traced_target`:
``FILE.py:FUNC`` and the user's ``--arg`` options as a `Traced`; `called_target`,
the same function compiled for several calls; `user_errors`, which
prints the user's mistakes without frames of the compiler; and the option ``--json``
with `print_json`.
"""

import difflib
import importlib
import importlib.util
import inspect
import itertools
import json
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from types import ModuleType, TracebackType
from typing import TypeAlias

import click
import numpy as np

from ..api import JitFunction, jit
from ..debug.samples import sample_inputs
from ..errors import InternalError, ParseError, TracejitError, VerifyError
from ..ir.aval import ShapedArray
from ..stages import Traced
from ..tracing.source import is_internal
from .args import ROWS, Sampler, Value, parse_argument

FILES_SHOWN = 5

seed_option = click.option(
    "--seed", default=0, show_default=True, help="Of the sample inputs."
)
json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document instead of text."
)


def print_json(document: object) -> None:
    """Write a JSON document to stdout; its keys stand in the order they were made."""
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))


args_from_option = click.option(
    "--args-from",
    "args_from",
    metavar="FILE.py:NAME",
    default=None,
    help="Take the arguments from Python: NAME is a tuple of them (a dict for keyword "
    "arguments), a list of such calls, or a function that returns either.",
)
Call: TypeAlias = tuple[Sequence[object], Mapping[str, object]]


def traced_target(
    target: str, arguments: Sequence[str], args_from: str | None = None
) -> Traced:
    """Trace the function that the user named, at the arguments of the command line.

    Parameters
    ----------
    target : str
        ``FILE.py:FUNC`` or ``MODULE:FUNC``.
    arguments : sequence of str
        The texts of ``--arg``; see `args.GRAMMAR`.
    args_from : str, optional
        Where to find them in Python instead; of several calls the first.

    Raises
    ------
    click.UsageError
        There is no such function, or it does not take these arguments.
    """
    # What the user's code prints is kept out of a stdout that may be piped on.
    with redirect_stdout(sys.stderr):
        function, calls = function_and_calls(target, arguments, args_from)
        args, kwargs = next(calls)
        check_call(function, args, kwargs)
        return as_jit(function).trace(*args, **kwargs)


def called_target(
    target: str, arguments: Sequence[str], args_from: str | None = None
) -> JitFunction:
    """Compile the function that the user named for each of the calls, in order.

    As calls do it, but nothing runs; see `traced_target`.
    """
    with redirect_stdout(sys.stderr):
        function, calls = function_and_calls(target, arguments, args_from)
        jitted = as_jit(function)
        for args, kwargs in calls:
            check_call(function, args, kwargs)
            jitted.prepare(*args, **kwargs)
        return jitted


# --- arguments and the function ---------------------------------------------------


def read_arguments(
    texts: Sequence[str], sampler: Sampler | None = None
) -> tuple[list[Value], dict[str, Value]]:
    """Return the positional and the keyword arguments that the user wrote."""
    args: list[Value] = []
    kwargs: dict[str, Value] = {}
    for text in texts:
        try:
            keyword, value = parse_argument(text, sampler)
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


def function_and_calls(
    target: str,
    arguments: Sequence[str],
    args_from: str | None,
    sampler: Sampler | None = None,
) -> tuple[Callable[..., object], Iterator[Call]]:
    """Return the function that the user named, and its calls; see `read_calls`."""
    found, module = find_object(target, "function")
    calls = read_calls(arguments, args_from, module, sampler)
    return as_function(found, target, module), calls


def seeded(seed: int) -> Sampler:
    """Return what gives the values of arguments that are given as types."""
    seeds = itertools.count(seed)

    def sample(zero: np.ndarray | np.generic) -> np.ndarray | np.generic:
        [made] = sample_inputs([ShapedArray(zero.shape, zero.dtype)], next(seeds))
        return made if isinstance(zero, np.ndarray) else made[()]

    return sample


def sampled_call(
    target: str, arguments: Sequence[str], args_from: str | None, seed: int
) -> tuple[Callable[..., object], Call]:
    """Return the function that the user named and a call of it, with sample values.

    Raises
    ------
    click.UsageError
        There is no such function, or it does not take these arguments.
    """
    with redirect_stdout(sys.stderr):
        found = function_and_calls(target, arguments, args_from, seeded(seed))
        function, calls = found
        args, kwargs = next(calls)
        check_call(function, args, kwargs)
    return function, (args, kwargs)


def read_calls(
    arguments: Sequence[str],
    args_from: str | None,
    module: ModuleType | None = None,
    sampler: Sampler | None = None,
) -> Iterator[Call]:
    """Yield the arguments of each call that the user wrote, at least one.

    What is found in Python is taken one by one, as a generator may change what the
    function captures between its calls.

    Raises
    ------
    click.UsageError
        For arguments that are no such thing, or that are given in both ways.
    """
    if args_from is None:
        yield read_arguments(arguments, sampler)
        return
    if arguments:
        raise click.UsageError("give either --arg or --args-from, not both")
    found, _ = find_object(args_from, "arguments", module)
    if callable(found):
        found = found()
        if found is None:
            raise click.UsageError(
                f"--args-from {args_from}: it returns nothing; return the arguments of "
                "a call as a tuple, return a list of such tuples, or yield them"
            )
    calls = found if isinstance(found, list | Iterator) else [found]
    is_empty = True
    for call in calls:
        is_empty = False
        yield as_call(call)
    if is_empty:
        raise click.UsageError(f"--args-from {args_from}: it holds no calls")


def as_call(found: object) -> Call:
    """Return positional and keyword arguments; what is no tuple or dict is one."""
    if isinstance(found, dict):
        return (), found
    return (found if type(found) is tuple else (found,)), {}


def find_object(
    target: str, what: str, module: ModuleType | None = None
) -> tuple[object, ModuleType]:
    """Return what ``FILE.py:NAME`` or ``MODULE:NAME`` names, and the module.

    Parameters
    ----------
    target : str
    what : str
        What it is to be, for errors.
    module : ModuleType, optional
        One that was loaded before: the same file is not loaded twice.

    Raises
    ------
    click.UsageError
        If the file, the module or the name is not there.
    """
    place, colon, name = target.rpartition(":")
    if not colon or not place or not name:
        raise click.UsageError(
            f"{target!r} names no {what}; write FILE.py:NAME or MODULE:NAME"
        )
    if not place.endswith(".py"):
        module = load_module(place)
    elif module is None or not is_of_file(module, Path(place)):
        module = load_file(Path(place))
    found: object = module
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is None:
        raise click.UsageError(f"{place} has no {what} {name!r}; {has(module)}")
    return found, module


def find_function(target: str) -> Callable[..., object]:
    """Return the function that ``FILE.py:FUNC`` or ``MODULE:FUNC`` names.

    Raises
    ------
    click.UsageError
        If the file, the module or the function is not there.
    """
    found, module = find_object(target, "function")
    return as_function(found, target, module)


def as_function(
    found: object, target: str, module: ModuleType
) -> Callable[..., object]:
    """Return what was found as a function; raise if it is none."""
    if not callable(found) or inspect.isclass(found):
        kind = "class" if inspect.isclass(found) else type(found).__name__
        raise click.UsageError(f"{target} is a {kind}, not a function; {has(module)}")
    return found


def is_of_file(module: ModuleType, path: Path) -> bool:
    """Tell whether a module was loaded from a file."""
    own = getattr(module, "__file__", None)
    return own is not None and Path(own).resolve() == path.resolve()


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
    function: Callable[..., object],
    args: Sequence[object],
    kwargs: Mapping[str, object],
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
            "give one --arg for each, or a tuple of them by --args-from"
        ) from error


def as_jit(function: Callable[..., object]) -> JitFunction:
    """Return the function under `jit`, which it may be already."""
    jitted: JitFunction = (
        function if isinstance(function, JitFunction) else jit(function)
    )
    return jitted


# --- errors -----------------------------------------------------------------------


# Of the compiler, of the command line, and of a reader that has enough (`| head`).
NOT_THE_USERS = (
    *(InternalError, VerifyError, click.ClickException, click.exceptions.Exit),
    BrokenPipeError,
)


@contextmanager
def user_errors() -> Iterator[None]:
    """Print the user's mistakes without frames of the compiler, and exit with 1.

    Faults of the compiler itself pass, with their whole traceback.
    """
    try:
        yield
    except NOT_THE_USERS:
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
