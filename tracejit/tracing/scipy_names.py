"""Which of SciPy's functions `tracejit.scipy` has, for errors that name them.

The package itself stands above tracing; a test holds this table against it.
"""

COUNTERPARTS = {
    "special": (
        "log_softmax",
        "logsumexp",
        "multigammaln",
        "polygamma",
        "softmax",
        "zeta",
    ),
    "linalg": (
        "block_diag",
        "cho_factor",
        "cho_solve",
        "cholesky",
        "det",
        "eigh",
        "eigvalsh",
        "expm",
        "inv",
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
    ),
}
