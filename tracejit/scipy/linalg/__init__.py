"""`scipy.linalg` for arrays and tracers, with SciPy's signatures.

In a trace each is made of primitives of `tracejit.ir.ops.linalg`, which have
derivatives and batch over leading axes.
"""

from .decompositions import eigh, eigvalsh, qr, svd, svdvals
from .functions import block_diag, expm, kron, norm, toeplitz
from .systems import (
    cho_factor,
    cho_solve,
    cholesky,
    det,
    inv,
    lu,
    lu_factor,
    lu_solve,
    pinv,
    solve,
    solve_triangular,
)

__all__ = [
    "block_diag",
    "cho_factor",
    "cho_solve",
    "cholesky",
    "det",
    "eigh",
    "eigvalsh",
    "expm",
    "inv",
    "kron",
    "lu",
    "lu_factor",
    "lu_solve",
    "norm",
    "pinv",
    "qr",
    "solve",
    "solve_triangular",
    "svd",
    "svdvals",
    "toeplitz",
]
