"""`tracejit trace`: a function at given arguments, at every level of the compiler."""

import ast
import importlib
import importlib.util
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import numpy as np

from .. import config
from ..api import JitFunction, jit
from ..errors import TracejitError
from ..ir.dtypes import NAME_TO_DTYPE

ARG = re.compile(r"(\w+)\[([\d,\s]*)\]")
GRAMMAR = "an --arg is f32[8,16] (an array of ones), a Python literal, or @file.npy"


def print_levels(
    target: str, specs: tuple[str, ...], level: str, isa: str | None
) -> None:
    """Print the levels of ``FILE.py:FUNC`` or ``MODULE:FUNC`` at these arguments."""
    function = find_function(target)
    jitted = function if isinstance(function, JitFunction) else jit(function)
    args = [parse_argument(s) for s in specs]
    if isa is not None:
        config.set("isa", isa)
    traced = jitted.trace(*args)
    if level in ("graph", "all"):
        _section("graph as traced", traced.as_text())
    if level == "graph":
        return
    lowered = traced.lower()
    if level in ("passes", "all"):
        last = traced.as_text()
        for name, text in lowered.stages:
            _section(f"graph after {name}", text if text != last else "(unchanged)")
            last = text
    if level in ("program", "all"):
        _section("program, kernels and schedules", lowered.as_text())
    if level in ("llvm", "all"):
        _section("LLVM", lowered.compile().as_text())


def _section(title: str, text: str) -> None:
    click.secho(f"; ---- {title}", bold=True)
    click.echo(text)
    click.echo()


def find_function(target: str) -> Callable[..., Any]:
    """Return the function a target names.

    Raises
    ------
    TracejitError
        When there is no such file, module or function; names those there are.
    """
    place, colon, name = target.rpartition(":")
    if not colon:
        raise TracejitError(f"{target!r} names no function", hint="FILE.py:FUNC")
    module = _load(place)
    found = getattr(module, name, None)
    if not callable(found):
        own = [
            n
            for n, v in vars(module).items()
            if callable(v) and getattr(v, "__module__", None) == module.__name__
        ]
        raise TracejitError(
            f"{place} has no function {name!r}; it has {', '.join(own) or 'none'}"
        )
    return found  # type: ignore[no-any-return]


def _load(place: str) -> ModuleType:
    if not place.endswith(".py"):
        try:
            return importlib.import_module(place)
        except ImportError as error:
            raise TracejitError(f"cannot import {place!r}: {error}") from error
    path = Path(place)
    if not path.is_file():
        raise TracejitError(f"there is no file {place!r}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def parse_argument(spec: str) -> Any:
    """Return the argument an ``--arg`` stands for.

    Examples
    --------
    >>> parse_argument("f32[2]")
    array([1., 1.], dtype=float32)
    """
    if spec.startswith("@"):
        return _from_file(spec[1:])
    match = ARG.fullmatch(spec)
    if match is not None and match.group(1) in NAME_TO_DTYPE:
        shape = tuple(int(n) for n in match.group(2).split(",") if n.strip())
        return np.ones(shape, NAME_TO_DTYPE[match.group(1)])
    try:
        return ast.literal_eval(spec)
    except (ValueError, SyntaxError) as error:
        raise TracejitError(f"cannot read --arg {spec!r}", hint=GRAMMAR) from error


def _from_file(path: str) -> np.ndarray:
    try:
        return np.load(path)  # type: ignore[no-any-return]
    except (OSError, ValueError) as error:
        raise TracejitError(f"cannot read {path!r}: {error}") from error
