"""Everything a reader may want to see of one decision, in chunks that the page loads on demand."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from lalm_bench import runs
from lalm_bench.errors import DataError
from lalm_bench.report import attention, marks
from lalm_bench.report.attention import Captured
from lalm_bench.report.columns import Before, Columns
from lalm_bench.report.listening import Studio
from lalm_bench.report.marks import Annotations
from lalm_bench.report.rebuilt import Asked, Rebuilt
from lalm_bench.report.verdicts import Verdicts
from lalm_bench.types import AudioRef, AudioSource

CHUNK = 500
_OWN = frozenset(
    {
        *("id", "variant", "cluster", "question", "options", "audio", "target", "target_text"),
        *("label", "label_text", "stage", "invalid", "conflict", "n_options", "text", "finish"),
        *("steps", "scores", "reasoning"),
    }
)
_SHOWN = ("cluster", "question", "options", "target", "target_text", "label", "label_text", "stage")
_WHERE_THERE = ("conflict", "text", "finish", "steps", "scores", "reasoning")

Key = tuple[str, str]


@dataclass(frozen=True)
class Reader:
    """All there is about the rows of one run.

    Parameters
    ----------
    columns : Columns
        Its rows.
    verdicts : Verdicts
    captured : Captured
        Attention.
    rebuilt : Rebuilt
        Its requests.
    annotations : Annotations
    before : mapping of (id, variant) to Before, or None
        Its baseline's decisions.
    chosen : collection of int
        Rows whose clips are rendered.
    studio : Studio
    """

    columns: Columns
    verdicts: Verdicts
    captured: Captured
    rebuilt: Rebuilt
    annotations: Annotations
    before: Mapping[Key, Before] | None
    chosen: Collection[int]
    studio: Studio

    def chunks(self) -> Iterator[list[dict[str, Any]]]:
        """`CHUNK` records at a time, in the order of the columns."""
        records = self._records()
        while some := [*islice(records, CHUNK)]:
            yield some

    def _records(self) -> Iterator[dict[str, Any]]:
        folder = self.columns.run.folder
        answered, failed = answers(folder)
        place = -1
        known: tuple[str, Mapping[str, Asked]] = ("", {})
        for place, row in enumerate(runs.decisions(folder)):
            name, variant = key = self.columns.keys[place]
            if known[0] != name:  # the variants of an item follow each other
                known = (name, self.rebuilt.asked(name, row.get("question")))
            record = _decided(row)
            if (answer := answered.get(key)) is not None:
                record |= answer
            if self.before is not None and (earlier := self.before.get(key)) is not None:
                record["before"] = _earlier(earlier, row)
            if said := self.verdicts.said.get(key):
                record["judges"] = said
            attended = self.studio.attention(self.columns.run.fingerprint, self.captured, key)
            if attended is not None:
                record["attention"] = attended
            if (asked := known[1].get(variant)) is not None:
                record["prompt"] = asked.prompt
                record["clips"] = self._clips(asked, row.get("text"), place in self.chosen)
                if attended is not None:
                    _over(record["clips"], attended)
            elif clips := self._recordings(row):
                record["clips"] = clips
            yield record
        for name, _ in self.columns.keys[place + 1 :]:
            reason = failed.get(name) or self.columns.errors.get(name) or "no answer"
            yield {"error": reason, "cluster": ""}

    def _clips(self, asked: Asked, text: str | None, chosen: bool) -> list[dict[str, Any]]:
        """The clips of a request: what can be played, and what lies where in them."""
        found = []
        spans = marks.spans(asked.sample, text) if len(asked.sources) == 1 else []
        for number, source in enumerate(asked.sources):
            original = asked.original(number)
            clip: dict[str, Any] = {"file": self.studio.original(original)}
            events = self.annotations.events(asked.sample, original.clip)
            if events or spans:
                clip["events"] = [*events, *spans]
            if chosen:
                clip |= self.studio.heard(source, original, self.rebuilt.rate) or {}
            if source.edits:
                clip["edits"] = [_word(edit) for edit in source.edits]
            elif source != original:
                clip["edits"] = ["another clip"]
            if not asked.heard:
                clip["unheard"] = True
            found.append(clip)
        return found

    def _recordings(self, row: Mapping[str, Any]) -> list[dict[str, Any]]:
        """What the decision itself says of its clips: whole recordings, as far as they are here."""
        files = [
            self.studio.original(AudioSource(AudioRef(str(name))))
            for name in row.get("audio") or ()
        ]
        return [{"file": {**file, "whole": True}} for file in files if "src" in file]


def answers(folder: Path) -> tuple[dict[Key, dict[str, Any]], dict[str, str]]:
    """Usage and seconds of each answer by (id, variant), and why items got none, by id.

    Requests that are equal share one answer, which is noted under the first of them.
    """
    found: dict[Key, dict[str, Any]] = {}
    failed: dict[str, str] = {}
    path = folder / "responses.jsonl"
    if not path.is_file():
        return found, failed
    with open(path, "rb") as file:
        for line in file:
            try:
                row = orjson.loads(line)
            except orjson.JSONDecodeError as error:
                if not line.endswith(b"\n"):  # a kill in the middle of a write
                    break
                raise DataError(f"{path}: not JSON ({error}); run its command again") from error
            if row["finish"] == "error":
                failed[str(row["sample_id"])] = str(row.get("error") or "error")
                continue
            kept = {name: row[name] for name in ("usage", "timing") if row.get(name)}
            if kept:
                found[str(row["sample_id"]), str(row.get("variant") or "")] = kept
    return found, failed


def _decided(row: Mapping[str, Any]) -> dict[str, Any]:
    record = {name: row[name] for name in _SHOWN if row.get(name) is not None}
    record |= {name: row[name] for name in _WHERE_THERE if row.get(name)}
    if facts := {name: value for name, value in row.items() if name not in _OWN}:
        record["facts"] = facts
    return record


def _earlier(earlier: Before, row: Mapping[str, Any]) -> dict[str, Any]:
    """The baseline's decision; its words only where they are others."""
    found: dict[str, Any] = {"label": earlier.label, "right": earlier.right}
    if earlier.text != (row.get("text") or ""):
        found["text"] = earlier.text
    return found


def _over(clips: list[dict[str, Any]], attended: Mapping[str, Any]) -> None:
    """Put the attention over each clip that is shown as it was heard."""
    for number, clip in enumerate(clips):
        if "heard" in clip:
            picture = attention.fits(attended, number, clip["heard"]["seconds"])
            if picture is not None:
                clip["attention"] = picture


def _word(edit: object) -> str:
    """`mask` of a `MaskEdit`."""
    return type(edit).__name__.removesuffix("Edit").lower()
