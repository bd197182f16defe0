"""Who speaks: option texts as short utterances, for interventions that put words into a clip.

A speech source answers `say(choice)` with an `Utterance`. What it will sound like is known at once
(`content`); the waveform is made when a worker thread first needs it, once per utterance and rate.
"""

from __future__ import annotations

import threading
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from lalm_bench import audio
from lalm_bench.errors import AudioError
from lalm_bench.types import Choice

if TYPE_CHECKING:
    import numpy as np

_MOST_KEPT = 512
_ONE_AT_A_TIME = threading.Lock()


class Utterance(Protocol):
    """A spoken text. Equal utterances sound the same."""

    def __hash__(self) -> int:
        """Utterances are kept by what they say and how."""

    @property
    def text(self) -> str:
        """What is said."""

    def content(self) -> str:
        """Everything that determines the waveform, as one string; never where a file lies."""

    def synthesise(self) -> tuple[np.ndarray, int]:
        """Mono float32 waveform of shape (samples,) and its rate in Hz.

        Raises
        ------
        AudioError
            The text gives no sound, or a recording cannot be read.
        """


class Speech(Protocol):
    """A source of utterances; `_target_` of the node `intervention.speech`."""

    def inputs(self) -> list[Path]:
        """Recordings it speaks with; none for a synthesiser."""

    def say(self, choice: Choice) -> Utterance:
        """The utterance that names an option; the waveform is not made yet.

        Raises
        ------
        ConfigError
            The synthesiser is not installed or a setting is wrong.
        DataError
            There is no recording of it.
        """


def spoken(utterance: Utterance, rate: int) -> np.ndarray:
    """The utterance at `rate` Hz: float32, shape (samples,), read-only, never silent.

    It is made once per process, whichever thread asks first.

    Raises
    ------
    AudioError
        It holds no sound.
    """
    with _ONE_AT_A_TIME:
        return _spoken(utterance, rate)


@lru_cache(maxsize=_MOST_KEPT)
def _spoken(utterance: Utterance, rate: int) -> np.ndarray:
    wave = audio.resample(*utterance.synthesise(), rate)
    if not wave.any():
        raise AudioError(
            f"nothing is heard of {utterance.text!r}; use recordings (intervention/speech="
            "recordings) or another voice"
        )
    wave.flags.writeable = False
    return wave
