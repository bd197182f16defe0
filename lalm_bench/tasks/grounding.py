"""Temporal grounding: a recording and a caption, asked for onset and offset in seconds.

No published protocol exists for this task on strong captions; prompt and rules are ours. A caption
that stands several times in a recording has several true spans. Captions with a near duplicate in
their recording are left out, since the model cannot know which one is meant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lalm_bench import audio, prompts
from lalm_bench.errors import AudioError, DataError
from lalm_bench.metrics.grounding import item_values, set_iou, summarise
from lalm_bench.parsing.spans import Span, parse_spans
from lalm_bench.tasks.checks import demand_numbers
from lalm_bench.tasks.order.build import find_twins
from lalm_bench.tasks.order.timeline import Event, timelines
from lalm_bench.tasks.strong_captions import Source, account, whole_recordings
from lalm_bench.types import (
    AudioSource,
    Clip,
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

QUESTION = 'When is this event heard in the audio: "{event}"?'


@dataclass(kw_only=True)
class Grounding:
    """One item for each caption of each recording.

    Parameters
    ----------
    name : str
        Folder and MLflow name of the task.
    prompt : str
        Template with `{question}`.
    source : Source
        Recordings and their annotations.
    min_duration : float
        Seconds; shorter regions are left out.
    max_spans : int, optional
        Captions with more regions in a recording are left out.
    near_duplicate_ratio : float, optional
        Captions with a greater difflib ratio in one recording are left out.
    groups : sequence of str
        Of `n_regions` and `length` (of the true spans: 0-1 s, 1-5 s, over 5 s).
    references : sequence of mapping
        Published numbers: value, number, model, source.
    """

    name: str
    prompt: str
    source: Source
    min_duration: float = 0.5
    max_spans: int | None = None
    near_duplicate_ratio: float | None = 0.85
    groups: tuple[str, ...] = ()
    max_new_tokens: int = 64
    references: Sequence[Mapping[str, Any]] = ()

    def __post_init__(self) -> None:
        prompts.check(self.prompt, "task.prompt")
        demand_numbers(
            self,
            min_duration=(float, 0, None),
            max_spans=(int, 1, None),
            near_duplicate_ratio=(float, 0, 1),
            optional=("max_spans", "near_duplicate_ratio"),
        )
        self.groups = tuple(self.groups)
        self._report: dict[str, Json] = {}

    def missing(self, audio: bool) -> list[str]:
        """What the source lacks."""
        return self.source.missing(audio)

    def inputs(self) -> list[Path]:
        """Files of the source."""
        return self.source.inputs()

    def samples(self) -> list[Sample]:
        """Captions by recording and onset, then bad rows; DataError when there is none."""
        rows, bad = whole_recordings(self.source)
        files, counts = timelines(rows, self.min_duration, min_events=1)
        items = []
        for name, events in files.items():
            twins = find_twins(events, self.near_duplicate_ratio)
            clip = self.source.clip(name)
            for event in events:
                if twins.get(event.index):
                    counts["near_duplicate"] += 1
                elif self.max_spans is not None and event.occurrences > self.max_spans:
                    counts["max_spans"] += 1
                else:
                    items.append(_sample(name, event, clip))
        counts["questions"] = len(items)
        self._report = dict(counts)
        if not items and not (bad and not rows):
            raise DataError(f"{self.source}: 0 questions ({account(counts)}); loosen the filters")
        return [*items, *bad]

    def report(self) -> dict[str, Json]:
        """What every filter dropped."""
        return self._report

    def requests(self, sample: Sample, generation: Generation) -> list[Request]:
        """One user turn: the clip, then the question."""
        text = prompts.render(self.prompt, sample.question, ())
        messages = (prompts.user_turn(sample, text),)
        return [Request(sample.id, messages, (), sample.question, generation)]

    def score(self, sample: Sample, responses: Sequence[Response]) -> list[Score]:
        """Spans of each answer against the true ones; without a span it is invalid."""
        scores = []
        for response in responses:
            parsed = parse_spans(response.text)
            values = item_values(parsed.spans, sample.target)
            values["whole_clip_iou"] = _whole(sample.target, sample.meta["clip_s"])
            label = "; ".join([f"{a:g}-{b:g}" for a, b in parsed.spans]) or None
            scores.append(
                Score(
                    sample.id,
                    label,
                    parsed.stage,
                    values,
                    invalid=label is None,
                    variant=response.variant,
                )
            )
        return scores

    def metrics(self, decisions: pd.DataFrame) -> Metrics:
        """IoU, recall at its thresholds, errors of onset and offset, collar F1, invalid rate."""
        return summarise(decisions, self.groups)


def _sample(name: str, event: Event, clip: Clip) -> Sample:
    covered = sum([b - a for a, b in event.spans])
    meta = {
        "task_id": "GROUNDING",
        "n_regions": event.occurrences,
        "length": "0-1 s" if covered <= 1 else "1-5 s" if covered <= 5 else "over 5 s",
        "clip_s": _seconds(clip),
    }
    question = QUESTION.format(event=event.text)
    return Sample(f"{name}__{event.index}", (clip,), question, (), event.spans, name, meta)


def _whole(true: Sequence[Span], clip_s: float | None) -> float:
    """IoU of the answer "from 0 to the end"; NaN where the length is unknown."""
    return float("nan") if clip_s is None else set_iou([(0.0, clip_s)], true)


def _seconds(clip: Clip) -> float | None:
    """Length of the clip; None where the recording is not on this machine or cannot be read."""
    try:
        return audio.seconds(AudioSource(clip))
    except AudioError:  # the run itself names the items of a bad recording
        return None
