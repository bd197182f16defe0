"""LibriSpeech-long: whole recordings of 90 to 300 s to be written down."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lalm_bench import prompts
from lalm_bench.errors import DataError
from lalm_bench.tasks.audiomarathon import duration, legacy
from lalm_bench.tasks.audiomarathon.style import choose
from lalm_bench.tasks.bad_rows import bad_row
from lalm_bench.types import (
    AudioRef,
    Generation,
    Json,
    Message,
    Metrics,
    Request,
    Response,
    Sample,
    Score,
    Text,
)

if TYPE_CHECKING:
    import pandas as pd

_SPOKEN = re.compile(r"^\W*(?:spoken content|transcription|transcript)\W*:\W*", re.I | re.M)


@dataclass(kw_only=True)
class LongTranscription:
    """Word error rate over long recordings.

    Layout: `<root>/<subset>/<speaker>/<chapter>/<utterance>.flac` with `<utterance>.txt` beside
    it, else a line of `<speaker>-<chapter>.trans.txt`. Recordings without a transcript are left
    out and counted.

    Parameters
    ----------
    name : str
    root : str
    subset : str
        Folder below `root`.
    style : str
        Key of `styles`.
    styles : mapping
        Name -> settings of `style.Style`.
    groups : sequence of str
        Keys of `Sample.meta`.
    """

    name: str
    root: str
    subset: str = "test-clean"
    style: str = "default"
    styles: dict[str, dict[str, Any]] = field(default_factory=dict)
    groups: tuple[str, ...] = ("duration",)
    max_new_tokens: int = 2048
    published_items: int | None = None
    references: Sequence[Mapping[str, Any]] = ()

    def __post_init__(self) -> None:
        self._style = choose(self.style, self.styles)
        self.groups = tuple(self.groups)
        self._silent: list[str] = []

    def missing(self, audio: bool) -> list[str]:
        """The folder of the subset."""
        folder = Path(self.root, self.subset)
        if folder.is_dir():
            return []
        return [
            f"{folder}: no such folder; run `python -m lalm_bench.data fetch audiomarathon DIR`, "
            "or set task.root"
        ]

    def inputs(self) -> list[Path]:
        """All transcripts."""
        return sorted(Path(self.root, self.subset).glob("*/*/*.txt"))

    def samples(self) -> list[Sample]:
        """Recordings by speaker, chapter and name.

        One whose transcript is empty or cannot be read is an item with a fault.

        Raises
        ------
        DataError
            No recording has a transcript.
        """
        found, self._silent = [], []
        for file in sorted(Path(self.root, self.subset).glob("*/*/*.flac")):
            try:
                text = _transcript(file)
            except DataError as error:
                found.append(bad_row(file.stem, error))
                continue
            if text is None:
                self._silent.append(file.stem)
                continue
            clip = AudioRef(str(file))
            speaker, chapter = file.parts[-3:-1]
            meta = {"speaker": speaker, "chapter": chapter, **duration.facts(clip)}
            found.append(Sample(file.stem, (clip,), "", (), text, speaker, meta))
        if not found:
            raise DataError(
                f"{Path(self.root, self.subset)}: no <speaker>/<chapter>/*.flac with a transcript; "
                "set task.root to the folder that holds it"
            )
        return found

    def report(self) -> dict[str, Json]:
        """Recordings that were left out because nobody wrote them down."""
        from lalm_bench.metrics.word_errors import NORMALISER

        return {
            "without_transcript": len(self._silent),
            "without_transcript_first": [*self._silent[:3]],
            "published_items": self.published_items,
            "normaliser": NORMALISER,
        }

    def requests(self, sample: Sample, generation: Generation) -> list[Request]:
        """The recording, then the instruction."""
        messages = [prompts.user_turn(sample, self._style.prompt)]
        if self._style.system:
            messages.insert(0, Message("system", (Text(self._style.system),)))
        return [
            Request(sample.id, tuple(messages), question=self._style.prompt, generation=generation)
        ]

    def score(self, sample: Sample, responses: Sequence[Response]) -> list[Score]:
        """Word errors of each answer; `label` is the transcript that was scored."""
        return [self._score(sample, response) for response in responses]

    def _score(self, sample: Sample, response: Response) -> Score:
        from lalm_bench.metrics.whisper_words import whisper_words
        from lalm_bench.metrics.word_errors import edits

        said, marked = transcript_in(response.text)
        found = edits(whisper_words(sample.target), whisper_words(said))
        values = {
            "errors": float(found.edits),
            "words": float(found.words),
            "substitutions": float(found.substitutions),
            "deletions": float(found.deletions),
            "insertions": float(found.insertions),
            "wer": found.edits / found.words if found.words else float(found.edits > 0),
            "wer[legacy]": legacy.word_error_rate(
                legacy.normalise(sample.target),
                legacy.normalise(legacy.clean_transcript(response.text)),
            ),
        }
        stage = "empty" if not said else "marked" if marked else "whole"
        return Score(
            sample.id,
            said or None,
            stage,
            values,
            invalid=not said,
            variant=response.variant,
        )

    def metrics(self, decisions: pd.DataFrame) -> Metrics:
        """Pooled word error rate with a bootstrap over speakers, and the published mean."""
        from lalm_bench.metrics.bootstrap import cluster_interval

        if not len(decisions):
            return Metrics({"n": 0, "wer": None}, {}, ("wer",))
        parts = decisions[["errors", "words"]].to_numpy(dtype=float)
        low, high = cluster_interval(
            parts, decisions["cluster"].to_numpy(), lambda s: s[:, 0] / s[:, 1]
        )
        words = parts[:, 1].sum()
        mean = float(decisions["wer[legacy]"].mean())
        values: dict[str, float | int | None] = {
            "n": len(decisions),
            "n_clusters": int(decisions["cluster"].nunique()),
            "wer": _rate(parts),
            "wer_low": low,
            "wer_high": high,
            **{
                f"{kind}_rate": float(decisions[kind].sum() / words) if words else None
                for kind in ("substitutions", "deletions", "insertions")
            },
            "words": int(words),
            "wer_mean[legacy]": mean,
            "word_accuracy[legacy]": 1 - mean,
            "invalid_rate": float(decisions["label"].isna().mean()),
        }
        analysis: dict[str, Json] = {}
        for group in self.groups:
            if group in decisions:
                analysis[f"by_{group}"] = [
                    {
                        "value": str(value),
                        "n": len(part),
                        "wer": _rate(part[["errors", "words"]].to_numpy(dtype=float)),
                        "wer_mean[legacy]": float(part["wer[legacy]"].mean()),
                        "invalid_rate": float(part["label"].isna().mean()),
                    }
                    for value, part in decisions.groupby(group, observed=True, sort=True)
                ]
        return Metrics(values, analysis, ("wer", "wer_mean[legacy]", "word_accuracy[legacy]"))


def transcript_in(text: str) -> tuple[str, bool]:
    r"""The transcript in an answer: what follows a line that announces it, else all of it.

    Examples
    --------
    >>> transcript_in("Sure!\nSpoken Content: it was the content: of a jar")
    ('it was the content: of a jar', True)
    >>> transcript_in("it was late")
    ('it was late', False)
    """
    found = _SPOKEN.search(text)
    return (text[found.end() :] if found else text).strip(), found is not None


def _transcript(file: Path) -> str | None:
    """Text beside the recording, else its line in the chapter's list; None without either."""
    own = file.with_suffix(".txt")
    if own.is_file():
        text = " ".join(_read(own).split())
    else:
        speaker, chapter = file.parts[-3:-1]
        listed = file.with_name(f"{speaker}-{chapter}.trans.txt")
        lines = dict(_lines(listed)) if listed.is_file() else {}
        if file.stem not in lines:
            return None
        own, text = listed, lines[file.stem]
    if not text:
        raise DataError(f"{own}: the transcript of {file.stem} is empty; complete or remove it")
    return text


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    for line in _read(path).splitlines():
        name, _, text = line.strip().partition(" ")
        if name:
            yield name, " ".join(text.split())


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 ({error.reason}); save the file as UTF-8") from error


def _rate(parts: Any) -> float | None:
    words = parts[:, 1].sum()
    return float(parts[:, 0].sum() / words) if words else None
