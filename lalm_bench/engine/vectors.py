"""Encoded audio kept for the next request on the same clip: in memory, and across runs on disk."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections import OrderedDict
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

_NAME = "audio"


class EncodedAudio:
    """A cache of encoded audio, least recently used out first.

    Parameters
    ----------
    identity : str
        What besides the audio determines the vectors: weights, precision, library version.
    memory : int
        Most bytes in memory, on the device of the vectors.
    folder : Path, optional
        Where vectors outlive the process; sweeps over prompts or pruning share it.
    disk : int
        Most bytes in `folder`.
    """

    def __init__(
        self, identity: str, memory: int, folder: Path | None = None, disk: int = 0
    ) -> None:
        self._identity = identity
        self._memory = memory
        self._held: OrderedDict[str, Tensor] = OrderedDict()
        self._bytes = 0
        self._folder = folder
        self._disk = disk
        self._room = 0

    def get(self, audio: str, device: torch.device) -> Tensor | None:
        """Vectors of what `audio` (a digest of rendered clips) names, or None."""
        found = self._held.get(audio)
        if found is not None:
            self._held.move_to_end(audio)
            return found
        if self._folder is None:
            return None
        file = self._file(audio)
        try:
            vectors = load(file.read_bytes())[_NAME].to(device)
            with contextlib.suppress(OSError):  # a folder that others own may be read all the same
                os.utime(file)
        except OSError:
            return None  # not there, or just evicted
        except (SafetensorError, KeyError):
            with contextlib.suppress(OSError):
                file.unlink()  # torn by a failing disk: make way for a whole one
            return None
        self._hold(audio, vectors)
        return vectors

    def put(self, audio: str, vectors: Tensor) -> None:
        """Keep vectors; what does not fit is forgotten."""
        self._hold(audio, vectors)
        if self._folder is None:
            return
        file = self._file(audio)
        if file.exists():
            return
        content = save({_NAME: vectors.cpu().contiguous()})
        if len(content) > self._disk:
            return
        partial = file.with_suffix(f".{os.getpid()}.partial")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            self._make_room(len(content))
            partial.write_bytes(content)
            partial.replace(file)
        except OSError:
            # A full disk or a folder that is only read ends the keeping and not the run.
            with contextlib.suppress(OSError):
                partial.unlink()

    def _hold(self, audio: str, vectors: Tensor) -> None:
        size = vectors.numel() * vectors.element_size()
        if audio in self._held or size > self._memory:
            return
        self._held[audio] = vectors
        self._bytes += size
        while self._bytes > self._memory:
            _, dropped = self._held.popitem(last=False)
            self._bytes -= dropped.numel() * dropped.element_size()

    def _file(self, audio: str) -> Path:
        assert self._folder is not None  # noqa: S101 - callers have looked
        name = hashlib.blake2b(f"{self._identity}\n{audio}".encode(), digest_size=16).hexdigest()
        return self._folder / name[:2] / f"{name}.safetensors"

    def _make_room(self, size: int) -> None:
        """Delete the files that were used longest ago until `size` bytes fit."""
        assert self._folder is not None  # noqa: S101 - callers have looked
        if size <= self._room:
            self._room -= size
            return
        files = []
        for file in self._folder.glob("*/*.safetensors"):
            with contextlib.suppress(OSError):
                stat = file.stat()
                files.append((stat.st_mtime, stat.st_size, file))
        total = sum(bytes_ for _, bytes_, _ in files)
        for _, bytes_, file in sorted(files):
            if total + size <= self._disk:
                break
            with contextlib.suppress(OSError):
                file.unlink()
            total -= bytes_
        # Other processes write here too, so before long the folder is counted anew.
        self._room = min(self._disk - total - size, self._disk // 16)
