"""What every multiple-choice benchmark shares: options in an order, a label, right or wrong.

A new benchmark subclasses `MultipleChoice`, implements `samples`, and names its groups.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from lalm_bench import prompts
from lalm_bench.parsing import Parsed, Parser
from lalm_bench.parsing.recovery import Recovery
from lalm_bench.protocols import CHAIN, Protocol
from lalm_bench.tasks import option_order
from lalm_bench.types import (
    Choice,
    Context,
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


@dataclass(kw_only=True)
class MultipleChoice:
    """Base of the multiple-choice tasks.

    Parameters
    ----------
    name : str
        Folder and MLflow name of the task.
    prompt : str
        Template with `{question}`, `{options}` or `{choices}`, and `{labels}`.
    parser : Parser
        Text -> label.
    compare_parsers : mapping of name to Parser
        Further rules (a seed's own) whose accuracy is reported beside the headline.
    groups : sequence of str
        Keys of `Sample.meta` by which accuracy is broken down.
    options : str
        Order of the options: `fixed`, `shuffled` (seeded per item) or `circular` (every rotation).
    options_seed : int
        Of the shuffle.
    protocol : Protocol, optional
        Asks in its own words, and reads answers with its own parser if it names one.
    recover : Recovery, optional
        Reads answers a second time.
    references : sequence of mapping
        Published numbers: value, number, model, source.
    """

    shown: ClassVar[tuple[str, ...]] = ()
    """Values that stand beside accuracy in the headline."""

    name: str
    prompt: str
    parser: Parser
    compare_parsers: dict[str, Parser] = field(default_factory=dict)
    groups: tuple[str, ...] = ()
    max_new_tokens: int = 16
    options: str = option_order.MODES[0]
    options_seed: int = 7
    protocol: Protocol | None = None
    recover: Recovery | None = None
    references: Sequence[Mapping[str, Any]] = ()

    def __post_init__(self) -> None:
        prompts.check(self.prompt, "task.prompt")
        option_order.check(self.options)
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
        """For each order of options the clips and the question, put as the protocol says."""
        asked = []
        for order in option_order.arrangements(self.options, sample, self.options_seed):
            shown = order.shown(sample.choices)
            text = prompts.render(self.prompt, sample.question, shown)
            messages = (prompts.user_turn(sample, text),)
            request = Request(
                sample.id, messages, shown, sample.question, generation, order.variant
            )
            asked.append(self.protocol.ask(sample, request) if self.protocol else request)
        return asked

    def follow(
        self, sample: Sample, request: Request, response: Response, context: Context
    ) -> Request | None:
        """The protocol's second turn."""
        return self.protocol.follow(sample, request, response) if self.protocol else None

    def score(self, sample: Sample, responses: Sequence[Response]) -> list[Score]:
        """Parse each answer; `values["correct"]` is 1.0 or 0.0.

        Labels are the item's own, whatever stood where. Where the order of options is changed,
        `position` (NaN when invalid) and `target_position` say which place was named and which was
        right, from 0. Of two options with one text, each is as right as the other.

        `facts` say what came before the final label: `reasoning` where a protocol asks for it, and
        with `recover` the first label, its stage, and the stage that took its place.
        """
        orders = option_order.arrangements(self.options, sample, self.options_seed)
        known = {order.variant: order for order in orders}
        return [
            self._score(sample, response, known.get(response.variant, orders[0]))
            for response in responses
        ]

    def further_values(self, sample: Sample, text: str, label: str | None) -> dict[str, float]:
        """More per-item values, the same names for every item; `label` is the item's own."""
        return {}

    @property
    def reading_values(self) -> tuple[str, ...]:
        """Names of the values that `protocol` and `recover` add to an answer."""
        second = _second_reading(None, None, "") if self.recover else ()
        missed = ("missed_reasoning",) if self.protocol and self.protocol.reasons else ()
        return (*second, *missed)

    def metrics(self, decisions: pd.DataFrame) -> Metrics:
        """Accuracy with intervals, chance, constant answers, breakdowns and confusion."""
        from lalm_bench.metrics import option_order as robustness
        from lalm_bench.metrics import reasoning
        from lalm_bench.metrics.multiple_choice import summarise

        metrics = summarise(decisions, self.groups)
        shown = dict.fromkeys(self.shown)
        if self.options != "fixed" and len(decisions):
            shown |= dict.fromkeys(robustness.add(metrics, decisions))
        if (self.protocol or self.recover) and len(decisions):
            shown |= dict.fromkeys(reasoning.add(metrics, decisions))
        return replace(metrics, headline=("accuracy", *shown)) if shown else metrics

    def _score(self, sample: Sample, response: Response, order: option_order.Arrangement) -> Score:
        shown = order.shown(sample.choices)
        own = self.protocol.parser if self.protocol else None
        first = parsed = _parse(own or self.parser, response.text, shown)
        # What options were compared to find is no text to read again.
        again = self.recover if response.scores is None else None
        if again and (found := again(first, response.text, shown)):
            parsed = found
        label = _own_label(sample, parsed.label, order)
        values = {"correct": float(label == sample.target)}
        facts: dict[str, Json] = {}
        if self.recover:
            before = _own_label(sample, first.label, order)
            values |= _second_reading(before, label, sample.target)
            facts |= {
                "first_label": before,
                "first_stage": first.stage,
                "recovered_by": None if parsed is first or label is None else parsed.stage,
            }
        if self.protocol and self.protocol.reasons:
            chain = _reasoning(self.protocol, response)
            facts["reasoning"] = chain
            values["missed_reasoning"] = float("nan") if chain is None else float(not chain)
        for name, parser in self.compare_parsers.items():
            other = _own_label(sample, _parse(parser, response.text, shown).label, order)
            values[f"correct[{name}]"] = float(other == sample.target)
        values |= self.further_values(sample, response.text, label)
        if self.options != "fixed":
            labels = [choice.label for choice in sample.choices]
            named = parsed.label
            values["position"] = float("nan") if named is None else float(labels.index(named))
            values["target_position"] = float(order.order.index(labels.index(sample.target)))
        return Score(
            sample.id,
            label,
            parsed.stage,
            values,
            invalid=label is None,
            conflict=parsed.conflict,
            variant=response.variant,
            facts=facts,
        )


def _second_reading(before: str | None, after: str | None, target: str) -> dict[str, float]:
    return {
        "correct[first pass]": float(before == target),
        "recovered": float(before is None and after is not None),
        "changed": float(None not in (before, after) and before != after),
        "lost": float(before is not None and after is None),
    }


def _reasoning(protocol: Protocol, response: Response) -> str | None:
    """The reasoning behind an answer; None where it was given and not the model's to write."""
    earlier = response.earlier or {}
    if CHAIN in earlier:
        return protocol.split(earlier[CHAIN])[0]
    return None if protocol.conclude else protocol.split(response.text)[0]


def _parse(parser: Parser, text: str, shown: Sequence[Choice]) -> Parsed:
    parsed = parser(text, shown)
    if parsed.label is None:
        unique = {choice.text: choice for choice in reversed(shown)}
        if len(unique) < len(shown):  # an option's text cannot tell two equal options apart
            return parser(text, [c for c in shown if unique[c.text] is c])
    return parsed


def _own_label(sample: Sample, label: str | None, order: option_order.Arrangement) -> str | None:
    """The item's label of the option that stood where `label` was shown."""
    if label is None:
        return None
    choices = sample.choices
    place = next(p for p, choice in enumerate(choices) if choice.label == label)
    text = choices[order.order[place]].text
    # The target stands for all options with its text; else the first one does.
    same = [choice.label for choice in choices if choice.text == text]
    return sample.target if sample.target in same else same[0]
