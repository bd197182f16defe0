"""Spectrograms of the clips heard last: questions on one clip follow each other."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import numpy as np

# Clips whose features are kept: a few for each thread that asks for them.
KEPT = 32
_NAMES = ("feature_extractor", "audio_processor")


def remember(processor: Any) -> None:
    """Let the audio extractor of `processor`, and of copies of it, remember its last clips."""
    memory = _Memory()
    for name in _NAMES:
        if getattr(processor, name, None) is not None:
            setattr(processor, name, Remembering(getattr(processor, name), memory))


class Remembering:
    """An extractor in front of a memory that its copies share."""

    def __init__(self, extractor: Any, memory: _Memory) -> None:
        self._extractor, self._memory = extractor, memory

    def __call__(self, audio: Any, *args: Any, **options: Any) -> Any:
        """Features of `audio` (waveforms), a new container around shared tensors."""
        name = _name(audio, args, options)
        if name is None:
            return self._extractor(audio, *args, **options)
        found = self._memory.get(name, lambda: self._extractor(audio, *args, **options))
        return type(found)(dict(found))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # a copy asks before there is anything to ask
            raise AttributeError(name)
        return getattr(self._extractor, name)

    def __deepcopy__(self, memo: dict[int, Any]) -> Remembering:
        return Remembering(deepcopy(self._extractor, memo), self._memory)


class _Memory:
    """Results by name; who asks for what another thread is computing waits for it."""

    def __init__(self) -> None:
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, name: str, compute: Callable[[], Any]) -> Any:
        with self._lock:
            entry = self._entries.setdefault(name, _Entry())
            self._entries.move_to_end(name)
            while len(self._entries) > KEPT:
                self._entries.popitem(last=False)
        with entry.lock:
            if entry.result is None:
                entry.result = compute()
            return entry.result


@dataclass
class _Entry:
    lock: threading.Lock = field(default_factory=threading.Lock)
    result: Any = None


def _name(audio: Any, args: tuple[Any, ...], options: dict[str, Any]) -> str | None:
    """Digest of waveforms and settings; None for what is not a waveform."""
    waves = audio if isinstance(audio, (list, tuple)) else [audio]
    if not waves or not all(isinstance(wave, np.ndarray) for wave in waves):
        return None
    hasher = hashlib.blake2b(digest_size=16)
    hasher.update(repr((type(audio), args, sorted(options.items()))).encode())
    for wave in waves:
        hasher.update(f"{wave.dtype}{wave.shape}".encode())
        hasher.update(np.ascontiguousarray(wave).data)
    return hasher.hexdigest()
