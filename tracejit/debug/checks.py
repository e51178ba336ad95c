"""Checks: what tells a right graph from a wrong one.

Needs graphs. Establishes `Check`, a function of a graph that returns None if it is
right and else says what is wrong, and the usual ones: `same_results` as another graph
in the interpreter, `no_nan`, `is_valid` for the verifier, and `command`, a program of
the user's.
"""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

import numpy as np

from ..errors import TracejitError
from ..ir import dtypes as dt
from ..ir.aval import ShapedArray
from ..ir.graph import Graph, subgraphs
from ..ir.interp import evaluate
from ..ir.ops.loops import while_p
from ..ir.primitive import Array
from ..ir.printer import format_graph
from ..ir.verify import verify
from .contract import Outcome, Reference, outcome_of
from .limits import SECONDS, ProcessDied, computing_limit, patience
from .noise import Noise, TurnsError, nudged
from .samples import varied_inputs

Check: TypeAlias = Callable[[Graph], str | None]
Inputs: TypeAlias = Sequence[Array]


def references(
    graph: Graph, inputs: Iterable[Inputs] = (), seed: int = 0
) -> list[Reference]:
    """Return what a graph gives on some inputs.

    Parameters
    ----------
    graph : Graph
    inputs : iterable of sequences of numpy.ndarray
        What is known to fail, say. Samples are taken as well, but for those on which a
        loop does not end soon.
    seed : int
        Of the samples.

    Raises
    ------
    TracejitError
        The inputs are not those of the graph.
    """
    found = [
        Reference(graph, _checked(graph, given, f"inputs {k}"), f"inputs {k}")
        for k, given in enumerate(inputs)
    ]
    found += [
        Reference(graph, sample, f"{name} inputs of seed {seed}")
        for name, sample in varied_inputs(graph.in_avals, seed)
        if _ends(graph, sample)
    ]
    return found


def _checked(graph: Graph, inputs: Inputs, label: str) -> Inputs:
    arrays = [np.asarray(x) for x in inputs]
    found = [(x.shape, x.dtype) for x in arrays]
    if found == [(a.shape, a.dtype) for a in graph.in_avals]:
        return arrays
    given, wanted = (
        ", ".join(map(str, avals)) or "none"
        for avals in ([ShapedArray(*pair) for pair in found], graph.in_avals)
    )
    raise TracejitError(f"{label} are {given}; @{graph.name} takes {wanted}")


def _ends(graph: Graph, inputs: Inputs) -> bool:
    """Tell whether all loops of a graph end soon on these inputs."""
    if not _has_while(graph):
        return True
    got = outcome_of(lambda: nudged(graph, inputs, 0, Noise.NONE))
    return not isinstance(got, TurnsError)


def _has_while(graph: Graph) -> bool:
    return any(
        e.primitive is while_p or any(map(_has_while, subgraphs(e.params)))
        for e in graph.eqns
    )


def same_results(
    wanted: Sequence[Reference], noise: Noise = Noise.ALL, seconds: float = SECONDS
) -> Check:
    """Return the check that a graph keeps the numeric contract, and ends.

    Parameters
    ----------
    wanted : sequence of Reference
    noise : Noise
        Which roundings may differ.
    seconds : float
        See `patience`; the check raises `ProcessDied` after that.
    """

    def check(graph: Graph) -> str | None:
        return complaint_of(wanted, lambda xs: evaluate(graph, xs), noise, seconds)

    return check


def complaint_of(
    wanted: Sequence[Reference],
    run: Callable[[Inputs], Sequence[Array]],
    noise: Noise = Noise.ALL,
    seconds: float = SECONDS,
) -> str | None:
    """Say where a way to compute a graph breaks the contract; None if nowhere.

    Parameters
    ----------
    wanted : sequence of Reference
    run : callable
        Inputs to results.
    noise : Noise
    seconds : float
        See `patience`.

    Raises
    ------
    ProcessDied
        It does not end.
    """
    outcomes = (_outcome(r, run, seconds) for r in wanted)
    return first_complaint(wanted, outcomes, noise)


def _outcome(
    reference: Reference, run: Callable[[Inputs], Sequence[Array]], seconds: float
) -> Outcome:
    try:
        with computing_limit(patience(reference.seconds, seconds)):
            return outcome_of(lambda: run(reference.inputs))
    except ProcessDied as error:
        text = f"{error.message}, on {reference.label}"
        raise ProcessDied(text, error.how) from None


def first_complaint(
    wanted: Sequence[Reference], outcomes: Iterable[Outcome], noise: Noise = Noise.ALL
) -> str | None:
    """Say which of the outcomes, one for each reference, breaks the contract first."""
    for reference, got in zip(wanted, outcomes, strict=True):
        found = reference.difference(got, noise)
        if found is not None:
            return f"{found}, on {reference.label}"
    return None


def limited(check: Check, seconds: float) -> Check:
    """Return a check that raises `ProcessDied` if it computes for longer."""

    def within(graph: Graph) -> str | None:
        with computing_limit(seconds):
            return check(graph)

    return within


def no_nan(inputs: Sequence[Inputs]) -> Check:
    """Return the check that no result has a NaN or infinity.

    Parameters
    ----------
    inputs : sequence of sequences of numpy.ndarray
        On which the graph is run.
    """

    def check(graph: Graph) -> str | None:
        for given in inputs:
            outs = outcome_of(lambda xs=given: evaluate(graph, xs))  # type: ignore[misc]
            if isinstance(outs, Exception):
                return f"it raises {type(outs).__name__}: {outs}"
            for k, x in enumerate(outs):
                if x.dtype in dt.INEXACT and not np.isfinite(x).all():
                    at = np.argwhere(~np.isfinite(x))[0]
                    return f"result {k}{[int(i) for i in at]} is {x[tuple(at)]}"
        return None

    return check


def is_valid(graph: Graph) -> str | None:
    """Check every invariant of a graph; see `ir.verify`."""
    try:
        verify(graph)
    except TracejitError as error:
        return error.message
    return None


def command(line: str, seconds: float = SECONDS) -> Check:
    """Return the check that a program ends with exit code 0.

    Parameters
    ----------
    line : str
        Run by the shell with the path of the graph as .tir text behind it, or in place
        of ``{}``; ``python`` is the one that runs here. Exit codes: 0 right, any other
        wrong.
    seconds : float
        After which it is ended, with whatever it started: the graph is wrong then.
    """

    def check(graph: Graph) -> str | None:
        with tempfile.TemporaryDirectory(prefix="tracejit-check-") as folder:
            path = Path(folder) / "graph.tir"
            path.write_text(format_graph(graph) + "\n", "utf-8")
            text = line.replace("{}", str(path)) if "{}" in line else f"{line} {path}"
            return _complaint_of_command(text, seconds)

    return check


def _complaint_of_command(line: str, seconds: float) -> str | None:
    with subprocess.Popen(  # the user's own command
        line,
        shell=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=_environment(),
        start_new_session=True,
    ) as process:
        try:
            out, err = process.communicate(timeout=seconds)
        except BaseException as error:  # the user's interrupts, too
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                return f"the command has not ended after {seconds:.3g} s"
            raise
    if process.returncode == 0:
        return None
    said = (err or out).strip().splitlines()
    return f"exit code {process.returncode}" + (f": {said[-1]}" if said else "")


def _environment() -> dict[str, str]:
    """Return the environment with this Python's folder first in the path."""
    folder = os.path.dirname(sys.executable)
    return {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ.get('PATH', '')}"}
