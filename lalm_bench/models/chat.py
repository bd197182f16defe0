"""Messages of a request in the form that chat templates expect."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
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


def opened(messages: Sequence[Message]) -> tuple[list[Message], str]:
    """The turns before the answer, and the beginning of the answer where one is given, else "".

    Examples
    --------
    >>> opened([Message("user", (Text("Who?"),)), Message("assistant", (Text("It is"),))])[1]
    'It is'
    """
    if messages and messages[-1].role == "assistant":
        return list(messages[:-1]), _text(messages[-1])
    return list(messages), ""


def continuing(template: str | None, opening: str) -> tuple[str | None, dict[str, str]]:
    """A Jinja template that writes `opening` behind its generation prompt, and its variables.

    Templates end a finished turn in ways of their own (trimmed, with an end mark), so an unfinished
    one is not rendered as a turn.
    """
    if template is None or not opening:
        return template, {}
    # Jinja drops one line break at the end of a template, and no longer once something follows.
    return re.sub(r"(?:\r\n|\r|\n)\Z", "", template) + "{{ opening }}", {"opening": opening}


def extended(inputs: Mapping[str, Any], tokens: Sequence[int]) -> dict[str, Any]:
    """Features of one item with `tokens` behind its prompt; for prompts that no template writes."""
    import torch

    ids = torch.tensor([list(tokens)])
    further = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    return dict(inputs) | {k: torch.cat([inputs[k], v], dim=1) for k, v in further.items()}


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
    """Prompt for a model without a chat template: the turns' texts, then `Answer:`.

    The beginning of an answer follows that.
    """
    turns, opening = opened(messages)
    prompt = "\n".join([*filter(None, map(_text, turns)), "Answer:"])
    return f"{prompt} {opening.lstrip()}" if opening else prompt


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
