"""What the nine tasks with options share: styles, classes, macro-F1, the published extraction."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

from lalm_bench.errors import ConfigError, DataError
from lalm_bench.randomness import derive
from lalm_bench.tasks.audiomarathon import duration
from lalm_bench.tasks.audiomarathon.style import LISTING, choose
from lalm_bench.tasks.bad_rows import bad_row
from lalm_bench.tasks.multiple_choice import MultipleChoice
from lalm_bench.types import (
    Generation,
    Json,
    Message,
    Metrics,
    Request,
    Sample,
    Text,
)

if TYPE_CHECKING:
    import pandas as pd

LEGACY = "legacy"
_OPTION = f"option[{LEGACY}]"
_AVERAGES = ("macro", "weighted")


@dataclass(kw_only=True)
class LongAudioChoice(MultipleChoice):
    """Base of the tasks with options; a subclass implements `questions`.

    Parameters
    ----------
    root : str
        Folder of this task's data.
    style : str
        Key of `styles`.
    styles : mapping
        Name -> settings of `style.Style`.
    classes : sequence of str
        All labels that can be right: the fixed label set of macro-F1.
    legacy_average : str
        `macro` or `weighted`: how the published script averages F1.
    legacy_classes : bool
        True: the published script passes `classes` to scikit-learn; False: it lets scikit-learn
        infer them, so a class that nobody names leaves the mean.
    balance : bool
        Thin out the larger classes to the size of the smallest, by `subset_seed`.
    published_items : int, optional
        How many items the benchmark says it has.
    """

    root: str
    prompt: str = ""
    style: str = "default"
    styles: dict[str, dict[str, Any]] = field(default_factory=dict)
    classes: Sequence[str] = ("A", "B", "C", "D")
    legacy_average: str = "macro"
    legacy_classes: bool = False
    balance: bool = False
    subset_seed: int = 42
    published_items: int | None = None

    def __post_init__(self) -> None:
        self._style = choose(self.style, self.styles)
        self.prompt = self._style.prompt
        self.classes = tuple(self.classes)
        if self.legacy_average not in _AVERAGES:
            raise ConfigError(f"task.legacy_average must be one of {', '.join(_AVERAGES)}")
        if self.options != "fixed" and "{options}" not in self.prompt:
            raise ConfigError(
                f"task.options={self.options}: the prompt of task.style={self.style} lists no "
                "options but says itself what each letter means; set task.options=fixed"
            )
        self._dropped: Counter[str] = Counter()
        super().__post_init__()

    @abstractmethod
    def questions(self) -> Iterable[Sample]:
        """All items as the files have them; a bad row is an item with a fault."""

    def samples(self) -> list[Sample]:
        """Items in the benchmark's own order, the larger classes thinned where `balance` is set."""
        self._dropped.clear()
        kept = [self._finish(sample) for sample in self.questions()]
        if self.balance:
            whole, kept = len(kept), balanced(kept, self.classes, self.subset_seed)
            self._dropped["to balance the classes"] = whole - len(kept)
        return kept

    def _finish(self, sample: Sample) -> Sample:
        if sample.fault is not None:
            return sample
        for choice in sample.choices:
            if choice.label not in self.classes:
                error = DataError(
                    f"item '{sample.id}': option {choice.label} is none of the task's classes "
                    f"{', '.join(self.classes)}; mend the table or task.classes"
                )
                return bad_row(sample.id, error)
        meta = {**sample.meta, **duration.facts(sample.audio[0])}
        return replace(sample, question=self._style.question or sample.question, meta=meta)

    def report(self) -> dict[str, Json]:
        """How many items were left out, and why."""
        return {"dropped": dict(self._dropped), "published_items": self.published_items}

    def requests(self, sample: Sample, generation: Generation) -> list[Request]:
        """The shared user turn, options listed and introduced as the style says.

        A protocol has words of its own, and no style.
        """
        requests = super().requests(sample, generation)
        return requests if self.protocol else [self._styled(request) for request in requests]

    def _styled(self, request: Request) -> Request:
        messages = request.messages
        if self._style.option != LISTING:
            plain, wanted = (
                "\n".join(
                    [
                        form.replace("{label}", c.label).replace("{text}", c.text)
                        for c in request.choices
                    ]
                )
                for form in (LISTING, self._style.option)
            )
            messages = tuple([_relisted(message, plain, wanted) for message in messages])
        if self._style.system:
            messages = (Message("system", (Text(self._style.system),)), *messages)
        return replace(request, messages=messages)

    def further_values(self, sample: Sample, text: str, label: str | None) -> dict[str, float]:
        """`option[legacy]`: place in `classes` of what the published rule reads, or NaN.

        The rule was written for one order of options, so it is left out under any other.
        """
        rule = self.compare_parsers.get(LEGACY)
        if rule is None or self.options != "fixed":
            return {}
        read = rule(text, sample.choices).label
        return {_OPTION: float("nan") if read is None else float(self.classes.index(read))}

    def metrics(self, decisions: pd.DataFrame) -> Metrics:
        """Shared metrics; macro-F1 over all items leads, the published valid-only value follows."""
        from lalm_bench.metrics.classification import confusion, macro_f1, summarise

        shared = super().metrics(decisions)
        if not len(decisions):
            return shared
        legacy = None
        if _OPTION in decisions:
            read = decisions[_OPTION]
            legacy = [None if i != i else self.classes[int(i)] for i in read]
        values, analysis = summarise(
            decisions,
            self.classes,
            legacy,
            average=self.legacy_average,
            fixed=self.legacy_classes,
        )
        for group in self.groups:
            by_value: dict[Any, Any] = (
                dict(tuple(decisions.groupby(group))) if group in decisions else {}
            )
            for row in cast(list[dict[str, Json]], shared.analysis.get(f"by_{group}", [])):
                part = by_value[row["value"]]
                counts = confusion(part["target"], part["label"], self.classes)
                row["macro_f1"] = float(macro_f1(counts))
        headline: tuple[str, ...] = ("macro_f1", "accuracy", "macro_f1_valid_only", "invalid_rate")
        if legacy is not None:
            headline += (f"f1[{LEGACY}]",)
        return Metrics(
            {**shared.values, **values},
            {**shared.analysis, **analysis},
            headline,
        )


def balanced(samples: Sequence[Sample], classes: Sequence[str], seed: int) -> list[Sample]:
    """The same number of items of each class, in the order given, and all items with a fault.

    Which items stay is a function of (seed, id): neither order nor file system has a say.

    Raises
    ------
    DataError
        A class has no item.
    """
    by_class: dict[str, list[Sample]] = {label: [] for label in classes}
    kept = {sample.id for sample in samples if sample.fault is not None}
    for sample in samples:
        if sample.fault is None:
            by_class[sample.target].append(sample)
    for label, members in by_class.items():
        if not members:
            raise DataError(
                f"no item has the answer {label}, so classes cannot be balanced; "
                "complete the data or set task.balance=false"
            )
    size = min(map(len, by_class.values()))
    for members in by_class.values():
        ranked = sorted(members, key=lambda s: (derive(seed, "balance", s.id), s.id))
        kept |= {sample.id for sample in ranked[:size]}
    return [sample for sample in samples if sample.id in kept]


def _relisted(message: Message, plain: str, wanted: str) -> Message:
    parts = tuple(
        [
            Text(wanted.join(part.text.rsplit(plain, 1))) if isinstance(part, Text) else part
            for part in message.parts
        ]
    )
    return Message(message.role, parts)
