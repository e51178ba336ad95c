"""What kernels for GPUs may contain."""

from ...ir.ops.linalg import lstsq_graph
from ...passes.limits import Limits
from .elementwise import can_emit

# Libraries solve triangular systems, which elsewhere are general ones, and have no
# least squares, which elsewhere are LAPACK's.
TRITON = Limits(
    "triton",
    can_emit,
    own=frozenset({"triangular_solve"}),
    meanings={"lstsq": lstsq_graph},
    splits_complex=True,
    work_a_byte=10.0,  # an H200: 60 TFLOP/s of float32, 4.8 TB/s
)
