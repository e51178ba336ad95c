"""Transformations: graph to graph, changing what is computed.

Importing the package enters the derivatives of loops, custom functions and checkpoints
beside those of other sub-graphs.
"""

from . import custom, loops

__all__ = ["custom", "loops"]
