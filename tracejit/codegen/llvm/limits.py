"""What kernels for CPUs may contain."""

from dataclasses import replace
from math import prod

from ...ir.dtypes import FLOATS, NARROW_FLOATS
from ...ir.graph import Eqn
from ...ir.ops.conv import LEADING
from ...passes.limits import Limits
from .elementwise import can_emit
from .target import Target


def can_extend(eqn: Eqn) -> bool:
    """Tell whether a convolution is computed image by image, with what follows it.

    Sums over more places than there are results, as the gradients of filters are, run
    over all of them at once, channel by channel.
    """
    w, out = eqn.invars[1].aval, eqn.outvars[0].aval
    is_long = prod(w.shape[LEADING:]) > prod(out.shape[LEADING:])
    return out.dtype in FLOATS - NARROW_FLOATS and w.ndim > LEADING and not is_long


# What NumPy computes by libraries, or in an order of its own.
KEPT = frozenset({"dot_general", "conv_general", "scatter"})
LLVM = Limits(
    "llvm",
    can_emit,
    can_extend=can_extend,
    splits_complex=True,
    keeps_complex=KEPT,
    adds_products=True,
    picks_places=True,
)


def limits_of(target: Target) -> Limits:
    """Return what kernels for a machine may contain.

    A fused multiply-add that is no instruction takes a call for each element.
    """
    return LLVM if target.has_fma else replace(LLVM, adds_products=False)
