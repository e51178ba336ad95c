"""`tracejit demo`: train a network on handwritten digits with one jitted function.

Needs the extra ``tracejit[demo]``. Establishes the command and its report: what the
compiler did at every level, how fast the step is beside plain NumPy, and how well it
learns.
"""

from .command import demo

__all__ = ["demo"]
