"""Kernels that may write over what they read."""

from .kernel import Contract, Kernel, Load, Reduce, Store, with_inner


def can_write_in_place(kernel: Kernel, source: str, target: str) -> bool:
    """Tell whether an output may be the very memory of an input.

    It may if the kernel has no sums, which run over their elements more than once, and
    reads of the input only the element that it writes, before it writes it.

    Parameters
    ----------
    kernel : Kernel
    source, target : str
        The input, and the output.
    """
    read, written = kernel.buffer(source), kernel.buffer(target)
    if (read.shape, read.strides, read.dtype) != (
        written.shape,
        written.strides,
        written.dtype,
    ):
        return False
    stores = (op for op in kernel.body if isinstance(op, Store))
    at = next(op.map for op in stores if op.buffer == target)
    is_written = False
    for op in with_inner(kernel.body):
        if isinstance(op, Reduce | Contract):
            return False
        if isinstance(op, Store):
            is_written |= op.buffer == target
        elif isinstance(op, Load) and op.buffer == source:
            is_there = op.map == at and not (op.check or op.bounds)
            if is_written or not is_there:
                return False
    return True
