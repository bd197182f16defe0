"""Everything that can be known to be wrong before a model is loaded or a file written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from lalm_bench import audio, stopping
from lalm_bench.build import STOP, Experiment
from lalm_bench.errors import AudioError, ConfigError, DataError, StoreError
from lalm_bench.identity import Sealer
from lalm_bench.randomness import derive
from lalm_bench.types import (
    ANSWER,
    AudioRef,
    Context,
    Follows,
    Generation,
    Intervention,
    Json,
    Request,
    Response,
    Sample,
    Skip,
    Task,
)

# Key -> the stored answer, or None.
Answered = Callable[[str], Response | None]


def demand_present(experiment: Experiment) -> None:
    """DataError that lists, in one line, all that must be fetched first.

    Raises
    ------
    ConfigError
        The model cannot answer in the mode asked for.
    """
    model, mode = experiment.model, experiment.generation.mode
    if mode not in model.modes:
        raise ConfigError(
            f"generation.mode={mode}: model {model.name} answers with {', '.join(model.modes)}"
        )
    if hasattr(experiment.intervention, "check"):
        experiment.intervention.check(experiment.config)
    if hasattr(experiment.pruning, "check"):
        experiment.pruning.check(experiment.model)
    hears = model.rate is not None
    wanted = [*experiment.task.missing(hears), *experiment.model.missing()]
    if wanted:
        raise DataError("; ".join(wanted))


def select(samples: Iterable[Sample], limit: int | None, seed: int) -> list[Sample]:
    """Check ids and draw `limit` items: the smallest hashes of (seed, id), in the task's order.

    Larger limits contain smaller ones, and the head of an alphabetical file is not favoured. An
    item whose target is no option gets a fault.

    Raises
    ------
    DataError
        No item at all, or two items with one id.
    """
    chosen = list(samples)
    seen: set[str] = set()
    for place, sample in enumerate(chosen):
        if sample.id in seen:
            raise DataError(
                f"two items are called '{sample.id}'; ids must be unique, mend the dataset"
            )
        seen.add(sample.id)
        if sample.choices and all(c.label != sample.target for c in sample.choices):
            fault = f"the answer {sample.target!r} is none of its options; mend or drop the item"
            chosen[place] = replace(sample, fault=f"item '{sample.id}': {fault}")
    if not chosen:
        raise DataError("the task has no items; check its files and filters (--cfg job)")
    if limit is None or limit >= len(chosen):
        return chosen
    ranks = sorted(range(len(chosen)), key=lambda i: derive(seed, "select", chosen[i].id))
    return [chosen[i] for i in sorted(ranks[:limit])]


@dataclass
class Plan:
    """The requests of a run, made anew at each iteration so that only keys stay in memory.

    `asked` holds, for each sample, the (key, variant) of each of its requests, where one request
    follows another the last of them; `unasked` says why an item cannot be asked at all. `steps`
    holds the (step, key) of answered steps by (item, variant), and `open` those (item, variant)
    whose last request is a step too. `selection` counts what is asked. `whole` is
    False where `samples` are a part of the run's.
    """

    samples: list[Sample]
    task: Task
    intervention: Intervention
    generation: Generation
    sealer: Sealer
    context: Context
    hears: bool
    on_error: str = STOP
    whole: bool = True
    asked: list[tuple[tuple[str, str], ...]] = field(default_factory=list)
    unasked: dict[str, str] = field(default_factory=dict)
    skipped: Counter[str] = field(default_factory=Counter)
    files: set[str] = field(default_factory=set)
    selection: dict[str, Json] = field(default_factory=dict)
    steps: dict[tuple[str, str], tuple[tuple[str, str], ...]] = field(default_factory=dict)
    open: set[tuple[str, str]] = field(default_factory=set)

    def __post_init__(self) -> None:
        # A bad row has no clip that an intervention could lend to another item.
        sound = [sample for sample in self.context.samples if sample.fault is None]
        protocol = getattr(self.task, "protocol", None)
        self.context = replace(self.context, samples=sound, protocol=protocol)

    def check(self) -> None:
        """Make every request once: note keys, skips and files.

        Raises
        ------
        DataError
            A row is bad or a clip cannot be read, and `on_error` is stop or no item is left; names
            the item.
        Stopped
            It was requested.
        """
        for sample in self.samples:
            stopping.check()
            asked: tuple[tuple[str, str], ...] = ()
            reason = sample.fault
            if reason is None:
                try:
                    asked = tuple(self._asked(sample))
                except AudioError as error:
                    reason = f"item '{sample.id}': {error}"
            if reason is not None:
                if self.on_error == STOP:
                    raise DataError(reason)
                self.unasked[sample.id] = reason
            self.asked.append(asked)
        if self.whole and self.unasked and len(self.unasked) == len(self.samples):
            raise DataError(f"no item can be asked; {next(iter(self.unasked.values()))}")
        self.selection = {
            "items": len(self.samples),
            "requests": sum(map(len, self.asked)),
            "distinct_requests": len(self.distinct()),
            "skipped": dict(self.skipped),
        }

    def _asked(self, sample: Sample) -> Iterator[tuple[str, str]]:
        for request in self._edited(sample):
            if isinstance(request, Skip):
                self.skipped[request.reason] += 1
                continue
            if self.hears:
                self._check_audio(request)
            if request.step != ANSWER:
                self.open.add((sample.id, request.variant))
            yield self.sealer.seal(request).key, request.variant

    def advance(self, answer: Answered) -> bool:
        """Follow every step that was answered; True when that leaves something to ask.

        A step that ended in an error stays open, and its item unanswered.
        """
        if not self.open:
            return False
        moved = False
        for place, sample in enumerate(self.samples):
            if any((sample.id, variant) in self.open for _, variant in self.asked[place]):
                before = self.asked[place]
                self.asked[place] = tuple(self._advanced(sample, before, answer))
                moved = moved or self.asked[place] != before
        return moved

    def _advanced(
        self, sample: Sample, asked: tuple[tuple[str, str], ...], answer: Answered
    ) -> Iterator[tuple[str, str]]:
        standing = list(self._standing(sample, answer))
        for (key, variant), request in zip(asked, standing, strict=True):
            name = (sample.id, variant)
            response = answer(key) if name in self.open else None
            if response is None:
                yield key, variant
                continue
            self.steps[name] = (*self.steps.get(name, ()), (request.step, key))
            following = self._follow(sample, request, response)
            if isinstance(following, Skip):
                self.skipped[following.reason] += 1
                self.open.remove(name)
                continue
            if following.step == ANSWER:
                self.open.remove(name)
            yield self.sealer.seal(following).key, variant

    def distinct(self) -> set[str]:
        """Keys of all requests; equal requests share one."""
        return {key for asked in self.asked for key, _ in asked}

    def keys(self) -> Iterator[str]:
        """Keys of all requests, those of earlier steps first; equal ones repeatedly."""
        for steps in self.steps.values():
            for _, key in steps:
                yield key
        for asked in self.asked:
            for key, _ in asked:
                yield key

    def requests(self, answer: Answered = lambda key: None) -> Iterator[tuple[Sample, Request]]:
        """Sealed requests in the task's order: the last of each item and variant.

        `answer` gives the stored answers of earlier steps.
        """
        for sample in self.samples:
            if sample.id not in self.unasked:
                for request in self._standing(sample, answer):
                    yield sample, self.sealer.seal(request)

    def _standing(self, sample: Sample, answer: Answered) -> Iterator[Request]:
        for request in self._edited(sample):
            if isinstance(request, Skip):
                continue
            for _, key in self.steps.get((sample.id, request.variant), ()):
                if (response := answer(key)) is None:
                    raise StoreError(f"item '{sample.id}': the answer to an earlier step is gone")
                following = self._follow(sample, request, response)
                if isinstance(following, Skip):
                    break
                request = following
            else:
                yield request

    def _follow(self, sample: Sample, request: Request, response: Response) -> Request | Skip:
        for asking in (self.intervention, self.task):
            if isinstance(asking, Follows):
                following = asking.follow(sample, request, response, self.context)
                if following is not None:
                    return following
        raise ConfigError(
            f"intervention={self.intervention.name}: nothing follows its step '{request.step}'"
        )

    def _edited(self, sample: Sample) -> Iterator[Request | Skip]:
        for request in self.task.requests(sample, self.generation):
            yield self.intervention.apply(sample, request, self.context)

    def _check_audio(self, request: Request) -> None:
        for source in request.clips():
            clip = source.clip
            if isinstance(clip, AudioRef) and clip.path not in self.files:
                audio.probe(clip.path)
                self.files.add(clip.path)
