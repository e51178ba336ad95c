"""Calls whose results are looked at: the switch ``nans``, and what it raises.

Needs a compiled function and the leaves of a call. A call runs as ever; where its
results hold what the switch looks for, the graph as traced runs in the interpreter, on
copies of what the call was given, and says which of the user's lines made it.
"""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from .compiled import Compiled, as_input
from .errors import NonFiniteError
from .ir.origins import is_bad
from .ir.placed import Placed
from .tracing.capture import CapturedArray
from .tracing.nonfinite import explain_nonfinite
from .tracing.record import OutputLeaf, Recording, ViewLeaf
from .tracing.tree import flatten


def call_without_nans(compiled: Compiled, leaves: list[Any], mode: str) -> Any:
    """Run a call and return its result, unless that holds NaN.

    Parameters
    ----------
    compiled : Compiled
    leaves : list
        Of the call.
    mode : str
        ``"nan"``, or ``"inf"`` to refuse infinities too.

    Raises
    ------
    NonFiniteError
        Says where the first one comes from. What the call writes to is written.
    """
    inputs = inputs_of(compiled, leaves)
    result = compiled(leaves)
    nans_only = mode == "nan"
    if not any(is_bad(x, nans_only).any() for x in _made(compiled, leaves, result)):
        return result
    name = compiled.recording.graph.name
    graph = compiled.recording.graph
    finding = explain_nonfinite(name, graph, inputs, nans_only)
    if finding is None:
        raise NonFiniteError(
            f"{name} gave {'NaN' if nans_only else 'NaN or inf'}, which its graph in "
            "the interpreter does not",
            hint="a number may be at the edge of its range, or the compiled code be "
            "wrong: tj.debug.compare shows where they part",
        )
    raise finding.error()


def inputs_of(compiled: Compiled, leaves: list[Any]) -> list[np.ndarray]:
    """Return the graph's inputs at a call; copies of those that it may write to."""
    return graph_inputs(compiled.recording, leaves, compiled.written_leaves)


def graph_inputs(
    recording: Recording, leaves: Sequence[Any], copied: Collection[int]
) -> list[np.ndarray]:
    """Return the inputs of a recorded graph, in the host's memory.

    Parameters
    ----------
    recording : Recording
    leaves : sequence
        Of the call's arguments.
    copied : collection of int
        Leaves to copy.
    """
    pairs = zip(recording.inputs, recording.graph.in_avals, strict=True)
    return [
        _input(feed, leaves, aval.dtype, isinstance(feed, int) and feed in copied)
        for feed, aval in pairs
    ]


def _input(
    feed: int | CapturedArray, leaves: Sequence[Any], dtype: np.dtype, is_written: bool
) -> np.ndarray:
    given = leaves[feed] if isinstance(feed, int) else feed.owner
    if isinstance(given, Placed):
        return on_host(given)
    x = as_input(given if isinstance(feed, int) else feed.array, dtype)
    return np.array(x) if is_written else x


def on_host(x: Any) -> np.ndarray:
    """Return an array of a device, or of the host, in the host's memory."""
    return x.numpy() if isinstance(x, Placed) else np.asarray(x)


def _made(compiled: Compiled, leaves: list[Any], result: Any) -> list[np.ndarray]:
    """Return the arrays that a call computed: results, and arguments written to."""
    rows = zip(compiled.recording.results, flatten(result)[0], strict=True)
    made = [on_host(x) for leaf, x in rows if _is_computed(leaf)]
    return made + [on_host(leaves[i]) for i, _ in compiled.recording.writes]


def _is_computed(leaf: object) -> bool:
    return isinstance(leaf, OutputLeaf) or (
        isinstance(leaf, ViewLeaf) and leaf.argument < 0
    )
