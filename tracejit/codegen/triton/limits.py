"""What kernels for GPUs may contain."""

from ...passes.limits import Limits
from .elementwise import can_emit

TRITON = Limits("triton", can_emit)
