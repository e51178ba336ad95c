"""What kernels for GPUs may contain."""

from ...passes.limits import Limits
from .elementwise import can_emit

# Libraries solve triangular systems; elsewhere they are general ones.
TRITON = Limits(
    "triton", can_emit, own=frozenset({"triangular_solve"}), splits_complex=True
)
