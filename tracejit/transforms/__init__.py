"""Transformations: graph to graph, changing what is computed.

Importing the package enters the derivatives of loops beside those of other sub-graphs.
"""

from . import loops

__all__ = ["loops"]
