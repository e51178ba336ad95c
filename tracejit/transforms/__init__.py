"""Transformations: graph to graph, changing what is computed.

Importing the package enters the derivatives of loops, and of custom functions with a
jvp rule, beside those of other sub-graphs.
"""

from . import loops, separate

__all__ = ["loops", "separate"]
