"""Entries on disk: kept, damaged, foreign, too many."""

import os
from unittest.mock import patch

import pytest

from tracejit.disk import DiskCache, default_folder, key_of

PARTS = {"code": b"\x00\x01\n\xff" * 10, "text": b"", "more": b"{}\n"}
KEY = key_of("kernel", 90, ("a", 1))


@pytest.fixture
def cache(tmp_path):
    return DiskCache(tmp_path / "cache", 10_000)


def test_entries_come_back_in_another_process(cache):
    assert cache.get(KEY) is None
    cache.put(KEY, PARTS)
    again = DiskCache(cache.folder, cache.limit)
    assert again.get(KEY) == PARTS
    assert (again.hits, again.misses, cache.misses) == (1, 0, 1)


def test_the_folder_is_private(cache):
    cache.put(KEY, PARTS)
    assert cache.folder.stat().st_mode & 0o077 == 0
    assert len(list(cache.folder.iterdir())) == 1


def test_keys_tell_their_parts_apart():
    keys = {key_of("a", "b"), key_of("ab"), key_of("a,b"), key_of("b", "a"), key_of()}
    assert len(keys) == 5
    assert key_of("a", 1) == key_of("a", 1)


@pytest.mark.parametrize("size", [0, 5, 60, -1])
def test_damaged_entries_are_missing(cache, size):
    cache.put(KEY, PARTS)
    path = next(cache.folder.iterdir())
    data = path.read_bytes()
    path.write_bytes(data[:size])
    assert cache.get(KEY) is None
    cache.put(KEY, PARTS)
    assert cache.get(KEY) == PARTS


def test_one_wrong_byte_is_noticed(cache):
    cache.put(KEY, PARTS)
    path = next(cache.folder.iterdir())
    data = bytearray(path.read_bytes())
    data[-2] ^= 1
    path.write_bytes(data)
    assert cache.get(KEY) is None


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="files have owners on POSIX")
def test_entries_of_another_user_are_missing(cache):
    cache.put(KEY, PARTS)
    with patch("os.getuid", lambda: os.stat(cache.folder).st_uid + 1):
        assert cache.get(KEY) is None


def test_what_was_used_last_stays(cache):
    keys = [key_of(k) for k in range(8)]
    for k, key in enumerate(keys[:4]):
        cache.put(key, {"code": bytes(2000)})
        os.utime(cache.folder / f"{key}.tjc", (k, k))
    assert cache.get(keys[0]) is not None  # used now
    for key in keys[4:]:
        cache.put(key, {"code": bytes(2000)})
    total = sum(p.stat().st_size for p in cache.folder.iterdir())
    assert total <= cache.limit
    assert cache.get(keys[7]) is not None
    assert cache.get(keys[1]) is None


def test_a_folder_that_cannot_be_written_costs_nothing(tmp_path):
    (tmp_path / "file").write_text("in the way")
    cache = DiskCache(tmp_path / "file" / "cache", 1000)
    cache.put(KEY, PARTS)
    assert cache.get(KEY) is None


def test_the_default_folder_follows_the_environment(tmp_path):
    with (
        patch.dict(os.environ, {"XDG_CACHE_HOME": str(tmp_path)}),
        patch("sys.platform", "linux"),
    ):
        assert default_folder() == str(tmp_path / "tracejit")
