"""Kernels with contractions whose range several threads share.

    K.job(context, begin, end, worker)      K.range over some pieces of the range
    K(buffers, scratch, err)                K.once, then all pieces by `JOB_SYMBOL`

Needs the functions of `staged`, which may run ranges at the same time; establishes a
function with the parameters of any kernel. The bits do not depend on who runs what.
"""

from collections.abc import Callable, Sequence

from .parallel import JOB_SYMBOL, Pieces, Threading, cut
from .staged import Ranges, aligned
from .text import Emitter

_PIECES_PER_THREAD = 2  # a range packs what it needs of its operands: few and long
_PARAMETERS = ("ptr %context", "i64 %begin", "i64 %end", "i64 %worker")


def pieces_of(ranges: Ranges, threading: Threading) -> Pieces:
    """Return how a range is cut for threads."""
    count = _PIECES_PER_THREAD * threading.threads
    share = -(-ranges.extent // count)
    return cut(ranges.extent, -(-share // ranges.quantum) * ranges.quantum)


def emit_shared(
    symbol: str,
    ranges: Ranges,
    parameters: Sequence[str],
    threading: Threading,
    work_ns: int,
    new_emitter: Callable[[], Emitter],
    linkage: str,
) -> tuple[str, int]:
    """Return the two functions, and the scratch memory they need.

    Parameters
    ----------
    symbol : str
        The name of the kernel's function.
    ranges : Ranges
    parameters : sequence of str
        Those of the buffers.
    threading : Threading
    work_ns : int
        The estimated work of the whole.
    new_emitter : callable
    linkage : str
    """
    job = _job(
        symbol, ranges, len(parameters), pieces_of(ranges, threading), new_emitter
    )
    own = aligned(ranges.shared_bytes)
    context_at = own + threading.threads * aligned(ranges.own_bytes)
    em = new_emitter()
    buffers = [("ptr", p) for p in parameters]
    if ranges.once:
        em.call("void", ranges.once, [*buffers, ("ptr", "%scratch"), ("ptr", "%err")])
    context = em.gep("i8", "%scratch", context_at)
    values = [*parameters, "%scratch", em.gep("i8", "%scratch", own), "%err"]
    for place, value in enumerate(values):
        em.store("ptr", value, em.gep("ptr", context, place), 8)
    count = pieces_of(ranges, threading).count
    numbers = (count, work_ns, threading.wake_ns, threading.threads)
    arguments = [("ptr", f"@{symbol}.job"), ("ptr", context)]
    em.extern("void", JOB_SYMBOL, [*arguments, *(("i64", str(n)) for n in numbers)])
    em.ret()
    names = [f"ptr {p}" for p in (*parameters, "%scratch", "%err")]
    text = em.function(symbol, names, linkage=linkage)
    return f"{job}\n{text}", context_at + aligned(8 * len(values))


def _job(
    symbol: str,
    ranges: Ranges,
    buffers: int,
    pieces: Pieces,
    new_emitter: Callable[[], Emitter],
) -> str:
    """Return the function that runs pieces; each worker has scratch of its own."""
    em = new_emitter()
    loaded = [
        em.load("ptr", em.gep("ptr", "%context", place), 8)
        for place in range(buffers + 3)
    ]
    *pointers, shared, own, error = loaded
    offset = em.op(f"mul nsw i64 %worker, {aligned(ranges.own_bytes)}")
    mine = em.gep("i8", own, offset)
    begin = em.op(f"mul nsw i64 %begin, {pieces.length}")
    end = em.op(f"mul nsw i64 %end, {pieces.length}")
    end = em.intrinsic("llvm.smin", "i64", end, str(ranges.extent))
    arguments = [("ptr", p) for p in (*pointers, shared, mine, error)]
    em.call("void", ranges.symbol, [*arguments, ("i64", begin), ("i64", end)])
    em.ret()
    return em.function(f"{symbol}.job", _PARAMETERS, linkage="internal")
