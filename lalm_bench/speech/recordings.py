"""A folder of recordings: one file for each option text, or for each option label."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lalm_bench import audio
from lalm_bench.digests import file_digest
from lalm_bench.errors import ConfigError, DataError
from lalm_bench.types import AudioRef, Choice

BY = ("text", "label")
_SUFFIXES = (".wav", ".flac")
_LONGEST = 100


@dataclass(frozen=True)
class Recording:
    """A recorded text; two recordings are equal when their bytes are."""

    text: str
    digest: str
    path: str = field(compare=False)

    def content(self) -> str:
        """Digest of the file's bytes."""
        return f"recording {self.digest}"

    def synthesise(self) -> tuple[np.ndarray, int]:
        """The whole file, mono float32 of shape (samples,), and its rate in Hz."""
        return audio.decode(AudioRef(self.path))


@dataclass(frozen=True)
class Recordings:
    """Speech from files.

    Parameters
    ----------
    root : str
        Holds `<name>.wav` or `<name>.flac`; the name is `file_name` of the option.
    by : str
        text: what the option says. label: how the model sees it labelled.
    """

    root: str
    by: str = BY[0]

    def __post_init__(self) -> None:
        if self.by not in BY:
            raise ConfigError(f"intervention.speech.by={self.by} must be one of {', '.join(BY)}")

    def inputs(self) -> list[Path]:
        """All recordings of the folder."""
        folder = Path(self.root)
        return sorted(f for f in folder.glob("*") if f.suffix in _SUFFIXES)

    def say(self, choice: Choice) -> Recording:
        """The option's recording; DataError when there is none."""
        name = file_name(choice.text if self.by == "text" else choice.label)
        for suffix in _SUFFIXES:
            path = Path(self.root, name + suffix)
            if path.is_file():
                return Recording(choice.text, file_digest(path), str(path))
        raise DataError(
            f"intervention.speech.root={self.root} has no recording of the option "
            f"{choice.text!r}; record it as '{name}.wav'"
        )


def file_name(text: str) -> str:
    """Lower case; whatever is no letter, digit, blank, hyphen or apostrophe becomes `_`.

    Long texts end in a digest instead.

    Examples
    --------
    >>> file_name("Cat / dog")
    'cat _ dog'
    """
    plain = text.strip().lower()
    name = "".join(c if c.isalnum() or c in " -'" else "_" for c in plain)
    if len(name.encode()) <= _LONGEST:
        return name or "_"
    end = hashlib.blake2b(plain.encode(), digest_size=4).hexdigest()
    return f"{name.encode()[: _LONGEST - 9].decode(errors='ignore')}-{end}"
