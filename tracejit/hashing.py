"""SHA-256, as Python itself has it.

`hashlib` gives OpenSSL's, whose library takes 4 ms to load: longer than everything that
most programs hash.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any

_HOMES = ("_sha2", "_sha256", "hashlib")  # from Python 3.12 on, before, anywhere


def _find() -> Callable[[bytes], Any]:
    for name in _HOMES:
        try:
            found: Callable[[bytes], Any] = import_module(name).sha256
        except (ImportError, AttributeError):
            continue
        return found
    raise ImportError("no SHA-256")


_sha256 = _find()


def sha256(data: bytes) -> str:
    """Return the digest of some bytes in hexadecimal digits.

    Examples
    --------
    >>> sha256(b"abc")[:16]
    'ba7816bf8f01cfea'
    """
    digest: str = _sha256(data).hexdigest()
    return digest
