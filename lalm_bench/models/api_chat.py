"""Chat completions as an OpenAI-compatible server reads and writes them."""

from __future__ import annotations

import base64
import io
import math
import wave as riff
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from lalm_bench.models.api_replies import Refused
from lalm_bench.models.chat import opened
from lalm_bench.types import Audio, Choice, Generation, Message, Text

AUDIO_FORMS = ("input_audio", "audio_url", "none")
SAMPLE_FORMATS = ("pcm16", "float32")
OPENED_TURNS = ("continue", "prefix", "plain", "user")
# As many as the published interface allows.
TOP_LOGPROBS = 20
# Byte-level and sentencepiece vocabularies write a space in ways of their own.
_SPACES = " \n\t\u0120\u2581"


class NoLogprobs(Refused):
    """An answer came without the probabilities asked for."""


def begun(messages: Sequence[Message], opened_turn: str) -> tuple[list[Message], dict[str, Any]]:
    """Messages whose last may be the beginning of the answer, and what else says so.

    Parameters
    ----------
    messages : sequence of Message
    opened_turn : str
        continue: two fields of the request, as vLLM and SGLang have them. prefix: the field
        `prefix` in the last message (filled in by `turns`). plain: the server continues a last
        assistant's turn unasked. user: for servers that cannot, the text ends the user's turn.
    """
    turns, opening = opened(messages)
    if not opening:
        return turns, {}
    if opened_turn == "user" and turns:
        last = turns[-1]
        parts = (*last.parts, Text(f"\n\n{opening}"))
        return [*turns[:-1], replace(last, parts=parts)], {}
    fields = {"add_generation_prompt": False, "continue_final_message": True}
    return list(messages), fields if opened_turn == "continue" else {}


def turns(
    messages: Sequence[Message], clips: Sequence[bytes], audio_form: str, opened_turn: str = ""
) -> list[dict[str, Any]]:
    """Messages with the WAV files `clips` in the places of their audio parts.

    A turn of text alone has a string for its content, which every server takes.
    """
    rest = iter(clips)
    made: list[dict[str, Any]] = [
        {"role": m.role, "content": _content(m, rest, audio_form)} for m in messages
    ]
    if opened_turn == "prefix" and made[-1]["role"] == "assistant":
        made[-1]["prefix"] = True
    return made


def _content(
    message: Message, clips: Iterator[bytes], audio_form: str
) -> str | list[dict[str, Any]]:
    heard = audio_form != "none"
    texts = [part.text for part in message.parts if isinstance(part, Text)]
    if not heard or len(texts) == len(message.parts):
        return "".join(texts)
    return [
        _audio_part(next(clips), audio_form)
        if isinstance(part, Audio)
        else {"type": "text", "text": part.text}
        for part in message.parts
    ]


def _audio_part(clip: bytes, audio_form: str) -> dict[str, Any]:
    data = base64.b64encode(clip).decode("ascii")
    if audio_form == "input_audio":
        return {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}
    return {"type": "audio_url", "audio_url": {"url": f"data:audio/wav;base64,{data}"}}


def wav(wave: np.ndarray, rate: int, sample_format: str) -> bytes:
    """A mono WAV file of `wave`, float32 of shape (samples,); what pcm16 cannot hold is clipped."""
    file = io.BytesIO()
    if sample_format == "float32":
        import soundfile

        soundfile.write(file, wave, rate, format="WAV", subtype="FLOAT")
        return file.getvalue()
    scaled = wave.clip(-1.0, 1.0)
    scaled *= 32767
    samples = np.rint(scaled, out=scaled).astype("<i2")
    with riff.open(file, "wb") as out:
        out.setparams((1, 2, rate, len(samples), "NONE", "not compressed"))
        out.writeframes(samples.data)
    return file.getvalue()


def settings(generation: Generation, length_field: str) -> dict[str, Any]:
    """The fields that say how an answer is drawn."""
    fields: dict[str, Any] = {
        length_field: generation.max_new_tokens,
        "temperature": generation.temperature,
        "top_p": generation.top_p,
    }
    if generation.seed is not None:
        fields["seed"] = generation.seed & 0x7FFF_FFFF  # some servers read 32 bits
    if generation.mode == "letter_likelihood":
        fields |= {length_field: 1, "logprobs": True, "top_logprobs": TOP_LOGPROBS}
    return fields


def answer(completion: Mapping[str, Any]) -> tuple[str, str]:
    """Text, without white space around it, and finish (stop or length) of a checked completion.

    Raises
    ------
    Refused
        The answer ended in another way, such as a content filter.
    """
    choice = completion["choices"][0]
    finish, message = choice.get("finish_reason"), choice["message"]
    if finish not in ("stop", "length"):
        raise Refused(f"the answer ended with {finish!r}, which is no answer")
    # A model's own refusal is what it had to say.
    content = message.get("content") or message.get("refusal") or ""
    if isinstance(content, list):
        content = "".join(str(_mapping(part).get("text", "")) for part in content)
    return str(content).strip(), finish


def usage(completion: Mapping[str, Any]) -> dict[str, float]:
    """Token counts, as far as the server tells them."""
    told = _mapping(completion.get("usage"))
    counts = {
        "input_tokens": told.get("prompt_tokens"),
        "output_tokens": told.get("completion_tokens"),
        "audio_tokens": _mapping(told.get("prompt_tokens_details")).get("audio_tokens"),
    }
    return {name: count for name, count in counts.items() if isinstance(count, int)}


def _mapping(node: object) -> Mapping[str, Any]:
    return node if isinstance(node, dict) else {}


def label_scores(completion: Mapping[str, Any], choices: Sequence[Choice]) -> dict[str, float]:
    """Log-probability, nats, of each label as the answer's first token, with or without a space.

    Raises
    ------
    NoLogprobs
        The server does not tell.
    Refused
        A label is not among the likeliest tokens: what it scores is not known, and not guessed.
    """
    found: dict[str, list[float]] = {}
    try:
        for entry in completion["choices"][0]["logprobs"]["content"][0]["top_logprobs"]:
            token = str(entry["token"]).strip(_SPACES)
            found.setdefault(token, []).append(float(entry["logprob"]))
    except (LookupError, TypeError, ValueError):
        raise NoLogprobs("the server gives no logprobs; use generation.mode=generate") from None
    missing = [c.label for c in choices if c.label not in found]
    if missing:
        raise Refused(
            f"{', '.join(missing)} not among the {TOP_LOGPROBS} likeliest first tokens that the "
            "server tells of; use generation.mode=generate"
        )
    return {c.label: _logsumexp(found[c.label]) for c in choices}


def _logsumexp(values: Sequence[float]) -> float:
    top = max(values)
    return top + math.log(sum(math.exp(v - top) for v in values))
