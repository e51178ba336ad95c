"""What the rest of the machine does meanwhile: rounds it disturbs are thrown away.

Needs Linux's ``/proc/stat``; elsewhere nothing is known and every round counts as
calm. Time stolen by other virtual machines counts as others' work.
"""

import os
from pathlib import Path
from time import perf_counter, process_time

STAT = Path("/proc/stat")
CALM = 0.08  # of all cores; the clock of /proc/stat ticks in hundredths of a second


def busy_seconds() -> float | None:
    """Seconds that all cores have worked since the machine started, or were stolen."""
    if not STAT.exists():
        return None
    fields = [int(field) for field in STAT.read_text().split("\n", 1)[0].split()[1:9]]
    user, nice, system, _idle, _waiting, irq, softirq, steal = fields
    ticks = user + nice + system + irq + softirq + steal
    return ticks / os.sysconf("SC_CLK_TCK")


class Meter:
    """The share of all cores that others used since the last `read`."""

    def __init__(self) -> None:
        self._mark()

    def _mark(self) -> None:
        self._wall, self._own = perf_counter(), process_time()
        self._busy = busy_seconds()

    def read(self) -> float:
        """Return that share, 0 where it cannot be known, and start anew."""
        wall, own, busy = self._wall, self._own, self._busy
        self._mark()
        if busy is None or self._busy is None or self._wall <= wall:
            return 0.0
        others = (self._busy - busy) - (self._own - own)
        return max(0.0, others / ((self._wall - wall) * (os.cpu_count() or 1)))
