"""How kernels may use threads, in numbers, and the names of what shares their work.

Apart from `jobs`, which writes the code that does: what runs code from disk needs this
alone.
"""

from ...records import dataclass

JOB_SYMBOL = "tracejit_parallel"
WAKE_SYMBOL = "tracejit_wake"
# Work, in estimated nanoseconds, from which sharing it with threads that are awake
# pays; waking them takes a multiple.
LEAST_NS = 8_000
_WAKE_FACTOR = 12


@dataclass(frozen=True)
class Threading:
    """How kernels may use threads.

    Parameters
    ----------
    threads : int
        At most this many, the calling one among them; 1 emits no shared loops.
    least_ns : int
        Estimated work from which a loop is shared.
    """

    threads: int = 1
    least_ns: int = LEAST_NS

    @property
    def wake_ns(self) -> int:
        """Estimated work that is worth waking threads for."""
        return self.least_ns * _WAKE_FACTOR

    def shares(self, work_ns: int) -> bool:
        """Tell whether some work is worth sharing."""
        return self.threads > 1 and work_ns >= self.least_ns


SERIAL = Threading()


@dataclass(frozen=True)
class Ranges:
    """The two parts of a kernel that may run on several threads.

    A range packs what it needs of a large product again: a few long ranges, one or two
    for each thread, are better than many short ones.

    Parameters
    ----------
    once : str or None
        The symbol of ``void (ptr buffers..., ptr shared, ptr err)``, which must return
        before a range starts.
    symbol : str
        Of ``void (ptr buffers..., ptr shared, ptr own, ptr err, i64 begin, i64 end)``.
    extent : int
        Of the whole range.
    quantum : int
        `begin` is a multiple of it, and so is `end`, unless it is `extent`.
    shared_bytes, own_bytes : int
        Scratch, aligned to 64 bytes. A range needs `own_bytes` for itself.
    repeats_work : bool
        Whether each range does something that others do, too.
    """

    once: str | None
    symbol: str
    extent: int
    quantum: int
    shared_bytes: int
    own_bytes: int
    repeats_work: bool = True


@dataclass(frozen=True)
class SharedCode:
    """A task that runs ranges on several threads, and the scratch of all of them."""

    text: str
    scratch_bytes: int
