"""Programs for processors with caches: long rows are reduced block by block."""

from ..kernels.blocks import by_blocks
from .program import Program, with_kernels


def with_blocks(program: Program) -> Program:
    """Return the program with its kernels by blocks where that pays.

    See `kernels.blocks`. The same object where no kernel changes.
    """
    return with_kernels(program, by_blocks)
