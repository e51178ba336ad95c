"""Measures the choices that a kernel has, and keeps the best.

Candidates are built in several processes, then run on scratch arrays: no array of the
user's is read or written. Each result is compared with that of the default, so that a
choice that computes something else is never taken. Times are those between two events
around a recording of several launches, so that the host has no part in them; candidates
take turns, and the median counts, so that a device that warms up slows all alike. What
fits the L2 cache stays there from one launch to the next.

A choice must be faster than the default by a margin to replace it, or the noise of the
measurement would choose.
"""

import statistics
import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ... import config, log
from ...codegen.triton.choice import LIBRARY, Choice, Site
from ...codegen.triton.emit import emit_site
from ...codegen.triton.lockfile import LockFile, Measured
from ...codegen.triton.ranking import candidates
from ...codegen.triton.store import triton_version
from ...errors import DeviceMemoryError
from .bench import Bench, Trial
from .cublaslt import library_choices
from .device import Device, aligned_pointers

_MARGIN = 0.98  # of the default's time that a choice must stay below
_HOPELESS = 2.0  # times the best so far: not measured again


@dataclass(frozen=True)
class Effort:
    """How long is measured.

    Parameters
    ----------
    rounds : int
        Times that each candidate is measured.
    window_us : float
        How long one measurement is to take, in microseconds.
    most : int
        Launches in one measurement at most.
    """

    rounds: int = 7
    window_us: float = 300.0
    most: int = 64


USUAL = Effort()


class Tuner:
    """Chooses how sites are written on one device.

    Parameters
    ----------
    device : Device
    effort : Effort
    """

    def __init__(self, device: Device, effort: Effort = USUAL) -> None:
        self.device, self.effort = device, effort
        self._known = LockFile(None, triton_version())
        self._lock = threading.Lock()

    @property
    def is_asked(self) -> bool:
        """Whether the switches ask for more than defaults."""
        return bool(config.get("tuning_file")) or config.get("tune") == "on"

    def choices(self, sites: Sequence[Site]) -> dict[str, Choice]:
        """Return the choices for sites by their keys, as the switches say.

        With ``tuning_file`` those of the file; with ``tune="on"`` what is not there is
        measured, and recorded in the file if there is one. Others have no choice.
        """
        path, is_on = config.get("tuning_file"), config.get("tune") == "on"
        with self._lock:
            known = LockFile(Path(path), triton_version()) if path else self._known
            found = known.choices(sites)
            missing = {s.key: s for s in sites if s.key not in found}
            if is_on and missing:
                for key, site in missing.items():
                    best = self._tune(site, known)
                    found |= {} if best is None else {key: best}
                known.write()
        return found

    def _tune(self, site: Site, known: LockFile) -> Choice | None:
        """Return the best choice for a site; None if there is but one."""
        measured = self.measure(site)
        if not measured:
            return None
        best = best_of(measured)
        known.record(site, best.choice, measured)
        log.emit(
            "tune",
            f"{site.name}: {best.choice}: {best.time_us:.1f} us, by default "
            f"{measured[0].time_us:.1f}, of {len(measured)} choices",
        )
        return best.choice

    def measure(self, site: Site) -> list[Measured]:
        """Return the times of the choices for a site that work, the default first.

        Empty if there is nothing to choose from, or no room to measure in.
        """
        default = emit_site(site)
        choices = *candidates(site, default.codes), *library_choices(self.device, site)
        if len(choices) < 2 or not default.codes[0].grid:
            return []
        self._build(site, choices)
        try:
            with Bench(self.device, site) as bench:
                trials = [t for t in map(bench.trial, choices) if t is not None]
                if not trials or trials[0].choice is not choices[0]:
                    return []
                return self._times(bench, trials)
        except DeviceMemoryError:
            return []

    def _build(self, site: Site, choices: Sequence[Choice]) -> None:
        written = [emit_site(site, c) for c in choices if c.form != LIBRARY]
        codes = [code for kernel in written for code in kernel.codes]
        self.device.prepare([(c, aligned_pointers(c, site.odd)) for c in codes])

    def _times(self, bench: Bench, trials: Sequence[Trial]) -> list[Measured]:
        """Return the times of the trials whose results are those of the first."""
        first, *others = trials
        expected = bench.results(first)
        right = [t for t in others if bench.agrees(t, expected)]
        alone = bench.recorded(first, 1)
        if alone is None:
            return []
        effort, once = self.effort, max(bench.time(alone), 1e-3)
        count = max(min(int(effort.window_us / once), effort.most), 1)
        found = {t.choice: bench.recorded(t, count) for t in (first, *right)}
        recordings = {c: r for c, r in found.items() if r is not None}
        if first.choice not in recordings:
            return []
        times: dict[Choice, list[float]] = {choice: [] for choice in recordings}
        for _ in range(effort.rounds):
            for choice in times:
                times[choice].append(bench.time(recordings[choice]) / count)
            limit = _HOPELESS * min(map(min, times.values()))
            hopeful = {c: t for c, t in times.items() if min(t) <= limit}
            times = {first.choice: times[first.choice], **hopeful}
        return [Measured(c, statistics.median(t)) for c, t in times.items()]


def best_of(measured: Sequence[Measured]) -> Measured:
    """Return the fastest choice; the first, unless another one is clearly faster."""
    best = min(measured, key=lambda m: m.time_us)
    return best if best.time_us < _MARGIN * measured[0].time_us else measured[0]


_tuners: "weakref.WeakKeyDictionary[Device, Tuner]" = weakref.WeakKeyDictionary()


def tuner_of(device: Device) -> Tuner:
    """Return what chooses for a device."""
    return _tuners.setdefault(device, Tuner(device))
