"""Identity of a checkpoint folder by its content, wherever the folder lies.

Small files that shape an answer (configuration, tokenizer, processor, template, remote code) are
hashed whole. Weights are sampled, because hashing 16 GB would take longer than many a run: of each
tensor in a safetensors file its name, type and shape, and up to three blocks of 4 KiB (first,
middle, last). Training, merging or quantising changes every block of a tensor that it touches; an
edit of single numbers between the blocks would be missed. Other weight formats have no table of
tensors: their size and 256 blocks spread over the file are hashed.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

from lalm_bench.errors import ModelError

_BLOCK = 4096
_BLOCKS_IN_OPAQUE_FILE = 256
_SMALL = frozenset({".json", ".jinja", ".model", ".txt", ".tiktoken", ".py", ".vocab"})
_THREADS = 8  # network file systems answer slowly, but many at once


def folder_digest(folder: Path, weights: Iterable[Path]) -> str:
    """32 hex digits that depend on file names and contents, not on the folder's place or times.

    Parameters
    ----------
    folder : Path
        A checkpoint folder; its small files are found by suffix, at its top and in its templates.
    weights : iterable of Path
        The weight files that loading will read.

    Raises
    ------
    ModelError
        A weight file is damaged.
    """
    small = [p for where in ("", "additional_chat_templates") for p in _small_files(folder / where)]
    return _digest(folder, _stamped(small), _stamped(weights))


_Stamped = tuple[tuple[Path, int, int], ...]


@lru_cache(maxsize=64)
def _digest(folder: Path, small: _Stamped, weights: _Stamped) -> str:
    """Sizes and times are there only to keep a changed file from meeting a stale entry."""
    hasher = hashlib.blake2b(digest_size=16)
    for file, _, _ in small:
        _add(hasher, file.relative_to(folder).as_posix(), file.read_bytes())
    for file, _, _ in weights:
        _add(hasher, file.relative_to(folder).as_posix(), weights_digest(file))
    return hasher.hexdigest()


def _stamped(files: Iterable[Path]) -> _Stamped:
    stats = [(file, file.stat()) for file in sorted(files)]
    return tuple((file, s.st_size, s.st_mtime_ns) for file, s in stats)


def weights_digest(file: Path) -> bytes:
    """Sampled digest of one weight file; see the module for what is sampled."""
    hasher = hashlib.blake2b(digest_size=16)
    size = file.stat().st_size
    if file.suffix == ".safetensors":
        header, spans = _tensor_spans(file, size)
        hasher.update(header)
        starts = [start for span in spans for start in _starts(*span, blocks=3)]
    else:
        hasher.update(str(size).encode())
        starts = _starts(0, size, blocks=_BLOCKS_IN_OPAQUE_FILE)
    with file.open("rb", buffering=0) as handle, ThreadPoolExecutor(_THREADS) as pool:
        for block in pool.map(lambda at: os.pread(handle.fileno(), at[1], at[0]), starts):
            hasher.update(block)
    return hasher.digest()


def _small_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return [p for p in folder.iterdir() if p.suffix in _SMALL and p.is_file()]


def _tensor_spans(file: Path, size: int) -> tuple[bytes, list[tuple[int, int]]]:
    """Header bytes and the (first byte, end) of each tensor, in the order of their names."""
    try:
        with file.open("rb") as handle:
            length = int.from_bytes(handle.read(8), "little")
            header = handle.read(length) if length <= size else b""
        table = json.loads(header)
        table.pop("__metadata__", None)
        offsets = [table[name]["data_offsets"] for name in sorted(table)]
        spans = [(8 + length + int(a), 8 + length + int(b)) for a, b in offsets]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{file}: not a safetensors file; fetch it again") from error
    if max((end for _, end in spans), default=0) > size:
        raise ModelError(f"{file}: shorter than its header promises; fetch it again")
    return header, spans


def _starts(first: int, end: int, blocks: int) -> list[tuple[int, int]]:
    """(offset, bytes) of up to `blocks` blocks spread evenly from `first` to `end`."""
    size = end - first
    if size <= blocks * _BLOCK:
        return [(at, min(_BLOCK, end - at)) for at in range(first, end, _BLOCK)]
    step = (size - _BLOCK) / (blocks - 1)
    return [(first + round(i * step), _BLOCK) for i in range(blocks)]


def _add(hasher: hashlib.blake2b, name: str, content: bytes) -> None:
    """Names and lengths keep one file's end from passing as another's beginning."""
    hasher.update(f"{name}\x1f{len(content)}\x1f".encode())
    hasher.update(content)
