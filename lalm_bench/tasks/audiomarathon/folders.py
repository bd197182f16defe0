"""Recordings whose folder is their label: HAD's `real/` and `fake/`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lalm_bench.errors import ConfigError, DataError
from lalm_bench.prompts import letter
from lalm_bench.tasks.audiomarathon.choice import LongAudioChoice
from lalm_bench.types import AudioRef, Choice, Sample


@dataclass(kw_only=True)
class LabelledFolders(LongAudioChoice):
    """One folder a class, one recording an item.

    Parameters
    ----------
    folders : mapping
        Folder below `root` -> option text, in the order of the options.
    question : str
    pattern : str
        Which files of a folder are recordings.
    """

    folders: dict[str, str]
    question: str
    pattern: str = "*.wav"

    def __post_init__(self) -> None:
        if len(self.folders) < 2:
            raise ConfigError("task.folders must name two folders or more")
        self._choices = tuple(
            [Choice(letter(i), text) for i, text in enumerate(self.folders.values())]
        )
        super().__post_init__()

    def inputs(self) -> list[Path]:
        """The folders: a recording added or taken away changes what is asked."""
        return [Path(self.root, name) for name in self.folders]

    def missing(self, audio: bool) -> list[str]:
        """Folders that are not there."""
        return [
            f"{folder}: no such folder; run `python -m lalm_bench.data fetch audiomarathon DIR`, "
            "or set task.root"
            for folder in self.inputs()
            if not folder.is_dir()
        ]

    def questions(self) -> Iterator[Sample]:
        """Items by folder and name."""
        for choice, folder in zip(self._choices, self.inputs(), strict=True):
            files = sorted(folder.glob(self.pattern))
            if not files:
                raise DataError(f"{folder}: no {self.pattern} in it; complete the data")
            for file in files:
                yield Sample(
                    f"{folder.name}/{file.name}",
                    (AudioRef(str(file)),),
                    self.question,
                    self._choices,
                    choice.label,
                    file.stem,
                    {"answer_type": choice.text},
                )
