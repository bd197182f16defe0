"""What every multiple-choice benchmark shares: one request an item, a label, right or wrong.

A new benchmark subclasses `MultipleChoice`, implements `samples`, and names its groups.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from lalm_bench import prompts
from lalm_bench.parsing import Parser
from lalm_bench.types import (
    Audio,
    AudioSource,
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


@dataclass(kw_only=True)
class MultipleChoice:
    """Base of the multiple-choice tasks.

    Parameters
    ----------
    name : str
        Folder and MLflow name of the task.
    prompt : str
        Template with `{question}`, `{options}` and `{labels}`.
    parser : Parser
        Text -> label.
    compare_parsers : mapping of name to Parser
        Further rules (a seed's own) whose accuracy is reported beside the headline.
    groups : sequence of str
        Keys of `Sample.meta` by which accuracy is broken down.
    """

    name: str
    prompt: str
    parser: Parser
    compare_parsers: dict[str, Parser] = field(default_factory=dict)
    groups: tuple[str, ...] = ()
    max_new_tokens: int = 16

    def __post_init__(self) -> None:
        prompts.check(self.prompt, "task.prompt")
        self.groups = tuple(self.groups)

    def missing(self, audio: bool) -> list[str]:
        """Nothing to fetch unless a subclass says so."""
        return []

    def inputs(self) -> list[Path]:
        """No annotation files unless a subclass says so."""
        return []

    def samples(self) -> Iterable[Sample]:
        """Items in the benchmark's own order."""
        raise TypeError(f"{type(self).__name__} must define samples()")

    def report(self) -> dict[str, Json]:
        """Nothing to tell unless a subclass filters."""
        return {}

    def requests(self, sample: Sample, generation: Generation) -> list[Request]:
        """One user turn: the clips, then the rendered question."""
        text = prompts.render(self.prompt, sample.question, sample.choices)
        heard = tuple([Audio(AudioSource(clip)) for clip in sample.audio])
        messages = (Message("user", (*heard, Text(text))),)
        return [Request(sample.id, messages, sample.choices, sample.question, generation)]

    def score(self, sample: Sample, responses: Sequence[Response]) -> list[Score]:
        """Parse each answer; `values["correct"]` is 1.0 or 0.0."""
        scores = []
        for response in responses:
            parsed = self.parser(response.text, sample.choices)
            values = {"correct": float(parsed.label == sample.target)}
            for name, parser in self.compare_parsers.items():
                other = parser(response.text, sample.choices)
                values[f"correct[{name}]"] = float(other.label == sample.target)
            scores.append(
                Score(
                    sample.id,
                    parsed.label,
                    parsed.stage,
                    values,
                    invalid=parsed.label is None,
                    conflict=parsed.conflict,
                    variant=response.variant,
                )
            )
        return scores

    def metrics(self, decisions: pd.DataFrame) -> Metrics:
        """Accuracy with intervals, chance, constant answers, breakdowns and confusion."""
        from lalm_bench.metrics.multiple_choice import summarise

        return summarise(decisions, self.groups)
