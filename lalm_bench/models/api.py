"""Any model behind an OpenAI-compatible server: vLLM, SGLang, `transformers serve`, a vendor.

Clips are rendered and encoded in worker threads while the network is busy; the requests share one
pool of connections (`engine.concurrent`, `api_session`).
"""

from __future__ import annotations

import importlib.util
import mmap
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import orjson

from lalm_bench import audio, audio_facts
from lalm_bench.engine.concurrent import Limit, ask_concurrently
from lalm_bench.errors import AudioError, ConfigError, ModelError, one_line
from lalm_bench.models import api_chat, chat
from lalm_bench.models.api_endpoint import Endpoint, Traffic
from lalm_bench.models.api_key import Key
from lalm_bench.models.api_replies import Refused
from lalm_bench.models.api_session import Session, session
from lalm_bench.models.base import ModelBase
from lalm_bench.provenance import public
from lalm_bench.types import MODES, AudioRef, AudioSource, Json, Request, Response, Runtime

_OWN_PAGES = 1 << 16
_OURS = frozenset({"model", "messages", "stream", "n"})


@dataclass(frozen=True)
class Encoded:
    """A request as bytes that can be sent as often as it takes.

    Parameters
    ----------
    body : bytes or memoryview
        JSON.
    usage : dict
        Seconds of audio sent and cut off.
    seconds : float
        Time that rendering and encoding took.
    """

    request: Request
    body: bytes | memoryview
    usage: dict[str, float]
    seconds: float


