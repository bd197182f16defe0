"""One adapter for every audio language model that transformers has a class for.

A family is a YAML file: the class, the form in which its processor takes audio, and its limits.
What is left open there follows from the checkpoint (`families.FAMILIES`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from lalm_bench import audio, audio_facts
from lalm_bench.errors import AudioError, ConfigError, ModelError
from lalm_bench.models import chat
from lalm_bench.models.families import FAMILIES, Family
from lalm_bench.models.options import demand_choices
from lalm_bench.models.pretrained import Pretrained, demand
from lalm_bench.types import MODES, AudioRef, AudioSource, Json, Request, Response, Runtime

if TYPE_CHECKING:
    from lalm_bench.engine.stream import Prepared

# Samples in an analysis window of the extractors.
_WINDOW = 400


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
        What happens to a longer clip: error (an error response), truncate (counted in
        `usage["truncated_s"]`) or chunk (heard as several clips of equal length in its place).
    max_audios : int, optional
        Most clips in one request.
    system_role : str, optional
        native, or prepend to put system text at the front of the first user turn.
    adapter : str, optional
        Subfolder of low-rank weights that the network hears through; empty for none. They, and
        those that lie beside the checkpoint itself, are switched off for requests without audio.
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
    adapter: str | None = None
    audio_kwargs: Mapping[str, Any] = field(default_factory=dict)
    modes = MODES[:2]

    processor: Any = field(default=None, init=False, repr=False)
    _listener: Any = field(default=None, init=False, repr=False)
    _settings: Family = field(default=Family(), init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        demand(self.overlong, "overlong", ("error", "truncate", "chunk"))
        demand(self.audio_form or "array", "audio_form", ("array", "base64"))
        demand(self.batch_audio or "padded", "batch_audio", ("padded", "equal_length"))
        demand(self.system_role or "native", "system_role", ("native", "prepend"))

    def class_name(self) -> str | None:
        """The class asked for, else the family's, else the one that the checkpoint names."""
        return self.settings().model_class or super().class_name()

    def settings(self) -> Family:
        """The YAML's settings, completed by the family of the checkpoint."""
        family = FAMILIES.get(self.checkpoint.config().get("model_type", ""), Family())
        own = {name: getattr(self, name, None) for name in Family.__dataclass_fields__}
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
            "adapter": settings.adapter,
            "audio_kwargs": dict(self.audio_kwargs),
        }

    def load(self, runtime: Runtime) -> None:
        """Load network, processor and template.

        Raises
        ------
        ModelError
            Weights are missing or do not fit the class.
        ConfigError
            `rate` is not the processor's, the device is not there, or long audio is to be heard
            in pieces by a family that hears one clip.
        """
        from lalm_bench.engine.attention import attend_in_chunks
        from lalm_bench.engine.decode import pad_id
        from lalm_bench.engine.listening import Listener
        from lalm_bench.models.features import remember
        from lalm_bench.models.loading import PerThread, load_adapter, load_processor

        if self._is_resident(runtime):
            return
        self._settings = settings = self.settings()
        if self.overlong == "chunk" and settings.max_audios == 1:
            raise ConfigError(
                f"model.overlong=chunk: {self.name} hears one clip at a time and no pieces; set "
                "model.overlong=truncate or error"
            )
        folder = self._load(runtime)
        if settings.attends_in_chunks and self.attn_implementation in (None, "sdpa"):
            attend_in_chunks(self.network)
        if settings.adapter:
            load_adapter(self.network, folder, settings.adapter)
        remote = {"trust_remote_code": True} if self.trust_remote_code else {}
        self.processor = load_processor("AutoProcessor", folder, **remote)
        if not hasattr(self.processor, "tokenizer"):
            raise ModelError(f"{self.path}: its processor hears nothing; is this for model=text?")
        self._choose_template(self.processor, folder)
        self._check_rate()
        if runtime.reuse_audio:
            remember(self.processor)
        self._processors = PerThread(self.processor)
        tokenizer = self.processor.tokenizer
        self._listener = Listener(
            self.network,
            pad_id(tokenizer),
            settings.merges,
            trims=settings.trims_audio,
            alike=settings.encodes_alike,
        )
        self._reside(tokenizer, self._listener)

    def answer(self, requests: Iterable[Request]) -> Iterator[Response]:
        """Answers in the mode that each request asks for, longest audio first."""
        from lalm_bench.engine.collate import audio_shape
        from lalm_bench.engine.plan import ordered

        self._demand_loaded()
        order = ordered(requests, _length, self._heard)
        equal = self._settings.batch_audio == "equal_length"
        yield from self._stream(
            order,
            self._prepare,
            # What hears nothing shares neither a beginning nor low-rank weights with what does.
            lambda item: (item.audio is None, audio_shape(item.inputs) if equal else None),
        )

    def _prepare(self, request: Request) -> Prepared:
        """Features of one item; called from worker threads."""
        import torch

        from lalm_bench.engine.listening import trimmed
        from lalm_bench.engine.stream import Prepared
        from lalm_bench.models.loading import refusals, refused

        demand_choices(request)
        waves, usage = self._hear(request.clips())
        messages: Sequence[Any] = request.messages
        if self._settings.system_role == "prepend":
            messages = chat.fold_system(messages)
        turns, opening = chat.opened(messages)
        template, begun = chat.continuing(self.template, opening)
        # Nested, and fresh for each call: flat settings reach the wrong extractor, and transformers
        # writes into what it is given.
        nested = {"audio_kwargs": self._extractor_settings(waves)}
        try:
            features = self._processors.get().apply_chat_template(
                [chat.spoken(turns, waves, self._part)],
                chat_template=template,
                tokenize=True,
                add_generation_prompt=True,
                return_dict=True,
                return_tensors="pt",
                processor_kwargs=nested,
                **begun,
            )
        except refusals() as error:
            raise refused(error, messages) from error
        inputs = {k: v for k, v in features.items() if isinstance(v, torch.Tensor)}
        inputs.setdefault("attention_mask", torch.ones_like(inputs["input_ids"]))
        if opening and template is None:
            # Mistral's tokenizer has the answer's words follow the last user turn at once.
            tokenizer = self._processors.get().tokenizer
            inputs = chat.extended(inputs, tokenizer.encode(opening, add_special_tokens=False))
        if self._settings.trims_audio:
            inputs = trimmed(inputs)
        dtype = self.network.dtype
        inputs = {k: v.to(dtype) if v.is_floating_point() else v for k, v in inputs.items()}
        heard = self._listener.places(inputs["input_ids"][0]).nonzero()
        beginning = int(heard[-1]) + 1 if self.resident.shares and len(heard) else 0
        audio = self._heard(request)
        return Prepared(request, inputs, usage, audio=audio, beginning=beginning)

    def _extractor_settings(self, waves: Sequence[Sequence[np.ndarray]]) -> dict[str, Any]:
        settings = dict(self.audio_kwargs)
        lengths = [len(piece) for pieces in waves for piece in pieces]
        if self._settings.states_length and lengths:
            # One analysis window more, so that the last frames see the silence they would see.
            settings.setdefault("max_length", max(lengths) + _WINDOW)
        return settings

    def _heard(self, request: Request) -> str | None:
        """Digest of all that a request hears; None when it hears nothing."""
        clips = request.clips()
        if not clips:
            return None
        try:
            heard = [audio.digest(clip, self.rate) for clip in clips]
        except AudioError:
            return request.key  # it fails when its turn comes
        return hashlib.blake2b("\n".join(heard).encode(), digest_size=16).hexdigest()

    def _hear(
        self, clips: Sequence[AudioSource]
    ) -> tuple[list[list[np.ndarray]], dict[str, float]]:
        """Rendered clips in pieces within the family's limits, and what that and edits did."""
        most, limit = self._settings.max_audios, self._settings.max_audio_s
        if most is not None and len(clips) > most:
            raise ModelError(
                f"the request has {len(clips)} clips and {self.name} hears {most} at a time; "
                "use a task with fewer clips or another model"
            )
        heard, cut, samples = [], 0, 0
        edited: list[dict[str, float]] = []
        for clip in clips:
            edited.append({})
            wave = audio.render(clip, self.rate, edited[-1])
            longest = len(wave) if limit is None else int(limit * self.rate)
            if len(wave) <= longest:
                pieces = [wave]
            elif self.overlong == "truncate":
                pieces = [wave[:longest]]
            elif self.overlong == "chunk":
                # Pieces of one length: the last one would else be as short as chance has it.
                count = -(-len(wave) // longest)
                pieces = list(np.pad(wave, (0, -len(wave) % count)).reshape(count, -1))
            else:
                raise AudioError(
                    f"{_name(clip)}: its {len(wave) / self.rate:.2f} s are more than the {limit:g} "
                    f"s that {self.name} hears; set model.overlong=truncate or chunk, or shorten "
                    "the clip"
                )
            kept = min(sum(map(len, pieces)), len(wave))
            cut += len(wave) - kept
            samples += kept
            heard.append(pieces)
        lengths = {len(piece) for pieces in heard for piece in pieces}
        if len(lengths) > 1 and self._settings.batch_audio == "equal_length":
            raise ModelError(
                f"the request's clips differ in length, and {self.name} hears the shorter one "
                "wrongly beside a longer one; use another model for this task"
            )
        usage = {"audio_s": samples / self.rate, "truncated_s": cut / self.rate}
        usage |= audio_facts.together(edited)
        if self.overlong == "chunk":
            usage["audio_pieces"] = sum(map(len, heard))
        return heard, usage

    def _part(self, wave: np.ndarray) -> dict[str, Any]:
        if self._settings.audio_form == "base64":
            return chat.base64_part(wave, self.rate)
        return chat.array_part(wave)

    def _check_rate(self) -> None:
        for part in ("feature_extractor", "audio_processor"):
            rate = getattr(getattr(self.processor, part, None), "sampling_rate", None)
            if rate is not None and rate != self.rate:
                raise ConfigError(f"model.rate={self.rate}: {self.path} hears {rate} Hz; set it so")


def _length(request: Request) -> float:
    """Estimated tokens of a request: 25 a second of audio, one for four characters of text.

    Audio that cannot be read counts 0; it fails later.
    """
    text = sum(len(turn["content"]) for turn in chat.written(request.messages)) / 4
    try:
        return text + 25 * sum(audio.seconds(clip) for clip in request.clips())
    except AudioError:
        return text


def _name(source: AudioSource) -> str:
    clip = source.clip
    return clip.path if isinstance(clip, AudioRef) else f"synthesised {type(clip).__name__}"
