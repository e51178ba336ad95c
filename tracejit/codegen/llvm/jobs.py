"""Work that several threads share: the contract of a job, and its call.

    void @task(ptr context, i64 begin, i64 end, i64 worker)

runs a range of *pieces*. Code calls ``JOB_SYMBOL``, ``void (ptr task, ptr context,
i64 pieces, i64 work, i64 wake, i64 threads)``; whoever provides it calls the task for
ranges that cover all pieces once, in any order, at the same time on several threads.
`worker` is below `threads`, no two calls at a time have the same one, and the ranges of
one worker come in increasing order. `work` is an estimate in nanoseconds, `wake` that
from which waking sleeping threads pays.

The context is in the caller's scratch: slots of 16 bytes. Each worker has scratch and
error words of its own; of several errors that of the first piece is reported, as in a
serial run.
"""

from collections.abc import Sequence
from itertools import pairwise

from ...records import dataclass
from .indices import multiply
from .sharing import JOB_SYMBOL, Ranges, SharedCode, Threading
from .target import aligned
from .text import Emitter

PARAMETERS = ("ptr %context", "i64 %begin", "i64 %end", "i64 %worker")
SLOT = 16  # bytes of a value in the context
WORDS = 64  # bytes of a worker's error words: code, index, piece, whether noted
_PIECE, _NOTED = 2, 3
_RANGES_PER_THREAD = 2
_LONGER = 1.02
_MOST_PER_THREAD = 4  # where nothing is done once for each range


class ContextReader:
    """Reads the values that `write_context` wrote, in order, in a task.

    Parameters
    ----------
    em : Emitter
        Of the task.
    """

    def __init__(self, em: Emitter) -> None:
        self._em = em
        self._read = 0

    def place(self) -> str:
        """Return the address of the next value."""
        place = self._em.gep("i8", "%context", self._read * SLOT)
        self._read += 1
        return place

    def named(self, name: str, type_: str) -> None:
        """Load the next value under a name."""
        place = self.place()
        self._em.line(f"{name} = load {type_}, ptr {place}, align {SLOT}")

    def own(self, name: str, base: str, size: str) -> None:
        """Name the address of this worker's part of an array."""
        offset = self._em.op(f"mul i64 %worker, {size}")
        self._em.line(f"{name} = getelementptr i8, ptr {base}, i64 {offset}")


def write_context(em: Emitter, context: str, values: Sequence[tuple[str, str]]) -> None:
    """Write typed values to the slots of a context."""
    for k, (type_, value) in enumerate(values):
        em.store(type_, value, em.gep("i8", context, k * SLOT), SLOT)


def call_job(
    em: Emitter, task: str, context: str, pieces: int, work: int, threading: Threading
) -> None:
    """Run a task over all pieces."""
    numbers = (pieces, work, threading.wake_ns, threading.threads)
    arguments = [("ptr", f"@{task}"), ("ptr", context)]
    em.extern("void", JOB_SYMBOL, [*arguments, *(("i64", str(n)) for n in numbers)])


def clear_errors(em: Emitter, slots: Sequence[str]) -> None:
    """Set the error words of all workers to nothing, before a job."""
    for slot in slots:
        em.store("i64", "0", slot, 8)
        em.store("i64", "0", em.gep("i64", slot, _NOTED), 8)


def note_piece(em: Emitter) -> None:
    """Where a range of a task set its error word, write down which range it was.

    The first error of a function stays, so a worker's first note is the one to keep.
    """
    code = em.load("i64", "%err", 8)
    noted = em.gep("i64", "%err", _NOTED)
    before = em.load("i64", noted, 8)
    failed = em.op(f"icmp ne i64 {code}, 0")
    is_new = em.op(f"icmp eq i64 {before}, 0")
    with em.if_(em.op(f"and i1 {failed}, {is_new}"), unlikely=True):
        em.store("i64", "%begin", em.gep("i64", "%err", _PIECE), 8)
        em.store("i64", "1", noted, 8)


def report_first(em: Emitter, slots: Sequence[str]) -> None:
    """Copy the error of the first piece that has one to the caller's, after a job."""
    first = str(2**63 - 1)
    for slot in slots:
        code = em.load("i64", slot, 8)
        piece = em.load("i64", em.gep("i64", slot, _PIECE), 8)
        failed = em.op(f"icmp ne i64 {code}, 0")
        earlier = em.op(f"icmp slt i64 {piece}, {first}")
        wins = em.op(f"and i1 {failed}, {earlier}")
        with em.if_(wins, [("i64", first)], unlikely=True) as branch:
            index = em.load("i64", em.gep("i64", slot, 1), 8)
            em.store("i64", code, "%err", 8)
            em.store("i64", index, em.gep("i64", "%err", 1), 8)
            branch.yield_([piece])
        (first,) = branch.results


