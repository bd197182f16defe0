"""MMAR: deep reasoning over speech, sound, music and their mixes.

Ma et al. (2025), arXiv 2505.13032. Layout: `MMAR-meta.jsonl`, and the recordings below `audio/`
beside it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lalm_bench.errors import ConfigError
from lalm_bench.tasks.mmau import StringMatched
from lalm_bench.tasks.published_items import absent, plain, read_samples, text_of
from lalm_bench.types import Sample

IDS = ("name", "index")
_SPAN = re.compile(r"(?:_\d+(?:-\d\d)+){2}.*$")
_SOURCE = "fetch BoJack/MMAR from the Hugging Face hub"


@dataclass(kw_only=True)
class Mmar(StringMatched):
    """MMAR, or any file of its form; clips cut from one video form a cluster.

    Parameters
    ----------
    ids : str
        `name`: the file's ids. `index`: `mmar_<n>`, n being the place in the file from 0, as in
        the result files of the audio faithfulness study.
    """

    ids: str = IDS[0]

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.ids not in IDS:
            raise ConfigError(f"task.ids={self.ids} must be one of {', '.join(IDS)}")

    def missing(self, audio: bool) -> list[str]:
        """The questions, and the recordings when the model hears."""
        return absent(self.dataset, self.audio_root if audio else None, _SOURCE)

    def samples(self) -> Iterator[Sample]:
        """Items in the order of the file; a bad row is an item with a fault."""
        self._faults.clear()
        return read_samples(self.dataset, self._sample)

    def _sample(self, index: int, where: str, row: dict[str, Any]) -> Sample:
        choices, target = self.choices(row, where)
        path = text_of(row, "audio_path", where)
        return Sample(
            f"mmar_{index}" if self.ids == "index" else text_of(row, "id", where),
            (self.clip(path),),
            text_of(row, "question", where),
            choices,
            target,
            # `VIDEO_00-01-32_00-02-02`: short and long addresses of one video differ, this not.
            _SPAN.sub("", Path(path).stem),
            {
                "modality": plain(row.get("modality")),
                "category": plain(row.get("category")),
                "sub_category": plain(row.get("sub-category")),
                "language": plain(row.get("language")),
                # What the rubric's judge is told.
                **{name: row[name] for name in ("thinking", "rubric") if row.get(name)},
            },
        )
