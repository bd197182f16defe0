"""The contracts: small frozen objects that every other part depends on.

They hold data and nothing else. Importing this module costs next to nothing (no numpy, no torch),
so configuration, storage and tests can all share it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from lalm_bench.clips import AudioEdit as AudioEdit
from lalm_bench.clips import AudioRef as AudioRef
from lalm_bench.clips import AudioSource as AudioSource
from lalm_bench.clips import Clip as Clip
from lalm_bench.clips import Synthesised as Synthesised

if TYPE_CHECKING:
    import pandas as pd

    from lalm_bench.protocols import Protocol as ReasoningProtocol

Json = None | bool | int | float | str | list[Any] | dict[str, Any]


# --------------------------------------------------------------------------- what is asked


@dataclass(frozen=True, slots=True)
class Choice:
    """One option of a multiple-choice item: the label the model should name, and its text."""

    label: str
    text: str


@dataclass(frozen=True, slots=True)
class Sample:
    """What is asked, of which clips, and what is right.

    Parameters
    ----------
    id : str
        Unique within the task.
    audio : tuple of Clip
        Usually one; empty for text-only items.
    question : str
    choices : tuple of Choice
        Empty when the answer is free text. Labels need not be contiguous.
    target : Any
        The right label, or whatever the task's `score` understands.
    cluster : str
        Clip, speaker or scene that several items share: they are not independent.
    meta : mapping
        JSON-able facts to group or filter by. Never read by a model.
    fault : str, optional
        Why the item cannot be asked: its row is bad, and nothing but `id` counts.
    """

    id: str
    audio: tuple[Clip, ...]
    question: str
    choices: tuple[Choice, ...]
    target: Any
    cluster: str
    meta: Mapping[str, Any] = field(default_factory=dict)
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class Text:
    """A text part of a message."""

    text: str


@dataclass(frozen=True, slots=True)
class Audio:
    """An audio part of a message."""

    source: AudioSource


@dataclass(frozen=True, slots=True)
class Message:
    """One chat turn. `role` is system, user or assistant."""

    role: str
    parts: tuple[Text | Audio, ...]


MODES = ("generate", "letter_likelihood", "option_pmi")
ANSWER = "answer"


@dataclass(frozen=True, slots=True)
class Generation:
    """How an answer is drawn.

    `mode` is `generate` (free text), `letter_likelihood` (option labels compared) or `option_pmi`
    (option texts compared, prior removed). `seed` is None for a deterministic answer; otherwise it
    is derived from (run seed, item, variant) and belongs to the request's identity.
    """

    max_new_tokens: int = 16
    temperature: float = 0.0
    top_p: float = 1.0
    mode: str = MODES[0]
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """The messages and the audio exactly as the model will get them.

    `variant` tells several requests of one item apart (instructions, option rotations, repeats).
    `question` is the bare question, for modes that compare option texts without listing them.
    `step` is what the answer is for: `answer` is final, anything else (a chain of reasoning, a
    paraphrase) leads to a further request of the same item and variant (`Follows`). An assistant's
    message at the end is the beginning of the answer, which the model continues.
    `key` identifies the answer: a hash of model identity, messages, choices, audio digests,
    generation and pruning. It is filled by `identity.Sealer`; nothing else may set it.
    """

    sample_id: str
    messages: tuple[Message, ...]
    choices: tuple[Choice, ...] = ()
    question: str = ""
    generation: Generation = Generation()
    variant: str = ""
    key: str = ""
    step: str = ANSWER

    def clips(self) -> list[AudioSource]:
        """Audio parts in the order in which the model meets them."""
        return [p.source for m in self.messages for p in m.parts if isinstance(p, Audio)]


@dataclass(frozen=True, slots=True)
class Skip:
    """An intervention's refusal to touch an item, with the reason (counted, never silent)."""

    reason: str


# --------------------------------------------------------------------------- what came back


@dataclass(frozen=True, slots=True)
class Response:
    """One answer. An error is never an empty answer: `finish` is stop, length or error.

    Parameters
    ----------
    scores : mapping, optional
        Option label -> score (log-probability or PMI, nats) in the likelihood modes.
    usage : mapping
        Token counts and audio facts (`input_tokens`, `output_tokens`, `truncated_s`, ...).
    timing : mapping
        Seconds by stage; the only fields that may differ between two equal runs.
    earlier : mapping, optional
        Step -> what was answered to it, where this answer is the last of several; filled for
        scoring and not stored.
    """

    key: str
    sample_id: str
    text: str
    finish: str = "stop"
    variant: str = ""
    scores: Mapping[str, float] | None = None
    usage: Mapping[str, float] | None = None
    timing: Mapping[str, float] | None = None
    error: str | None = None
    earlier: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Score:
    """The parsed answer of one item and its per-item values.

    `stage` tells which parser rule fired. `invalid` is a class of its own: wrong in the headline,
    shown beside it, never dropped. `label` is None exactly when `invalid` is True. `facts` are what
    else a reader of the decision wants to see (the reasoning, the label before recovery).
    """

    sample_id: str
    label: str | None
    stage: str
    values: Mapping[str, float]
    invalid: bool = False
    conflict: bool = False
    variant: str = ""
    facts: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True)
