"""Vectors of several registers whose operations stay side by side.

LLVM writes an operation on such a vector as one for each register, and its scheduler
then moves them: to need few registers it finishes the chain of one before it begins the
next, and a processor that looks no further than one chain waits for each of its
results. A statement of assembly without text, which has all registers as operands and
as results, is no instruction, but nothing is moved across it:

    a = f(a)    b = f(b)    c = f(c)    d = f(d)
    ------------------ abreast ------------------
    a = g(a)    b = g(b)    c = g(c)    d = g(d)
"""

from .shuffles import joined
from .target import Target
from .text import Emitter, bits_of, vec

_MOST = 4  # registers side by side, which leaves others for what they are combined with


def abreast(em: Emitter, target: Target, element: str, lanes: int, value: str) -> str:
    """Return a vector as it is, all of whose registers are computed up to here.

    The value itself where that is no use: vectors of one register, targets with many.

    Parameters
    ----------
    element : str
        The LLVM type of a lane: a float type.
    """
    width = 8 * target.vector_bytes // bits_of(element)
    if not target.has_few_registers or lanes <= width or lanes % width:
        return value
    whole = vec(element, lanes)
    starts = range(0, lanes, width)
    parts = [
        em.shuffle(whole, value, "poison", range(start, start + width))
        for start in starts
    ]
    tied = [
        part
        for first in range(0, len(parts), _MOST)
        for part in _tied(em, vec(element, width), parts[first : first + _MOST])
    ]
    return joined(em, element, tied, width)


def _tied(em: Emitter, type_: str, parts: list[str]) -> list[str]:
    """Return registers that are computed together."""
    if len(parts) == 1:
        return parts
    struct = "{" + ", ".join([type_] * len(parts)) + "}"
    constraints = ",".join(["=x"] * len(parts) + [str(k) for k in range(len(parts))])
    operands = ", ".join(f"{type_} {part}" for part in parts)
    all_ = em.op(f'call {struct} asm "", "{constraints}"({operands})')
    return [em.op(f"extractvalue {struct} {all_}, {k}") for k in range(len(parts))]
