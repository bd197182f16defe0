"""A run's task and intervention, built again from its own configuration; no model is loaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lalm_bench.build import Experiment, build
from lalm_bench.compare.loaded import Run
from lalm_bench.errors import BenchError, one_line
from lalm_bench.identity import Sealer
from lalm_bench.preflight import Plan, select
from lalm_bench.types import Audio, AudioRef, AudioSource, Context, Request, Sample, Skip, Text

# What a model that hears nothing is shown as: the rate that most families hear at.
_USUAL_RATE = 16_000

Key = tuple[str, str]


@dataclass(frozen=True)
class Asked:
    """One request as it was made.

    Parameters
    ----------
    prompt : list of dict
        Turns: `role`, and `parts`, each a text or the name of a clip.
    sources : list of AudioSource
        Its clips with the edits of the intervention; the item's own where the model got none.
    heard : bool
        The model got `sources`.
    sample : Sample
    """

    prompt: list[dict[str, Any]]
    sources: list[AudioSource]
    heard: bool
    sample: Sample

    def original(self, number: int) -> AudioSource:
        """The item's own clip in the place of a source; the source unedited where there is none."""
        clips = self.sample.audio
        same = len(clips) == len(self.sources)
        return AudioSource(clips[number] if same else self.sources[number].clip)


@dataclass
class Rebuilt:
    """The requests of a run by (id, variant); empty where they cannot be made again.

    Parameters
    ----------
    rate : int
        Hz, at which its model hears.
    why_not : str
        Why nothing, or not all, could be made again.
    """

    rate: int = _USUAL_RATE
    why_not: str = ""
    hears: bool = True
    _plan: Plan | None = None
    _samples: dict[str, Sample] = field(default_factory=dict)

    @property
    def task(self) -> Any:
        """The task, or None."""
        return None if self._plan is None else self._plan.task

    def asked(self, name: str, question: object) -> Mapping[str, Asked]:
        """Variant -> the first request of an item, as it was asked; nothing where data has changed.

        Of an item that is asked in steps it is the first step: what follows depends on answers.
        """
        sample = self._samples.get(name)
        if self._plan is None or sample is None or sample.fault is not None:
            return {}
        if question is not None and sample.question != question:
            return {}
        try:
            return {request.variant: self._asked(sample, request) for request in self._of(sample)}
        except BenchError as error:
            self.why_not = self.why_not or one_line(error)
            return {}

    def _of(self, sample: Sample) -> Iterator[Request]:
        plan = self._plan
        if plan is None:
            return
        for request in plan.task.requests(sample, plan.generation):
            edited = plan.intervention.apply(sample, request, plan.context)
            if not isinstance(edited, Skip):
                yield edited

    def _asked(self, sample: Sample, request: Request) -> Asked:
        turns = [
            {
                "role": message.role,
                "parts": [
                    {"text": part.text}
                    if isinstance(part, Text)
                    else {"audio": clip_name(part.source)}
                    for part in message.parts
                    if isinstance(part, Text) or self.hears
                ],
            }
            for message in request.messages
        ]
        sources = [p.source for m in request.messages for p in m.parts if isinstance(p, Audio)]
        heard = bool(sources) and self.hears
        # It got no audio, but a reader wants to hear what it was asked about.
        sources = sources if heard else [AudioSource(clip) for clip in sample.audio]
        return Asked(turns, sources, heard, sample)


def clip_name(source: AudioSource) -> str:
    """A clip for people: the file's name, or what computes it."""
    clip = source.clip
    return Path(clip.path).name if isinstance(clip, AudioRef) else clip.content()


def rebuild(run: Run) -> Rebuilt:
    """Make a run's items again; never an error, but a reason in `why_not`."""
    try:
        # Wherever the run lies now, what it builds on lies beside it.
        paths = {**run.config["paths"], "outputs": str(run.folder.absolute().parents[3])}
        experiment = build(OmegaConf.create({**run.config, "paths": paths}))
        if experiment.fingerprint != run.fingerprint:
            return Rebuilt(
                why_not="its data or settings are not those of the run any more (the fingerprint "
                f"is now {experiment.fingerprint})"
            )
        if absent := experiment.task.missing(False):
            return Rebuilt(why_not="; ".join(absent))
        return _rebuilt(experiment)
    except (BenchError, HydraException, OmegaConfBaseException, OSError) as error:
        return Rebuilt(why_not=one_line(error))


def _rebuilt(experiment: Experiment) -> Rebuilt:
    samples = select(experiment.task.samples(), experiment.limit, experiment.seed)
    rate = experiment.model.rate
    plan = Plan(
        samples,
        experiment.task,
        experiment.intervention,
        experiment.generation,
        Sealer({}, {}, rate, stochastic=False, seed=experiment.seed),
        # Interventions may lend one item's clip to another, so they know all of them.
        Context(experiment.seed, samples),
        hears=rate is not None,
    )
    by_name = {sample.id: sample for sample in samples}
    return Rebuilt(rate or _USUAL_RATE, "", rate is not None, plan, by_name)
