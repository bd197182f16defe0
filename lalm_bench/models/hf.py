"""One adapter for every audio language model that transformers has a class for.

A family is a YAML file: the class, the form in which its processor takes audio, and its limits.
What is left open there follows from the checkpoint (`families.FAMILIES`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lalm_bench import audio
from lalm_bench.errors import AudioError, ConfigError, ModelError
from lalm_bench.models import chat
from lalm_bench.models.families import FAMILIES, Family
from lalm_bench.models.pretrained import Pretrained, demand
from lalm_bench.types import AudioRef, AudioSource, Json, Request, Response, Runtime

if TYPE_CHECKING:
    import numpy as np

    from lalm_bench.engine.stream import Prepared


@dataclass(kw_only=True)
class HFModel(Pretrained):
    """A native audio language model; see `Pretrained` for the settings about weights.

    Parameters
    ----------
    rate : int
        Sampling rate of the processor, Hz.
    audio_form : str, optional
        How the processor takes audio: array (samples) or base64 (a WAV file).
    batch_audio : str, optional
        padded, or equal_length for a family whose encoder looks at padding: only clips whose
        features have equal shapes then share a batch.
    max_audio_s : float, optional
        Longest clip the family hears, seconds; past it transformers would cut silently.
    overlong : str
        What happens to a longer clip: error (an error response) or truncate (counted in
        `usage["truncated_s"]`).
    max_audios : int, optional
        Most clips in one request.
    system_role : str, optional
        native, or prepend to put system text at the front of the first user turn.
    audio_kwargs : mapping
        Passed on to the processor's audio extractor.
    """

    rate: int = 16000
    audio_form: str | None = None
    batch_audio: str | None = None
    max_audio_s: float | None = None
    overlong: str = "error"
    max_audios: int | None = None
    system_role: str | None = None
    audio_kwargs: Mapping[str, Any] = field(default_factory=dict)

    processor: Any = field(default=None, init=False, repr=False)
    _settings: Family = field(default=Family(), init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        demand(self.overlong, "overlong", ("error", "truncate"))
        demand(self.audio_form or "array", "audio_form", ("array", "base64"))
        demand(self.batch_audio or "padded", "batch_audio", ("padded", "equal_length"))
        demand(self.system_role or "native", "system_role", ("native", "prepend"))

    def class_name(self) -> str | None:
        """The class asked for, else the family's, else the one that the checkpoint names."""
        return self.settings().model_class or super().class_name()

    def settings(self) -> Family:
        """The YAML's settings, completed by the family of the checkpoint."""
        family = FAMILIES.get(self.checkpoint.config().get("model_type", ""), Family())
        own = {name: getattr(self, name) for name in Family.__dataclass_fields__}
        return Family(**{k: getattr(family, k) if v is None else v for k, v in own.items()})

    def identity(self) -> dict[str, Json]:
        """Weights, class, precision, template, and how audio reaches the network."""
        settings = self.settings()
        return super().identity() | {
            "rate": self.rate,
            "audio_form": settings.audio_form,
            "batch_audio": settings.batch_audio,
            "max_audio_s": settings.max_audio_s and float(settings.max_audio_s),
            "overlong": self.overlong,
            "system_role": settings.system_role,
            "audio_kwargs": dict(self.audio_kwargs),
        }

    def load(self, runtime: Runtime) -> None:
        """Load network, processor and template.

        Raises
        ------
        ModelError
            Weights are missing or do not fit the class.
        ConfigError
            `rate` is not the processor's, or the device is not there.
        """
        from lalm_bench.engine.decode import neutral
        from lalm_bench.models.loading import PerThread, load_processor

        self._settings = self.settings()
        folder = self._load(runtime)
        remote = {"trust_remote_code": True} if self.trust_remote_code else {}
        self.processor = load_processor("AutoProcessor", folder, **remote)
        self._choose_template(self.processor, folder)
        self._check_rate()
        self._processors = PerThread(self.processor)
        tokenizer = self.processor.tokenizer
        self.network.generation_config = neutral(self.network.generation_config, tokenizer)

    def answer(self, requests: Iterable[Request]) -> Iterator[Response]:
        """Free-text answers, longest audio first.

        Raises
        ------
        ConfigError
            A request asks for another mode than `generate`.
        """
        from lalm_bench.engine.collate import audio_shape
        from lalm_bench.engine.stream import stream

        self._demand_loaded()
        asked = list(requests)
        for request in asked:
            if request.generation.mode != "generate":
                raise ConfigError(
                    f"model {self.name} answers with generation.mode=generate, not "
                    f"{request.generation.mode}; the likelihood modes are for model=text"
                )
        equal = self._settings.batch_audio == "equal_length"
        yield from stream(
            asked,
            self._prepare,
            self._respond,
            runtime=self._runtime,
            length=_seconds,
            alike=(lambda item: audio_shape(item.inputs)) if equal else None,
        )

    def _prepare(self, request: Request) -> Prepared:
        """Features of one item; called from worker threads."""
        import torch

        from lalm_bench.engine.stream import Prepared
        from lalm_bench.models.loading import refusals, refused

        waves, usage = self._hear(request.clips())
        messages: Sequence[Any] = request.messages
        if self._settings.system_role == "prepend":
            messages = chat.fold_system(messages)
        # Nested, and fresh for each call: flat settings reach the wrong extractor, and transformers
        # writes into what it is given.
        nested = {"audio_kwargs": dict(self.audio_kwargs)} if self.audio_kwargs else {}
        try:
            features = self._processors.get().apply_chat_template(
                [chat.spoken(messages, waves, self._part)],
                chat_template=self.template,
                tokenize=True,
                add_generation_prompt=True,
                return_dict=True,
                return_tensors="pt",
                processor_kwargs=nested,
            )
        except refusals() as error:
            raise refused(error, messages) from error
        inputs = {k: v for k, v in features.items() if isinstance(v, torch.Tensor)}
        inputs.setdefault("attention_mask", torch.ones_like(inputs["input_ids"]))
        return Prepared(request, inputs, usage)

    def _respond(self, items: Sequence[Prepared]) -> list[Response]:
        from lalm_bench.engine.decode import answer_batch

        return answer_batch(self.network, self.processor.tokenizer, items)

    def _hear(self, clips: Sequence[AudioSource]) -> tuple[list[np.ndarray], dict[str, float]]:
        """Rendered clips within the family's limits, and what that cost."""
        most, limit = self._settings.max_audios, self._settings.max_audio_s
        if most is not None and len(clips) > most:
            raise ModelError(
                f"the request has {len(clips)} clips and {self.name} hears {most} at a time; "
                "use a task with fewer clips or another model"
            )
        waves, cut = [], 0
        for clip in clips:
            wave = audio.render(clip, self.rate)
            longest = len(wave) if limit is None else int(min(limit * self.rate, len(wave)))
            if longest < len(wave) and self.overlong == "error":
                raise AudioError(
                    f"{_name(clip)}: its {len(wave) / self.rate:.2f} s are more than the {limit:g} "
                    f"s that {self.name} hears; set model.overlong=truncate or shorten the clip"
                )
            cut += len(wave) - longest
            waves.append(wave[:longest])
        heard = sum(map(len, waves)) / self.rate
        return waves, {"audio_s": heard, "truncated_s": cut / self.rate}

    def _part(self, wave: np.ndarray) -> dict[str, Any]:
        if self._settings.audio_form == "base64":
            return chat.base64_part(wave, self.rate)
        return chat.array_part(wave)

    def _check_rate(self) -> None:
        for part in ("feature_extractor", "audio_processor"):
            rate = getattr(getattr(self.processor, part, None), "sampling_rate", None)
            if rate is not None and rate != self.rate:
                raise ConfigError(f"model.rate={self.rate}: {self.path} hears {rate} Hz; set it so")


def _seconds(request: Request) -> float:
    """Audio of a request as its files tell; 0 for what cannot be read, which fails later."""
    try:
        return sum(audio.seconds(clip) for clip in request.clips())
    except AudioError:
        return 0.0


def _name(source: AudioSource) -> str:
    clip = source.clip
    return clip.path if isinstance(clip, AudioRef) else f"synthesised {type(clip).__name__}"
