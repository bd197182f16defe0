"""Digests of files by content."""

from __future__ import annotations

import hashlib
import os
from functools import lru_cache
from pathlib import Path

_BLOCK = 1 << 20


def file_digest(path: str | Path) -> str:
    """BLAKE2b of the bytes, 32 hex digits; read once as long as size and time stay the same.

    Raises
    ------
    OSError
        The file cannot be read.
    """
    stat = os.stat(path)
    return _digest(str(path), stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=1 << 16)
def _digest(path: str, size: int, mtime_ns: int) -> str:
    hasher = hashlib.blake2b(digest_size=16)
    with open(path, "rb", buffering=0) as file:
        while block := file.read(_BLOCK):
            hasher.update(block)
    return hasher.hexdigest()
