"""Composites in what is about to be differentiated: their derivatives have rules."""

from .. import config
from ..ir.graph import Graph


def with_composites(graph: Graph) -> Graph:
    """Return a graph with its composites raised, if the switch wants them."""
    if not config.get("composites"):
        return graph
    from ..ir.raising import raise_graph  # noqa: PLC0415  # its patterns are many

    return raise_graph(graph)
