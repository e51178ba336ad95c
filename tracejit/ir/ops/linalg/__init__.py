"""Dense linear algebra on the last two axes, batched over the others."""

from .lu import lu_p, row_order
from .qr import geqrf_p, householder_product_p, qr_p
from .solve import (
    cholesky_p,
    det_p,
    inv_or_nan_p,
    inv_p,
    slogdet_p,
    solve_p,
    triangular_solve_p,
)
from .spectral import eig_p, eigh_p, eigvals_p
from .svd import lstsq_graph, lstsq_p, pinv_p, svd_p, svdvals_p

__all__ = [
    "cholesky_p",
    "det_p",
    "eig_p",
    "eigh_p",
    "eigvals_p",
    "geqrf_p",
    "householder_product_p",
    "inv_or_nan_p",
    "inv_p",
    "lstsq_graph",
    "lstsq_p",
    "lu_p",
    "pinv_p",
    "qr_p",
    "row_order",
    "slogdet_p",
    "solve_p",
    "svd_p",
    "svdvals_p",
    "triangular_solve_p",
]