@dataclass(frozen=True)
class RangeJob:
    """The ranges of a kernel with contractions, as a job.

    Parameters
    ----------
    symbol : str
        What that of the task begins with.
    threading : Threading
    work : int
        Estimated nanoseconds.
    can_fail : bool
        Whether ranges write the error word.
    per_thread : int
        Ranges for each thread, at most: a few where each packs something again, many
        where they differ in work.
    """

    symbol: str
    threading: Threading
    work: int
    can_fail: bool
    per_thread: int = _RANGES_PER_THREAD

    def emit(
        self,
        em: Emitter,
        task: Emitter,
        ranges: Ranges,
        parameters: Sequence[str],
        name: str,
    ) -> SharedCode | None:
        """Write the call into `em`, where ``%scratch`` has `Ranges.shared_bytes` and
        then room for this; return the task, whose symbol ends in a name, or None if
        there are not two pieces.
        """
        threads = self.threading.threads
        each = self.per_thread if ranges.repeats_work else _MOST_PER_THREAD
        each = max(each, self.per_thread)
        pieces = even_pieces(ranges.extent, ranges.quantum, threads, each)
        if pieces < 2:
            return None
        errors = ranges.own_bytes * threads
        context = errors + WORDS * threads
        rest = em.gep("i8", "%scratch", ranges.shared_bytes)
        words = em.gep("i8", rest, errors)
        values = [("ptr", p) for p in (*parameters, "%scratch", rest)]
        values.append(("ptr", words if self.can_fail else "%err"))
        at = em.gep("i8", rest, context)
        write_context(em, at, values)
        slots = [em.gep("i8", words, WORDS * k) for k in range(threads)]
        if self.can_fail:
            clear_errors(em, slots)
        symbol = f"{self.symbol}.{name}"
        call_job(em, symbol, at, pieces, self.work, self.threading)
        if self.can_fail:
            report_first(em, slots)
        text = self._task(symbol, task, ranges, parameters, pieces)
        size = context + SLOT * len(values)
        return SharedCode(text, aligned(size))

    def _task(
        self,
        symbol: str,
        em: Emitter,
        ranges: Ranges,
        parameters: Sequence[str],
        pieces: int,
    ) -> str:
        read = ContextReader(em)
        for name in (*parameters, "%shared", "%owns", "%errors"):
            read.named(name, "ptr")
        read.own("%own", "%owns", str(ranges.own_bytes))
        read.own("%err", "%errors", str(WORDS if self.can_fail else 0))
        begin = self._start(em, "%begin", ranges, pieces)
        stop = self._start(em, "%end", ranges, pieces)
        end = em.intrinsic("llvm.smin", "i64", stop, str(ranges.extent))
        pointers = [("ptr", p) for p in (*parameters, "%shared", "%own", "%err")]
        limits = [("i64", str(begin)), ("i64", str(end))]
        em.call("void", ranges.symbol, [*pointers, *limits])
        if self.can_fail:
            note_piece(em)
        em.ret()
        return em.function(symbol, PARAMETERS, linkage="internal")

    def _start(self, em: Emitter, piece: str, ranges: Ranges, pieces: int) -> str:
        """Return where a range begins: all have as many quanta, or one more."""
        units = -(-ranges.extent // ranges.quantum)
        if units % pieces == 0:
            return str(multiply(em, piece, units // pieces * ranges.quantum))
        unit = em.op(f"udiv i64 {multiply(em, piece, units)}, {pieces}")
        return str(multiply(em, unit, ranges.quantum))


def even_pieces(extent: int, quantum: int, threads: int, per_thread: int) -> int:
    """Return how many ranges give threads the most equal shares.

    As many as can be, up to `per_thread` for each thread, where the longest share is no
    more than a fiftieth longer than with fewer.

    Examples
    --------
    >>> even_pieces(32, 6, 2, 2), even_pieces(1024, 14, 2, 4)
    (2, 8)
    """
    units = -(-extent // quantum)
    best, shortest = 1, float(extent)
    for each in range(1, per_thread + 1):
        pieces = min(each * threads, units)
        share = _longest_share(extent, quantum, pieces, threads)
        if share <= _LONGER * shortest:
            best, shortest = pieces, min(share, shortest)
    return best


def _longest_share(extent: int, quantum: int, pieces: int, threads: int) -> int:
    """Return what one thread does at most, if each takes a range when it is free."""
    units = -(-extent // quantum)
    starts = [min(n * units // pieces * quantum, extent) for n in range(pieces + 1)]
    shares = [0] * threads
    for begin, end in pairwise(starts):
        shares[shares.index(min(shares))] += end - begin
    return max(shares)
