"""Transformations: graph to graph, changing what is computed.

Importing the package enters the derivatives of loops, custom functions, checkpoints and
attention beside those of other sub-graphs.
"""

from . import attention, custom, loops

__all__ = ["attention", "custom", "loops"]
