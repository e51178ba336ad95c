"""The rows, by suite: every program as plain NumPy with its jnp and torch twins.

NumPy programs use only what a user would write; twins use each library's own best
function for the same job (``jax.nn.softmax``, ``torch.layer_norm``).
"""

from . import attention, elementwise, matmul, mlp, normalise, overhead, reductions

SUITES = {
    "core": [
        *elementwise.ROWS,
        *normalise.ROWS,
        *reductions.ROWS,
        *matmul.ROWS,
        *mlp.ROWS,
        *attention.ROWS,
    ],
    "overhead": overhead.ROWS,
}
UNITS = {"core": "ms", "overhead": "µs"}
