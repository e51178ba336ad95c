"""Compiled code kept on disk, so that the next process compiles nothing.

An entry is one file, named by the hash of all that its content depends on. It begins
with a line of JSON (the names and sizes of its parts, and the hash of their bytes), the
parts follow. Files are written whole under another name and renamed, so that readers
need no lock; an entry that is damaged, or belongs to another user, counts as missing.
The folder is private to the user. When it holds more bytes than it may, the entries
that were not used for the longest time go.
"""

import contextlib
import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

_SUFFIX = ".tjc"
_KEPT_SHARE = 0.8  # of the limit, after entries had to go


def key_of(*parts: object) -> str:
    """Return the name of an entry whose content depends on these, as text."""
    text = json.dumps([str(p) for p in parts])
    return hashlib.sha256(text.encode()).hexdigest()


def default_folder() -> Path:
    """Return where caches of this user live: `XDG_CACHE_HOME`, or what is usual."""
    home = Path.home()
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "tracejit"
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else home / ".cache") / "tracejit"


class DiskCache:
    """Entries in one folder.

    Parameters
    ----------
    folder : Path
        Made when the first entry is written.
    limit : int
        Bytes of all entries.

    Attributes
    ----------
    hits, misses : int

    Examples
    --------
    >>> cache = DiskCache(Path(tempfile.mkdtemp()) / "cache", 1 << 20)
    >>> cache.put(key_of("f", 1), {"code": b"123"})
    >>> cache.get(key_of("f", 1))
    {'code': b'123'}
    >>> cache.get(key_of("f", 2)) is None
    True
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder, self.limit = folder, limit
        self.hits = self.misses = 0

    def get(self, key: str) -> dict[str, bytes] | None:
        """Return the parts of an entry, or None."""
        path = self._path(key)
        parts = self._read(path)
        if parts is None:
            self.misses += 1
            return None
        self.hits += 1
        with contextlib.suppress(OSError):
            os.utime(path)  # used now
        return parts

    def has(self, key: str) -> bool:
        """Tell whether there is an entry, right or damaged."""
        return self._path(key).exists()

    def put(self, key: str, parts: Mapping[str, bytes]) -> None:
        """Keep an entry; what cannot be written is not kept."""
        body = b"".join(parts.values())
        head = {
            "parts": [[name, len(data)] for name, data in parts.items()],
            "sha256": hashlib.sha256(body).hexdigest(),
        }
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._publish(self._path(key), json.dumps(head).encode() + b"\n" + body)
            self._bound()
        except OSError:
            return

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}{_SUFFIX}"

    def _read(self, path: Path) -> dict[str, bytes] | None:
        try:
            if hasattr(os, "getuid") and path.stat().st_uid != os.getuid():
                return None
            head, _, body = path.read_bytes().partition(b"\n")
            about = json.loads(head)
            if hashlib.sha256(body).hexdigest() != about["sha256"]:
                return None
            out, start = {}, 0
            for name, size in about["parts"]:
                out[name] = body[start : start + size]
                start += size
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return out

    def _publish(self, path: Path, data: bytes) -> None:
        handle, name = tempfile.mkstemp(dir=self.folder)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            os.replace(name, path)
        except OSError:
            os.unlink(name)
            raise

    def _bound(self) -> None:
        """Remove entries that were not used for the longest time."""
        found = [(p.stat(), p) for p in self.folder.glob(f"*{_SUFFIX}")]
        total = sum(s.st_size for s, _ in found)
        if total <= self.limit:
            return
        for about, path in sorted(found, key=lambda entry: entry[0].st_mtime):
            path.unlink(missing_ok=True)
            total -= about.st_size
            if total <= self.limit * _KEPT_SHARE:
                return
