"""Everything that can be known to be wrong before a model is loaded or a file written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from lalm_bench import audio
from lalm_bench.build import STOP, Experiment
from lalm_bench.errors import AudioError, ConfigError, DataError
from lalm_bench.identity import Sealer
from lalm_bench.randomness import derive
from lalm_bench.types import (
    AudioRef,
    Context,
    Generation,
    Intervention,
    Request,
    Sample,
    Skip,
    Task,
)


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
    hears = model.rate is not None
    wanted = [*experiment.task.missing(hears), *experiment.model.missing()]
    if wanted:
        raise DataError("; ".join(wanted))


def select(samples: Iterable[Sample], limit: int | None, seed: int) -> list[Sample]:
    """Check ids and draw `limit` items: the smallest hashes of (seed, id), in the task's order.

    Larger limits contain smaller ones, and the head of an alphabetical file is not favoured.

    Raises
    ------
    DataError
        No item at all, two items with one id, or a target that is no option.
    """
    chosen = list(samples)
    seen: set[str] = set()
    for sample in chosen:
        if sample.id in seen:
            raise DataError(
                f"two items are called '{sample.id}'; ids must be unique, mend the dataset"
            )
        seen.add(sample.id)
        if sample.choices and all(c.label != sample.target for c in sample.choices):
            raise DataError(
                f"item '{sample.id}': the answer {sample.target!r} is none of its options; "
                "mend or drop the item"
            )
    if not chosen:
        raise DataError("the task has no items; check its files and filters (--cfg job)")
    if limit is None or limit >= len(chosen):
        return chosen
    ranks = sorted(range(len(chosen)), key=lambda i: derive(seed, "select", chosen[i].id))
    return [chosen[i] for i in sorted(ranks[:limit])]


@dataclass
class Plan:
    """The requests of a run, made anew at each iteration so that only keys stay in memory.

    `asked` holds, for each sample, the (key, variant) of each of its requests; `unasked` says why
    an item cannot be asked at all.
    """

    samples: list[Sample]
    task: Task
    intervention: Intervention
    generation: Generation
    sealer: Sealer
    context: Context
    hears: bool
    on_error: str = STOP
    asked: list[tuple[tuple[str, str], ...]] = field(default_factory=list)
    unasked: dict[str, str] = field(default_factory=dict)
    skipped: Counter[str] = field(default_factory=Counter)
    files: set[str] = field(default_factory=set)

    def check(self) -> None:
        """Make every request once: note keys, skips and files.

        Raises
        ------
        DataError
            A clip cannot be read, and `on_error` is stop or no item is left; names the item.
        """
        for sample in self.samples:
            try:
                self.asked.append(tuple(self._asked(sample)))
            except AudioError as error:
                reason = f"item '{sample.id}': {error}"
                if self.on_error == STOP:
                    raise DataError(reason) from error
                self.unasked[sample.id] = reason
                self.asked.append(())
        if self.unasked and len(self.unasked) == len(self.samples):
            raise DataError(f"no item can be asked; {next(iter(self.unasked.values()))}")

    def _asked(self, sample: Sample) -> Iterator[tuple[str, str]]:
        for request in self._edited(sample):
            if isinstance(request, Skip):
                self.skipped[request.reason] += 1
                continue
            if self.hears:
                self._check_audio(request)
            yield self.sealer.seal(request).key, request.variant

    def distinct(self) -> set[str]:
        """Keys of all requests; equal requests share one."""
        return {key for asked in self.asked for key, _ in asked}

    def requests(self) -> Iterator[tuple[Sample, Request]]:
        """Sealed requests in the task's order."""
        for sample in self.samples:
            if sample.id in self.unasked:
                continue
            for request in self._edited(sample):
                if not isinstance(request, Skip):
                    yield sample, self.sealer.seal(request)

    def _edited(self, sample: Sample) -> Iterator[Request | Skip]:
        for request in self.task.requests(sample, self.generation):
            yield self.intervention.apply(sample, request, self.context)

    def _check_audio(self, request: Request) -> None:
        for source in request.clips():
            clip = source.clip
            if isinstance(clip, AudioRef) and clip.path not in self.files:
                audio.probe(clip.path)
                self.files.add(clip.path)