class Metrics:
    """`values` is flat (name -> number or None) and goes to the tracker; `analysis` may nest.

    `headline` names the values that a reader sees first, where they are not accuracy and its kin.
    """

    values: dict[str, float | int | None]
    analysis: dict[str, Json]
    headline: tuple[str, ...] = ()


# --------------------------------------------------------------------------- the parts of a run


@dataclass(frozen=True)
class Runtime:
    """Settings that may change speed and never a result; no identity includes them.

    Parameters
    ----------
    device : str
    batch_size : int
        Most requests in a batch.
    workers : int
        Threads that decode, edit and featurise ahead of the model.
    batch_tokens : int, optional
        Most tokens in a batch, padding and answers included; None measures what fits.
    reuse_audio : bool
        Encode a clip once for all its requests; timing runs switch it off.
    audio_cache : str, optional
        Folder where encoded audio outlives the run.
    audio_cache_gb : float
        Most it may hold.
    graphs : bool
        Record decoding steps as CUDA graphs.
    fuse : bool
        Compile a language model's small operations, on CUDA.
    """

    device: str = "auto"
    batch_size: int = 256
    workers: int = 4
    batch_tokens: int | None = None
    reuse_audio: bool = True
    audio_cache: str | None = None
    audio_cache_gb: float = 20.0
    graphs: bool = True
    fuse: bool = True


class Task(Protocol):
    """A benchmark: its items, how they are asked, and how answers become numbers."""

    name: str
    groups: tuple[str, ...]

    def missing(self, audio: bool) -> list[str]:
        """What must be fetched first, one instruction each. `audio`: the model hears."""

    def inputs(self) -> list[Path]:
        """Annotation files that determine the samples."""

    def samples(self) -> Iterable[Sample]:
        """Items in the benchmark's own order."""

    def report(self) -> dict[str, Json]:
        """What making the samples kept and dropped; known once `samples` has run."""

    def requests(self, sample: Sample, generation: Generation) -> list[Request]:
        """The request(s) of one item, before any intervention."""

    def score(self, sample: Sample, responses: Sequence[Response]) -> list[Score]:
        """Scores of one item whose requests were all answered (no response is an error)."""

    def metrics(self, decisions: pd.DataFrame) -> Metrics:
        """Metrics of the whole run; `decisions` has the columns of `decisions.jsonl`."""


@dataclass(frozen=True)
class Context:
    """What an intervention may know beyond its item.

    Parameters
    ----------
    seed : int
        The run's seed.
    samples : sequence of Sample
        The items of the run, e.g. to draw another item's clip from.
    protocol : Protocol, optional
        How the task has the model reason, for interventions on the reasoning.
    """

    seed: int
    samples: Sequence[Sample] = ()
    protocol: ReasoningProtocol | None = None


class Intervention(Protocol):
    """Changes what the model hears or reads.

    It may also have `inputs() -> list[Path]` (files that decide what is asked), `check(config)`
    (refuses a run that it does not fit, before anything is read), `report() -> dict` (what reading
    its files left out), `follow` (see `Follows`), and `gives_reasoning = True` where the reasoning
    in front of an answer is not the model's own.
    """

    name: str

    def apply(self, sample: Sample, request: Request, context: Context) -> Request | Skip:
        """The request as it will be asked."""


@runtime_checkable
class Follows(Protocol):
    """A task or an intervention that asks in steps; the intervention is asked first."""

    def follow(
        self, sample: Sample, request: Request, response: Response, context: Context
    ) -> Request | Skip | None:
        """The next request of the same item and variant after an answer that was only a step.

        None leaves it to the task. `request` is the step as it was asked; `response` is no error.
        """


class Pruning(Protocol):
    """A context manager factory over a loaded model; `none` does nothing."""

    name: str

    def __call__(self, model: Model) -> AbstractContextManager[None]:
        """`with pruning(model): ...` answers with the pruned model and restores it on exit."""


class Judge(Protocol):
    """Turns finished answers into verdicts; its own issue fills it."""

    name: str


class Model(Protocol):
    """Anything that answers requests.

    Attributes
    ----------
    rate : int or None
        Sampling rate the model hears at, Hz; None for a model that cannot hear (its requests carry
        no audio and identical texts share one answer).
    stochastic : bool
        Answers are drawn at random: every request gets its own `generation.seed`.
    sequential : bool
        Answers depend on the order of the requests: an unfinished run is asked again as a whole.
    modes : tuple of str
        The `Generation.mode` values it can answer in.
    """

    name: str
    rate: int | None
    stochastic: bool
    sequential: bool
    modes: tuple[str, ...]

    def identity(self) -> dict[str, Json]:
        """What an answer depends on: weights, revision, dtype, template."""

    def missing(self) -> list[str]:
        """What must be fetched first, one instruction each; downloads nothing."""

    def fetch(self) -> None:
        """Download what is missing, so that `identity` is final; nothing to do when it is there."""

    def load(self, runtime: Runtime) -> None:
        """Bring weights into memory; called once, and only when something is pending."""

    def answer(self, requests: Iterable[Request]) -> Iterator[Response]:
        """Answers in any order, each as soon as it is there. One item's failure is a Response."""

    def report(self) -> dict[str, Json]:
        """How answering went (speed, retries, tokens, cost); never what a result depends on."""
