"""Decoded clips kept in memory, so that the cells of a sweep decode and resample each clip once."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

_MOST_BYTES = 1 << 29
_SHARE_OF_MEMORY = 32
# Misses in a row, for each clip held, after which what is held belongs to work that is over.
_PATIENCE = 8


class WaveCache:
    """Waveforms by key, at most `limit` bytes of them; safe to use from several threads.

    A full cache keeps what it has: a sweep asks for the same clips in the same order again and
    again, and giving up the oldest ones would then give up each one just before it is wanted. What
    was of no use for long is dropped as a whole.

    Parameters
    ----------
    limit : int
        Most bytes held; 0 holds nothing.

    Attributes
    ----------
    hits, misses : int
        Waveforms that were there, and that had to be loaded.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.hits = self.misses = 0
        self._lock = Lock()
        self._held: dict[Hashable, np.ndarray] = {}
        self._loading: dict[Hashable, Future[np.ndarray]] = {}
        self._bytes = self._useless = 0

    def get(self, key: Hashable, load: Callable[[], np.ndarray]) -> np.ndarray:
        """The waveform of `key`, read-only; `load` is called by one thread at a time for a key.

        Raises
        ------
        Exception
            Whatever `load` raises, in every thread that waits for it; nothing is held then.
        """
        with self._lock:
            held = self._held.get(key)
            if held is not None:
                self.hits += 1
                self._useless = 0
                return held
            waiting = self._loading.get(key)
            if waiting is None:
                self.misses += 1
                promise = self._loading[key] = Future()
            else:
                self.hits += 1
        if waiting is not None:
            return waiting.result()
        try:
            wave = load().view()
        except BaseException as error:
            with self._lock:
                del self._loading[key]
            promise.set_exception(error)
            raise
        wave.setflags(write=False)
        with self._lock:
            self._admit(key, wave)
            del self._loading[key]
        promise.set_result(wave)
        return wave

    def clear(self) -> None:
        """Forget all waveforms and counts."""
        with self._lock:
            self._forget()
            self.hits = self.misses = 0

    def _admit(self, key: Hashable, wave: np.ndarray) -> None:
        self._useless += 1
        if self._useless > _PATIENCE * (len(self._held) + 1) and self._bytes > self.limit // 2:
            self._forget()
        if self._bytes + wave.nbytes <= self.limit:
            self._held[key] = wave
            self._bytes += wave.nbytes

    def _forget(self) -> None:
        self._held.clear()
        self._bytes = self._useless = 0


def memory_share() -> int:
    """Bytes that decoded clips may take: a 32nd of the machine's memory, at most 512 MiB."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):  # not told on this system
        return _MOST_BYTES // 2
    return min(total // _SHARE_OF_MEMORY, _MOST_BYTES)
