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
