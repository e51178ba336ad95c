"""Kernels that may write over what they read."""

from collections.abc import Iterator

from .kernel import (
    Buffer,
    Contract,
    Kernel,
    Load,
    Reduce,
    Store,
    indices_of,
    result_of,
    values_of,
    with_inner,
)
from .maps import Affine, Map, values_in


def can_write_in_place(
    kernel: Kernel, source: str, target: str, ahead: int = 0
) -> bool:
    """Tell whether an output may be the very memory of an input.

    It may if the kernel reads of the input only the element that it writes, before it
    writes it. Sums run over their elements more than once, so that a kernel has none;
    but what comes after one product, of which the input is no operand, runs once, where
    the product itself is not what is written.

    Parameters
    ----------
    kernel : Kernel
    source, target : str
        The input, and the output.
    ahead : int
        Elements from the first one of the input to the first one of the output.
    """
    read, written = kernel.buffer(source), kernel.buffer(target)
    if read.dtype != written.dtype:
        return False
    stores = (op for op in kernel.body if isinstance(op, Store))
    store = next(op for op in stores if op.buffer == target)
    place = _address(written, store.map) + ahead
    is_written = False
    for op in with_inner(kernel.body):
        if isinstance(op, Reduce):
            return False
        if isinstance(op, Store):
            is_written |= op.buffer == target
        elif isinstance(op, Load) and op.buffer == source:
            is_there = _is_same(_address(read, op.map), place)
            is_there &= not (op.check or op.bounds)
            if is_written or not is_there:
                return False
    return _comes_after_products(kernel, source, store)


def _address(buffer: Buffer, map_: Map) -> Affine:
    """Return where an element lies, in elements from the buffer's first one."""
    steps = zip(map_, buffer.strides, strict=True)
    return sum((index * stride for index, stride in steps), start=Affine())


def _is_same(one: Affine, two: Affine) -> bool:
    return one.constant == two.constant and {*one.terms} == {*two.terms}


def _comes_after_products(kernel: Kernel, source: str, store: Store) -> bool:
    """Tell whether a store follows the only product, which does not read a buffer."""
    products = [op for op in with_inner(kernel.body) if isinstance(op, Contract)]
    if not products:
        return True
    if len(products) > 1 or store.value == products[0].result:
        return False
    return source not in {op.buffer for op in _loads_for(kernel, products[0])}


def _loads_for(kernel: Kernel, product: Contract) -> Iterator[Load]:
    """Yield the loads that the operands of a product come from."""
    makers = {v.name: op for op in with_inner(kernel.body) if (v := result_of(op))}
    known: set[str] = set()
    waiting = [product.lhs.name, product.rhs.name]
    while waiting:
        name = waiting.pop()
        if name in known or name not in makers:
            continue
        known.add(name)
        maker = makers[name]
        if isinstance(maker, Load):
            yield maker
        waiting += [v.name for v in values_of(maker)]
        waiting += [n for index in indices_of(maker) for n in values_in(index)]
