"""Square matrix products, from compute-bound to call-bound."""

from ..row import Row
from .inputs import normal


def matmul(a, b):
    return a @ b


def square(n: int) -> Row:
    """The row of an n x n product."""
    return Row(
        name=f"matmul_{n}",
        make_inputs=lambda rng: (normal(rng, n, n), normal(rng, n, n)),
        numpy_fn=matmul,
        jax_fn=lambda jax: matmul,
        torch_fn=lambda torch: matmul,
        flops=2 * n**3,
        bytes=12 * n**2,
    )


ROWS = [square(1024), square(256), square(64)]
