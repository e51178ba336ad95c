"""Functions of SciPy that trace: `special` and `linalg`, with SciPy's signatures.

On NumPy arrays they are SciPy's own. In a trace they are formulas, primitives, and
SciPy's compiled loops. SciPy itself is imported when a function needs it; what has a
formula here runs without it.
"""

from . import linalg, special

__all__ = ["linalg", "special"]
