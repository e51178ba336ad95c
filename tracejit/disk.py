"""Compiled code kept on disk, so that the next process compiles nothing.

An entry is one file, named by the hash of all that its content depends on. It begins
with a line of JSON (its key, the names and sizes of its parts, and the hash of their
bytes), the parts follow. Files are written whole under another name and renamed, so
that readers need no lock; an entry that is damaged, lies under another's name, or
belongs to another user, counts as missing. The folder is private to the user. When it
holds more bytes than it may, the entries that were not used for the longest time go.

Nothing here raises: a folder that is not there, is full or cannot be written means
that code is compiled again.
"""

import contextlib
import itertools
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from functools import cache

from . import config
from .hashing import sha256

_SUFFIX = ".tjc"
_UNFINISHED = ".part"
_KEPT_SHARE = 0.8  # of the limit, after entries had to go
_ABANDONED_S = 3600.0  # age of unfinished files whose writers are taken to be dead
_NUMBERS = itertools.count()


def key_of(*parts: object) -> str:
    """Return the name of an entry whose content depends on these, as text."""
    text = json.dumps([str(p) for p in parts])
    return sha256(text.encode())


def default_folder() -> str:
    """Return where caches of this user live: `XDG_CACHE_HOME`, or what is usual."""
    home = os.path.expanduser("~")
    if sys.platform == "darwin":
        return os.path.join(home, "Library", "Caches", "tracejit")
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(home, ".cache")
    return os.path.join(base, "tracejit")


class DiskCache:
    """Entries in one folder.

    Parameters
    ----------
    folder : str or path
        Made when the first entry is written.
    limit : int
        Bytes of all entries. The folder is measured with the first entry that is
        written, and when what was written since may have passed the limit.

    Attributes
    ----------
    hits, misses : int

    Examples
    --------
    >>> import tempfile
    >>> cache = DiskCache(tempfile.mkdtemp() + "/cache", 1 << 20)
    >>> cache.put(key_of("f", 1), {"code": b"123"})
    >>> cache.get(key_of("f", 1))
    {'code': b'123'}
    >>> cache.get(key_of("f", 2)) is None
    True
    """

    def __init__(self, folder: str | os.PathLike[str], limit: int) -> None:
        self.folder, self.limit = folder, limit
        self.hits = self.misses = 0
        self._bytes: int | None = None  # in the folder, as far as this process knows

    def get(self, key: str) -> dict[str, bytes] | None:
        """Return the parts of an entry, or None."""
        path = self._path(key)
        parts = self._read(path, key)
        if parts is None:
            self.misses += 1
            return None
        self.hits += 1
        with contextlib.suppress(OSError):
            os.utime(path)  # used now
        return parts

    def has(self, key: str) -> bool:
        """Tell whether there is an entry, right or damaged."""
        return os.path.exists(self._path(key))

    def put(self, key: str, parts: Mapping[str, bytes]) -> None:
        """Keep an entry; what cannot be written is not kept."""
        body = b"".join(parts.values())
        head = {
            "key": key,
            "parts": [[name, len(data)] for name, data in parts.items()],
            "sha256": sha256(body),
        }
        data = json.dumps(head).encode() + b"\n" + body
        with contextlib.suppress(OSError):
            os.makedirs(self.folder, mode=0o700, exist_ok=True)
            self._publish(self._path(key), data)
            self._bound(len(data))

    def _path(self, key: str) -> str:
        return os.path.join(self.folder, f"{key}{_SUFFIX}")

    def _read(self, path: str, key: str) -> dict[str, bytes] | None:
        try:
            if hasattr(os, "getuid") and os.stat(path).st_uid != os.getuid():
                return None
            with open(path, "rb") as file:
                head, _, body = file.read().partition(b"\n")
            about = json.loads(head)
            if about["key"] != key:
                return None
            if sha256(body) != about["sha256"]:
                return None
            out, start = {}, 0
            for name, size in about["parts"]:
                out[name] = body[start : start + size]
                start += size
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return out

    def _publish(self, path: str, data: bytes) -> None:
        """Write a file under a name of its own, then give it the one it shall have."""
        name = f"{os.getpid()}.{next(_NUMBERS)}.{time.time_ns()}{_UNFINISHED}"
        own = os.path.join(self.folder, name)
        try:
            handle = os.open(own, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            os.replace(own, path)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(own)
            raise

    def _bound(self, written: int) -> None:
        """Note what was written; make room if the folder is too large."""
        if self._bytes is not None and self._bytes + written <= self.limit:
            self._bytes += written
            return
        self._remove_abandoned()
        found = [(s.st_mtime, s.st_size, path) for path, s in self._files(_SUFFIX)]
        total = sum(size for _, size, _ in found)
        if total > self.limit:
            for _, size, path in sorted(found):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)
                total -= size
                if total <= self.limit * _KEPT_SHARE:
                    break
        self._bytes = total

    def _remove_abandoned(self) -> None:
        """Remove what writers left that did not come to their end."""
        for path, about in self._files(_UNFINISHED):
            if time.time() - about.st_mtime > _ABANDONED_S:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)

    def _files(self, suffix: str) -> Iterator[tuple[str, os.stat_result]]:
        with os.scandir(self.folder) as entries:
            for entry in entries:
                if entry.name.endswith(suffix):
                    with contextlib.suppress(FileNotFoundError):
                        yield entry.path, entry.stat()


def configured(part: str) -> DiskCache | None:
    """Return the cache that the configuration names; None if it is to be off.

    Parameters
    ----------
    part : str
        The folder below: ``"objects"`` of machine code, ``"kernels"`` of GPUs.

    Examples
    --------
    >>> with config.override(cache_dir="off"):
    ...     configured("objects") is None
    True
    """
    name = config.get("cache_dir")
    if name == "off":
        return None
    folder = default_folder() if name == "auto" else name
    return _cache_in(os.path.join(folder, part), config.get("cache_bytes"))


@cache
def _cache_in(folder: str, limit: int) -> DiskCache:
    return DiskCache(folder, limit)