@dataclass(kw_only=True)
class ApiModel(ModelBase):
    """A served model, which is taken to be deterministic at temperature 0.

    Parameters
    ----------
    served_name : str
        What the server calls the model.
    name : str
        Folder and tracking name; no part of the identity.
    endpoint : Endpoint
        The server. Speed, patience and prices are no part of the identity.
    deployment : str
        Stands for the server in the identity; its address, unless that changes between runs.
    audio_form : str
        input_audio, audio_url (a data URI), or none for a model that cannot hear.
    sample_format : str
        pcm16 or float32: samples of the WAV files sent.
    rate : int
        Of the WAV files sent, Hz.
    max_audio_s : float, optional
        Longest clip that the served model hears, seconds; many servers cut silently.
    overlong : str
        What happens to a longer clip: error (an error response) or truncate (counted in
        `usage["truncated_s"]`).
    system_role : str
        native, or prepend to put system text at the front of the first user turn.
    opened_turn : str
        How the server is told to continue an answer that is begun: continue (vLLM, SGLang), prefix
        (a field of the message), plain (it does so unasked), or user for one that cannot: the
        beginning then ends the user's turn.
    length_field : str
        The field that bounds the answer: max_tokens, or max_completion_tokens where only that is
        known.
    extra_body : mapping, optional
        Further fields of each request; null removes one that would be sent.

    Raises
    ------
    ConfigError
        A setting is none of what it may be.
    """

    served_name: str
    name: str
    endpoint: Endpoint
    deployment: str
    audio_form: str = "input_audio"
    sample_format: str = "pcm16"
    rate: int | None = 16000
    max_audio_s: float | None = None
    overlong: str = "error"
    system_role: str = "native"
    opened_turn: str = api_chat.OPENED_TURNS[0]
    length_field: str = "max_tokens"
    extra_body: Mapping[str, Any] | None = None
    modes = MODES[:2]

    _key: Key = field(default=Key(None), init=False, repr=False)
    _workers: int = field(default=1, init=False, repr=False)
    _limit: Limit = field(default_factory=lambda: Limit(1), init=False, repr=False)
    _traffic: Traffic = field(default_factory=Traffic, init=False, repr=False)

    def __post_init__(self) -> None:
        allowed = {
            "audio_form": api_chat.AUDIO_FORMS,
            "sample_format": api_chat.SAMPLE_FORMATS,
            "overlong": ("error", "truncate"),
            "system_role": ("native", "prepend"),
            "opened_turn": api_chat.OPENED_TURNS,
            "length_field": ("max_tokens", "max_completion_tokens"),
        }
        for name, values in allowed.items():
            if getattr(self, name) not in values:
                value = getattr(self, name)
                raise ConfigError(f"model.{name}={value} must be one of {', '.join(values)}")
        if taken := sorted(_OURS & (self.extra_body or {}).keys()):
            raise ConfigError(f"model.extra_body must not set {', '.join(taken)}")
        if self.audio_form == "none":
            self.rate = None

    def identity(self) -> dict[str, Json]:
        """What is asked of which deployment; never the key, limits, time-outs or prices."""
        return {
            "model": type(self).__name__,
            "served_name": self.served_name,
            "deployment": public(str(self.deployment)).rstrip("/"),
            "rate": self.rate,
            "audio_form": self.audio_form,
            "sample_format": self.sample_format,
            "max_audio_s": self.max_audio_s and float(self.max_audio_s),
            "overlong": self.overlong,
            "system_role": self.system_role,
            "opened_turn": self.opened_turn,
            "extra_body": dict(self.extra_body or {}),
        }

    def load(self, runtime: Runtime) -> None:
        """Read the key; ModelError when the client library is not installed."""
        for module in ("aiohttp", "dotenv"):
            if importlib.util.find_spec(module) is None:
                raise ModelError(f"model=api needs {module}: pip install 'lalm_bench[api]'")
        self._key = Key.read(self.endpoint.api_key_env)
        self._workers = runtime.workers

    def answer(self, requests: Iterable[Request]) -> Iterator[Response]:
        """Answers as they come.

        Raises
        ------
        ModelError
            The server is away, refuses the key or does not know the model.
        """
        self._limit = self.endpoint.limit()
        yield from ask_concurrently(
            requests, self._prepare, self._connect, self._limit, self._workers
        )

    def report(self) -> dict[str, Json]:
        """Requests, retries by cause, tokens, cost, speed, connections."""
        facts = self._traffic.report(self.endpoint.prices)
        return facts | {"in_flight_limit": self._limit.now}

    def _prepare(self, request: Request) -> Encoded | Response:
        """Called from worker threads."""
        started = time.perf_counter()
        try:
            body, heard = self._body(request)
        except (AudioError, Refused) as error:
            return _failed(request, one_line(error))
        return Encoded(request, _set_apart(body), heard, time.perf_counter() - started)

    def _body(self, request: Request) -> tuple[bytes, dict[str, float]]:
        if request.generation.mode != "generate" and not request.choices:
            mode = request.generation.mode
            raise Refused(f"generation.mode={mode} compares options, but the item has none")
        messages = list(request.messages)
        if self.system_role == "prepend":
            messages = chat.fold_system(messages)
        messages, continued = api_chat.begun(messages, self.opened_turn)
        clips, heard = self._hear(request.clips())
        body = {
            "model": self.served_name,
            "messages": api_chat.turns(messages, clips, self.audio_form, self.opened_turn),
            **continued,
            **api_chat.settings(request.generation, self.length_field),
            **(self.extra_body or {}),
        }
        return orjson.dumps({k: v for k, v in body.items() if v is not None}), heard

    def _hear(self, sources: list[AudioSource]) -> tuple[list[bytes], dict[str, float]]:
        """WAV files within the limit, the seconds sent and cut off, and what edits did."""
        if self.rate is None:
            return [], {}
        files, cut, sent = [], 0, 0
        edited: list[dict[str, float]] = []
        for source in sources:
            edited.append({})
            wave = audio.render(source, self.rate, edited[-1])
            longest = len(wave)
            if self.max_audio_s is not None:
                longest = min(int(self.max_audio_s * self.rate), longest)
            if longest < len(wave) and self.overlong == "error":
                raise AudioError(
                    f"{_named(source)}: its {len(wave) / self.rate:.2f} s are more than the "
                    f"{self.max_audio_s:g} s that {self.name} hears; set model.overlong=truncate "
                    "or shorten the clip"
                )
            cut, sent = cut + len(wave) - longest, sent + longest
            files.append(api_chat.wav(wave[:longest], self.rate, self.sample_format))
        heard = {"audio_s": sent / self.rate, "truncated_s": cut / self.rate}
        return files, heard | audio_facts.together(edited)

    @asynccontextmanager
    async def _connect(
        self,
    ) -> AsyncIterator[Callable[[Encoded | Response], Coroutine[Any, Any, Response]]]:
        async with session(self.endpoint, self._key, self._limit, self._traffic) as opened:
            yield partial(self._ask, opened)

    async def _ask(self, opened: Session, item: Encoded | Response) -> Response:
        if isinstance(item, Response):
            return item
        request = item.request
        began = time.perf_counter()
        scores = None
        try:
            completion = await opened.post(item.body)
            text, finish = api_chat.answer(completion)
            if request.generation.mode == "letter_likelihood":
                scores = api_chat.label_scores(completion, request.choices)
                text, finish = max(scores, key=scores.__getitem__), "stop"
        except api_chat.NoLogprobs as lack:
            if not self._traffic.answers:
                raise ModelError(f"{self.deployment}: {lack}") from None
            return _failed(request, str(lack))
        except Refused as refusal:
            self._traffic.refused += 1
            return _failed(request, str(refusal))
        ended = time.perf_counter()
        counts = api_chat.usage(completion)
        self._traffic.answers += 1
        self._traffic.tokens.update(counts)
        return Response(
            request.key,
            request.sample_id,
            text,
            finish,
            request.variant,
            scores,
            counts | item.usage,
            {"prepare_s": round(item.seconds, 6), "request_s": round(ended - began, 6)},
        )


def _set_apart(body: bytes) -> bytes | memoryview:
    """A large body in pages of its own, which the system has back as soon as it is answered.

    In the heap, bodies of all ages side by side would leave holes that nothing else fits into: the
    memory of a run would creep up with its length.
    """
    if len(body) < _OWN_PAGES:
        return body
    pages = mmap.mmap(-1, len(body))
    pages.write(body)
    return memoryview(pages)


def _failed(request: Request, reason: str) -> Response:
    return Response(
        request.key, request.sample_id, "", "error", variant=request.variant, error=reason
    )


def _named(source: AudioSource) -> str:
    clip = source.clip
    return clip.path if isinstance(clip, AudioRef) else f"synthesised {type(clip).__name__}"
