"""What kernels for CPUs may contain."""

from ...passes.limits import Limits
from .elementwise import can_emit

LLVM = Limits("llvm", can_emit)
