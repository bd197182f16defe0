"""espeak-ng: a small formant synthesiser for about a hundred languages."""

from __future__ import annotations

import re
import struct
import subprocess
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from lalm_bench.errors import AudioError, ConfigError, one_line
from lalm_bench.types import Choice

_PROGRAM = "espeak-ng"
_LIMIT_S = 60
_FASTEST, _SLOWEST = 450, 80
# Below this share of the peak, what surrounds the words is the synthesiser's own pause.
_PAUSE = 1e-3


@dataclass(frozen=True)
class EspeakUtterance:
    """One text in one voice, by one version of the synthesiser."""

    text: str
    voice: str
    words_per_minute: int
    version: str

    def content(self) -> str:
        """Program, version, voice, tempo and text: the synthesiser draws nothing at random."""
        return f"{_PROGRAM} {self.version}:{self.voice}:{self.words_per_minute}:{self.text}"

    def synthesise(self) -> tuple[np.ndarray, int]:
        """Waveform, float32 of shape (samples,), without the pauses around it, and rate in Hz."""
        # Double brackets would be read as phoneme codes.
        text = self.text.replace("[[", "[ [")
        words = ("-v", self.voice, "-s", str(self.words_per_minute), "--stdout", "--", text)
        written = _run(words).stdout
        if len(written) < 44 or written[:4] != b"RIFF":
            raise AudioError(f"{_PROGRAM} wrote no audio for {self.text!r}")
        # The header is written before the length is known, so only its rate is read.
        rate = struct.unpack_from("<I", written, 24)[0]
        samples = np.frombuffer(written, "<i2", (len(written) - 44) // 2, 44)
        return _trim(samples.astype(np.float32) / 32768), rate


@dataclass(frozen=True)
class EspeakNg:
    """Speech from espeak-ng.

    Parameters
    ----------
    voice : str
        As `espeak-ng --voices` lists them: en, en-us, de, ...
    words_per_minute : int
        80 to 450.
    """

    voice: str = "en"
    words_per_minute: int = 175

    def __post_init__(self) -> None:
        tempo = self.words_per_minute
        if isinstance(tempo, bool) or not isinstance(tempo, int) or not 80 <= tempo <= _FASTEST:
            raise ConfigError(
                f"intervention.speech.words_per_minute={tempo!r} must be a whole number from "
                f"{_SLOWEST} to {_FASTEST}"
            )
        if not isinstance(self.voice, str) or not re.fullmatch(r"[\w+-]+", self.voice):
            raise ConfigError(
                f"intervention.speech.voice={self.voice!r} must be a name that "
                f"`{_PROGRAM} --voices` lists"
            )

    def inputs(self) -> list[Path]:
        """No files."""
        return []

    def say(self, choice: Choice) -> EspeakUtterance:
        """The option's text; ConfigError when program or voice are not there."""
        version = _version()
        _demand_voice(self.voice)
        if "\0" in choice.text:
            raise ConfigError(f"the option {choice.text!r} holds a NUL; mend the dataset")
        return EspeakUtterance(choice.text, self.voice, self.words_per_minute, version)


@lru_cache(maxsize=1)
def _version() -> str:
    said = _run(("--version",)).stdout.decode(errors="replace")
    found = re.search(r"\d+(\.\d+)+\S*", said)
    if found is None:
        raise ConfigError(f"{_PROGRAM} --version says {said.strip()!r}; install espeak-ng 1.50+")
    return found[0]


@lru_cache(maxsize=64)
def _demand_voice(voice: str) -> None:
    done = _run(("-v", voice, "-q", "--", "a"), fails=True)
    if done.returncode:
        raise ConfigError(
            f"intervention.speech.voice={voice}: {one_line(Exception(done.stderr.decode()))} "
            f"(`{_PROGRAM} --voices` lists them)"
        )


def _run(words: tuple[str, ...], fails: bool = False) -> subprocess.CompletedProcess[bytes]:
    """Run the program without a shell."""
    try:
        done = subprocess.run(
            [_PROGRAM, *words], capture_output=True, timeout=_LIMIT_S, stdin=subprocess.DEVNULL
        )
    except FileNotFoundError:
        raise ConfigError(
            f"{_PROGRAM} is not installed: apt install espeak-ng, or intervention/speech=recordings"
        ) from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise AudioError(f"{_PROGRAM} could not run: {one_line(error)}") from error
    if done.returncode and not fails:
        raise AudioError(f"{_PROGRAM} failed: {done.stderr.decode(errors='replace').strip()}")
    return done


def _trim(wave: np.ndarray) -> np.ndarray:
    loud = np.flatnonzero(np.abs(wave) > _PAUSE * np.abs(wave).max(initial=0.0))
    return wave[loud[0] : loud[-1] + 1] if len(loud) else wave
