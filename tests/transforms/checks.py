"""Checks of derivatives: forward mode against differences, reverse against forward.

Complex values pair as ``Re Σ w·v``, without conjugation.
"""

from collections.abc import Sequence

import numpy as np

from tracejit.ir import dtypes as dt
from tracejit.ir.graph import Graph
from tracejit.ir.interp import evaluate
from tracejit.ir.verify import verify
from tracejit.transforms.jvp import jvp_graph
from tracejit.transforms.vjp import vjp_graph

Arrays = list[np.ndarray]


def random_like(rng: np.random.Generator, x: np.ndarray) -> np.ndarray:
    out = rng.normal(size=x.shape)
    if x.dtype.kind == "c":
        out = out + 1j * rng.normal(size=x.shape)
    return np.asarray(out, x.dtype)


def pairing(xs: Sequence[np.ndarray], ys: Sequence[np.ndarray]) -> float:
    return float(sum(np.sum(x * y).real for x, y in zip(xs, ys, strict=True)))


def inexact(arrays: Sequence[np.ndarray]) -> Arrays:
    return [x for x in arrays if dt.is_inexact(x.dtype)]


def differentiable_inputs(graph: Graph) -> list[int]:
    return [i for i, a in enumerate(graph.in_avals) if dt.is_inexact(a.dtype)]


def central_difference(
    graph: Graph, args: Arrays, tangents: dict[int, np.ndarray], step: float = 1e-6
) -> Arrays:
    """Return the directional derivative of the float and complex outputs."""

    def moved(by: float) -> Arrays:
        at = [x + by * tangents[i] if i in tangents else x for i, x in enumerate(args)]
        return inexact(evaluate(graph, at))

    pairs = zip(moved(step), moved(-step), strict=True)
    return [(up - down) / (2 * step) for up, down in pairs]


def check_derivatives(
    graph: Graph,
    args: Arrays,
    tangents: dict[int, np.ndarray] | None = None,
    rtol: float = 1e-6,
    seed: int = 0,
) -> None:
    """Check ``jvp ≈ differences`` and ``⟨w, J v⟩ = ⟨Jᵀ w, v⟩`` in float64.

    Parameters
    ----------
    graph : Graph
    args : list of numpy.ndarray
    tangents : dict of int to numpy.ndarray, optional
        The direction; random in all float and complex inputs unless given.
    rtol : float
        Of the comparison with differences, of the largest derivative.
    seed : int
    """
    rng = np.random.default_rng(seed)
    if tangents is None:
        wrt = differentiable_inputs(graph)
        tangents = {i: random_like(rng, args[i]) for i in wrt}
    wrt, direction = list(tangents), list(tangents.values())
    n = len(graph.outvars)
    forward = evaluate(verify(jvp_graph(graph, wrt)), [*args, *direction])
    for got, want in zip(forward[:n], evaluate(graph, args), strict=True):
        np.testing.assert_array_equal(got, want)
    found = list(forward[n:])
    wanted = central_difference(graph, args, tangents)
    for got, want in zip(found, wanted, strict=True):
        scale = np.max(np.abs(want), initial=1e-3)
        np.testing.assert_allclose(got, want, rtol=rtol, atol=rtol * scale)
    weights = [random_like(rng, np.asarray(x)) for x in found]
    backward = evaluate(verify(vjp_graph(graph, wrt)), [*args, *weights])
    left, right = pairing(weights, found), pairing(backward[n:], direction)
    np.testing.assert_allclose(right, left, rtol=1e-10, atol=1e-10)
