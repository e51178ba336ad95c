"""Compiled code on disk: what there is, how much, and how to remove it.

Needs the folder that the switch ``cache_dir`` names. Only entries of `tracejit.disk` in
its own parts are counted and removed; whatever else lies there is left alone.
"""

import contextlib
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

from .. import config
from ..disk import default_folder
from ..program.memory import in_bytes

PARTS = {
    "programs": "linked code of functions",
    "objects": "object code of kernels, for processors",
    "kernels": "kernels for GPUs",
}
SUFFIXES = (".tjc", ".part")
DAY_S = 86400.0


@dataclass(frozen=True)
class Entry:
    """One file.

    Parameters
    ----------
    part : str
        Of `PARTS`.
    path : Path
    bytes : int
    used : float
        Seconds since the epoch.
    contents : tuple of str
        Names of what it holds.
    """

    part: str
    path: Path
    bytes: int
    used: float
    contents: tuple[str, ...] = ()

    def as_json(self) -> dict[str, object]:
        """Return it as a document."""
        return {
            "part": self.part,
            "name": self.path.name,
            "bytes": self.bytes,
            "used": time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(self.used)),
            "contents": list(self.contents),
        }


def folder() -> Path | None:
    """Return the folder in force; None if nothing is kept."""
    name = config.get("cache_dir")
    if name == "off":
        return None
    return Path(default_folder() if name == "auto" else name)


def entries(place: Path, with_contents: bool = False) -> list[Entry]:
    """Return the entries of a folder, those used last first."""
    found = []
    for part in PARTS:
        for path in sorted((place / part).glob("*")):
            if path.suffix not in SUFFIXES:
                continue
            with contextlib.suppress(OSError):  # another process removed it
                about = path.stat()
                held = _contents(path) if with_contents else ()
                found.append(Entry(part, path, about.st_size, about.st_mtime, held))
    return sorted(found, key=lambda x: -x.used)


def _contents(path: Path) -> tuple[str, ...]:
    with open(path, "rb") as file:
        head = file.readline(1 << 20)
    try:
        return tuple(str(name) for name, _ in json.loads(head)["parts"])
    except (ValueError, KeyError, TypeError):
        return ()


def sizes(found: list[Entry]) -> dict[str, tuple[int, int]]:
    """Return files and bytes of each part."""
    return {
        part: (
            sum(x.part == part for x in found),
            sum(x.bytes for x in found if x.part == part),
        )
        for part in PARTS
    }


def remove(found: list[Entry]) -> tuple[int, int]:
    """Remove entries; return how many there were, and their bytes."""
    count = total = 0
    for entry in found:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(entry.path)
            count, total = count + 1, total + entry.bytes
    return count, total


def to_prune(
    found: list[Entry], most_bytes: int | None, days: float | None
) -> list[Entry]:
    """Return what is beyond a size, least recently used, or was not used for days."""
    gone = []
    kept = 0
    for entry in found:
        is_old = days is not None and time.time() - entry.used > days * DAY_S
        is_over = most_bytes is not None and kept + entry.bytes > most_bytes
        if is_old or is_over:
            gone.append(entry)
        else:
            kept += entry.bytes
    return gone


def summary(place: Path | None) -> str:
    """Say where the cache is and what it holds, in lines."""
    if place is None:
        return "nothing is kept on disk: the switch cache_dir is off"
    rows = [f"{place}"]
    for part, (count, size) in sizes(entries(place)).items():
        rows.append(f"  {part:9} {count:6} files {in_bytes(size):>10}  {PARTS[part]}")
    limit = in_bytes(config.get("cache_bytes"))
    return "\n".join([*rows, f"  at most {limit} in each"])
