"""The rows, by suite: every program as plain NumPy with its twins.

NumPy programs use only what a user would write; twins use each library's own best
function for the same job (``jax.nn.softmax``, ``torch.layer_norm``). The functions that
make a row of given sizes serve the suite for GPUs too.
"""

from . import (
    attention,
    elementwise,
    images,
    indexing,
    language,
    loops,
    matmul,
    mlp,
    normalise,
    overhead,
    reductions,
)

SUITES = {
    "core": [
        *elementwise.ROWS,
        *normalise.ROWS,
        *reductions.ROWS,
        *matmul.ROWS,
        *mlp.ROWS,
        *attention.ROWS,
        *language.CORE,
        *images.CORE,
        *loops.ROWS,
        *indexing.ROWS,
    ],
    "overhead": overhead.ROWS,
    "models": [*language.MODELS, *images.MODELS],
}
