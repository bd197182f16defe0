"""MMAU test-mini: questions on sound, speech and music that need expert knowledge or reasoning.

Sakshi et al. (2024), arXiv 2410.19168. Layout: `mmau-test-mini.json`, and the recordings below
`test-mini-audios/` beside it.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from lalm_bench.parsing.compat.mmau import string_match
from lalm_bench.tasks.multiple_choice import MultipleChoice
from lalm_bench.tasks.published_items import absent, lettered, plain, read_samples, text_of
from lalm_bench.types import AudioRef, Choice, Json, Sample

_SOURCE = "clone Sakshi113/MMAU, fetch the recordings its README links to,"


@dataclass(kw_only=True)
class StringMatched(MultipleChoice):
    """Base of the benchmarks whose official score is MMAU's string match.

    Beside the label's accuracy stand `accuracy[string_match]`, the official rule on the raw
    answer, and `accuracy[string_match_extracted]`, the same rule on the text of the option that the
    parser found.

    Parameters
    ----------
    dataset : str
        The published question file.
    audio_root : str
        Folder to which the file's audio paths are relative.
    """

    shown: ClassVar[tuple[str, ...]] = ("accuracy[string_match]",)

    dataset: str
    audio_root: str

    def __post_init__(self) -> None:
        super().__post_init__()
        self._faults: Counter[str] = Counter()

    def inputs(self) -> list[Path]:
        """The question file."""
        return [Path(self.dataset)]

    def further_values(self, sample: Sample, text: str, label: str | None) -> dict[str, float]:
        """Both forms of the string match."""
        texts = {choice.label: choice.text for choice in sample.choices}
        right = texts[sample.target]
        options = list(texts.values())
        extracted = label is not None and string_match(texts[label], right, options)
        return {
            "correct[string_match]": float(string_match(text, right, options)),
            "correct[string_match_extracted]": float(extracted),
        }

    def report(self) -> dict[str, Json]:
        """Items whose choices repeat or are empty, as they are published."""
        return dict(self._faults)

    def choices(self, row: dict[str, Any], where: str) -> tuple[tuple[Choice, ...], str]:
        """The choices of a row and the right label; counts what is odd about them."""
        choices, target = lettered(row.get("choices"), row.get("answer"), where)
        self._faults["items_with_empty_choices"] += len(choices) < len(row["choices"])
        self._faults["items_with_equal_choices"] += len({c.text for c in choices}) < len(choices)
        return choices, target

    def clip(self, path: str) -> AudioRef:
        """A recording, from its published path such as `./audio/x.wav`."""
        return AudioRef(os.path.normpath(os.path.join(self.audio_root, path)))


@dataclass(kw_only=True)
class Mmau(StringMatched):
    """MMAU test-mini, or any file of its form; each item has a recording of its own."""

    def missing(self, audio: bool) -> list[str]:
        """The questions, and the recordings when the model hears."""
        return absent(self.dataset, self.audio_root if audio else None, _SOURCE)

    def samples(self) -> Iterator[Sample]:
        """Items in the order of the file; a bad row is an item with a fault."""
        self._faults.clear()
        return read_samples(self.dataset, self._sample)

    def _sample(self, index: int, where: str, row: dict[str, Any]) -> Sample:
        choices, target = self.choices(row, where)
        path = text_of(row, "audio_id", where)
        return Sample(
            text_of(row, "id", where),
            (self.clip(path),),
            text_of(row, "question", where),
            choices,
            target,
            path,
            {
                "task": plain(row.get("task")),
                "difficulty": plain(row.get("difficulty")),
                "category": plain(row.get("category")),
                "sub_category": plain(row.get("sub-category")),
                "source_dataset": plain(row.get("dataset")),
            },
        )
