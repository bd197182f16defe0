"""Clotho: describe a clip in one sentence; five people's captions are the references.

Drossos, Lipping and Virtanen (2020), arXiv 1910.09387. Layout: `clotho_captions_<split>.csv`
(`file_name`, `caption_1` ... `caption_5`) beside a folder of recordings. Any table of this form
does, with any number of captions a clip.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lalm_bench import prompts
from lalm_bench.errors import ConfigError, DataError
from lalm_bench.tasks.bad_rows import bad_row, demand_whole
from lalm_bench.types import (
    AudioRef,
    Generation,
    Json,
    Metrics,
    Request,
    Response,
    Sample,
    Score,
)

if TYPE_CHECKING:
    import pandas as pd

    from lalm_bench.metrics.captions.cider import CiderD
    from lalm_bench.metrics.captions.summary import Scorer

_CAPTION = re.compile(r"caption_\d+")
_NO_FENSE = "weights not given: set task.fense.root=FOLDER"
_FETCH = "get Clotho from Zenodo (record 4783391, version 2.1)"


@dataclass(kw_only=True)
class Clotho:
    """Captions of one split.

    Parameters
    ----------
    annotations : str
        The table of references.
    audio_root : str
        Folder to which `file_name` is relative.
    prompt : str
        What the model is asked, as it is.
    groups : sequence of str
        Further columns of the table by which scores are broken down.
    sbert : mapping
        `root`: folder of a sentence encoder; its last name stands in `sbert_sim[<name>]`.
    fense : mapping
        `root`: folder of FENSE's weights, see `metrics.captions.fense`.
    """

    name: str
    annotations: str
    audio_root: str
    prompt: str
    root: str = ""
    split: str = "evaluation"
    groups: tuple[str, ...] = ()
    sbert: Mapping[str, str | None] = field(default_factory=dict)
    fense: Mapping[str, str | None] = field(default_factory=dict)
    references: Sequence[Mapping[str, Any]] = ()
    max_new_tokens: int = 64

    def __post_init__(self) -> None:
        self.groups = tuple(self.groups)
        self._cider: CiderD | None = None
        self._foreseen: dict[tuple[str, str], float] = {}
        if not self.prompt.strip():
            raise ConfigError("task.prompt is empty; say what the model is to do")

    def missing(self, audio: bool) -> list[str]:
        """The table, the recordings when the model hears, and weights whose folder was named."""
        from lalm_bench.metrics.captions import encoder, fense

        needed = []
        if not Path(self.annotations).is_file():
            needed.append(
                f"{self.annotations} is not there: {_FETCH} and set task.root to its folder, or "
                "set task.annotations=TABLE.csv"
            )
        if audio and not Path(self.audio_root).is_dir():
            needed.append(
                f"{self.audio_root}: no such audio folder; {_FETCH}, unpack it there, or set "
                "task.audio_root=FOLDER"
            )
        if (root := self.sbert.get("root")) and (reason := encoder.lacking(Path(root))):
            needed.append(f"task.sbert.root: {reason}")
        if root := self.fense.get("root"):
            needed += [f"task.fense.root: {reason}" for reason in fense.missing(Path(root))]
        return needed

    def inputs(self) -> list[Path]:
        """The table of references."""
        return [Path(self.annotations)]

    def report(self) -> dict[str, Json]:
        """Nothing is left out."""
        return {}

    def samples(self) -> list[Sample]:
        """Clips in the table's order, by file name; a bad row is an item with a fault."""
        from lalm_bench.metrics.captions.cider import CiderD
        from lalm_bench.metrics.captions.summary import words

        samples = []
        for where, row in read_table(Path(self.annotations)):
            try:
                samples.append(self._sample(where, row))
            except DataError as error:
                name = (row["file_name"] or "").strip() or f"line {where.rpartition(' ')[2]}"
                samples.append(bad_row(name, error))
        # Over the whole split, so that `limit` and failed items do not move the weights of n-grams.
        sound = [s.target for s in samples if s.fault is None]
        self._cider = CiderD([[words(c) for c in captions] for captions in sound])
        return samples

    def _sample(self, where: str, row: dict[str, str]) -> Sample:
        file = row["file_name"]
        demand_whole(row, f"{where} ({file})")
        if not file.strip():
            raise DataError(f"{where}: no file name; mend or drop the row")
        captions = tuple(
            [" ".join(row[name].split()) for name in sorted(row) if _CAPTION.fullmatch(name)]
        )
        captions = tuple([caption for caption in captions if caption])
        if not captions:
            raise DataError(f"{where} ({file}): no caption to compare with; mend or drop the row")
        for name in self.groups:
            if name not in row:
                raise DataError(f"{where} ({file}): no column {name!r}; mend task.groups")
        meta = {name: row[name] for name in self.groups}
        clip = AudioRef(str(Path(self.audio_root, file)))
        return Sample(file, (clip,), self.prompt, (), captions, file, meta)

    def requests(self, sample: Sample, generation: Generation) -> list[Request]:
        """One user turn: the clip, then the prompt."""
        messages = (prompts.user_turn(sample, sample.question),)
        return [Request(sample.id, messages, (), sample.question, generation)]

    def prepare(self, answered: Sequence[tuple[Sample, Sequence[Response]]]) -> None:
        """CIDEr-D of many answers at once."""
        from lalm_bench.metrics.captions.summary import words

        pairs = [(sample, response) for sample, given in answered for response in given]
        items = [(words(" ".join(r.text.split())), [words(c) for c in s.target]) for s, r in pairs]
        values = self._statistics().scores(items).tolist()
        self._foreseen = {
            (s.id, r.text): value for (s, r), value in zip(pairs, values, strict=True)
        }

    def score(self, sample: Sample, responses: Sequence[Response]) -> list[Score]:
        """CIDEr-D and ROUGE-L of the whole answer; one without a word is invalid and scores 0."""
        from lalm_bench.metrics.captions.overlap import rouge_l
        from lalm_bench.metrics.captions.summary import words

        theirs = [words(caption) for caption in sample.target]
        scores = []
        for response in responses:
            caption = " ".join(response.text.split())
            mine = words(caption)
            cider_d = self._foreseen.get((sample.id, response.text))
            if cider_d is None:
                cider_d = self._statistics().score(mine, theirs)
            values = {
                "cider_d": cider_d,
                "rouge_l": rouge_l(mine, theirs),
                "words": float(len(mine)),
            }
            label, stage = (caption, "whole") if mine else (None, "empty")
            scores.append(
                Score(sample.id, label, stage, values, not mine, variant=response.variant)
            )
        return scores

    def metrics(self, decisions: pd.DataFrame) -> Metrics:
        """Corpus values with intervals; null with a reason where weights were not given."""
        from lalm_bench.metrics.captions.summary import summarise

        return summarise(decisions, self._statistics(), self._scorers(), self.groups)

    def _statistics(self) -> CiderD:
        if self._cider is None:
            self.samples()
        assert self._cider is not None  # noqa: S101 - samples() sets it
        return self._cider

    def _scorers(self) -> dict[str, Scorer | str]:
        scorers: dict[str, Scorer | str] = {"fense": _NO_FENSE}
        if root := self.fense.get("root"):
            from lalm_bench.metrics.captions.fense import Fense

            scorers["fense"] = Fense(Path(root)).scores
        if root := self.sbert.get("root"):
            from lalm_bench.metrics.captions.encoder import SentenceEncoder

            scorers[f"sbert_sim[{Path(root).name}]"] = SentenceEncoder(Path(root)).similarity
        return scorers


def read_table(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Rows with the place each stands at; UTF-8 (with or without a mark) or Latin-1, `,` or `;`.

    Raises
    ------
    DataError
        No CSV, or no file name or caption column.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); mend the path") from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    header = text.split("\n", 1)[0]
    delimiter = ";" if header.count(";") > header.count(",") else ","
    try:
        rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        columns = [name.strip() for name in rows.fieldnames or ()]
        rows.fieldnames = columns
        if "file_name" not in columns or not any(_CAPTION.fullmatch(c) for c in columns):
            raise DataError(
                f"{path}: needs the columns file_name and caption_1, caption_2, ...; it has "
                f"{', '.join(columns) or 'none'}; the test split has no captions to compare with"
            )
        for row in rows:
            if any(row.values()):
                yield f"{path} line {rows.line_num}", row
    except csv.Error as error:
        raise DataError(f"{path}: not a table ({error}); save it as CSV again") from error
