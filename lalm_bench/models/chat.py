"""Messages of a request in the form that chat templates expect."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from lalm_bench.types import Audio, Message, Text


def fold_system(messages: Sequence[Message]) -> list[Message]:
    """System turns moved, as text, to the front of the first user turn after them.

    For templates and tokenizers that know no system role. The order of parts stays; a system turn
    without a user turn behind it becomes one.
    """
    folded: list[Message] = []
    waiting: list[Text | Audio] = []
    for message in messages:
        if message.role == "system":
            waiting += [*message.parts, Text("\n\n")]
        elif message.role == "user" and waiting:
            folded.append(replace(message, parts=(*waiting, *message.parts)))
            waiting = []
        else:
            folded.append(message)
    if waiting:
        folded.append(Message("user", tuple(waiting[:-1])))
    return folded


def spoken(
    messages: Sequence[Message],
    waves: Sequence[Sequence[np.ndarray]],
    audio_part: Callable[..., Any],
) -> list[dict[str, Any]]:
    """Turns whose content is a list of typed parts, in the order of the messages.

    Parameters
    ----------
    messages : sequence of Message
    waves : sequence of sequence of numpy.ndarray
        For each audio part, in order, the pieces it is heard in, each of shape (samples,).
    audio_part : callable
        Waveform -> the part as the processor wants it.
    """
    rest = iter(waves)
    return [{"role": m.role, "content": list(_parts(m, rest, audio_part))} for m in messages]


def written(messages: Sequence[Message]) -> list[dict[str, str]]:
    """Turns whose content is text; audio parts are dropped, text parts joined as they stand."""
    return [{"role": m.role, "content": _text(m)} for m in messages]


def plain(messages: Sequence[Message]) -> str:
    """Prompt for a model without a chat template: the turns' texts, then `Answer:`."""
    return "\n".join([*filter(None, map(_text, messages)), "Answer:"])


def array_part(wave: np.ndarray) -> dict[str, Any]:
    """Audio part that carries the samples themselves."""
    return {"type": "audio", "audio": wave}


def base64_part(wave: np.ndarray, rate: int) -> dict[str, Any]:
    """Audio part that carries a float32 WAV file (no loss against the samples) in base64."""
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, wave, rate, format="WAV", subtype="FLOAT")
    return {"type": "audio", "base64": base64.b64encode(file.getvalue()).decode("ascii")}


def _parts(
    message: Message, waves: Iterator[Sequence[np.ndarray]], audio_part: Callable[..., Any]
) -> Iterator[dict[str, Any]]:
    for part in message.parts:
        if isinstance(part, Audio):
            yield from map(audio_part, next(waves))
        else:
            yield {"type": "text", "text": part.text}


def _text(message: Message) -> str:
    return "".join(part.text for part in message.parts if isinstance(part, Text))
