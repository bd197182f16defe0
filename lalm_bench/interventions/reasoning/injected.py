"""Reasoning that leads to the right or to a wrong answer, whatever the model itself would think."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from lalm_bench.errors import ConfigError
from lalm_bench.interventions.reasoning.base import given_back
from lalm_bench.interventions.reasoning.cache import Cache, Entry, read
from lalm_bench.interventions.reasoning.steps import Step, Writer, fill
from lalm_bench.randomness import derive
from lalm_bench.types import Choice, Context, Request, Response, Sample, Skip

ANSWERS = ("right", "wrong")
SOURCES = ("templates", "model")
STEP = "rationale"


@dataclass(frozen=True, kw_only=True)
class InjectedReasoning:
    """Reasoning intervention `injected_reasoning`; it needs a protocol and no baseline.

    Parameters
    ----------
    answer : str
        right, or wrong: one of the other options, drawn by the run's seed and the item.
    source : str
        templates, or model: the model that is asked writes the reasoning first.
    templates : sequence of str
        Texts with `{answer}`, the option's text; `{label}`, `{question}` and `{choices}` may
        stand there too. Drawn by item, the same for a right and a wrong answer.
    writer : Writer
        How the model is asked to write it; its prompt has `{answer}`, and may have `{label}`.
    file : str, optional
        JSONL with `id`, `label` (the option that it leads to) and `reasoning`, instead of a source.
    name : str
    """

    gives_reasoning: ClassVar[bool] = True

    answer: str
    source: str
    templates: Sequence[str]
    writer: Writer
    file: str | None = None
    name: str = "injected_reasoning"

    def __post_init__(self) -> None:
        for key, value, known in (
            ("answer", self.answer, ANSWERS),
            ("source", self.source, SOURCES),
        ):
            if value not in known:
                raise ConfigError(f"intervention.{key}={value!r} must be one of {', '.join(known)}")
        if not self.templates or any("{answer}" not in text for text in self.templates):
            raise ConfigError("intervention.templates must be texts with {answer}")
        self.writer.demand("answer")

    @cached_property
    def cache(self) -> Cache | None:
        """The file's content, read once when it is first needed."""
        return None if self.file is None else read(self.file, "label", None, "reasoning")

    def inputs(self) -> list[Path]:
        """The file."""
        return [] if self.file is None else [Path(self.file)]

    def apply(self, sample: Sample, request: Request, context: Context) -> Request | Skip:
        """The final answer asked with the reasoning given, or the step that writes it."""
        wanted = self._wanted(sample)
        if not wanted:
            return Skip(f"no {self.answer} option to argue for")
        read = self._read(sample, request.variant)
        if read is not None:
            wanted = [choice for choice in wanted if choice.label in read]
            if not wanted:
                return Skip("no reasoning for such an answer in intervention.file")
        option = wanted[derive(context.seed, sample.id, "injected answer") % len(wanted)]
        if read is not None:
            chain = read[option.label].changed.strip()
            return given_back(self.name, chain, sample, request, context)
        # Options may be shown in another order, and so under other labels.
        shown = next((c for c in request.choices if c.text == option.text), option)
        values = {"answer": option.text, "label": shown.label}
        if self.source == "model":
            return self.writer.step(STEP, request, values)
        drawn = derive(context.seed, sample.id, "template") % len(self.templates)
        chain = fill(self.templates[drawn], request, values).strip()
        return given_back(self.name, chain, sample, request, context)

    def follow(
        self, sample: Sample, request: Request, response: Response, context: Context
    ) -> Request | Skip | None:
        """The final answer, asked after what the model wrote."""
        if not isinstance(request, Step):
            return None
        chain = response.text.strip()
        if not chain:
            return Skip("the model wrote no reasoning")
        return given_back(self.name, chain, sample, request.origin, context)

    def _wanted(self, sample: Sample) -> list[Choice]:
        """Options that the reasoning may lead to; one with the right one's text is not wrong."""
        right = [c for c in sample.choices if c.label == sample.target]
        if self.answer == "right":
            return right
        texts = {choice.text for choice in right}
        return [choice for choice in sample.choices if choice.text not in texts]

    def _read(self, sample: Sample, variant: str) -> Mapping[int | str, Entry] | None:
        """The file's rationales for an item, by label; None without a file."""
        if self.cache is None:
            return None
        read = self.cache.of(sample.id, variant)
        labels = [choice.label for choice in sample.choices]
        for label, entry in read.items():
            if label not in labels:
                why = f"label {label!r} is none of {', '.join(labels)}; mend the row"
                raise self.cache.refused(entry, sample.id, why)
        return read
