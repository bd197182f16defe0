"""Requests in which a model first writes something: a paraphrase, a mistake, a rationale."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lalm_bench import prompts
from lalm_bench.errors import ConfigError
from lalm_bench.types import Audio, AudioSource, Generation, Message, Request, Text

if TYPE_CHECKING:
    import numpy as np

RATE = 16_000


@dataclass(frozen=True, slots=True)
class SilentClip:
    """Digital silence, for models that refuse a request without a clip.

    Parameters
    ----------
    length_s : float
        One second in the audio faithfulness study.
    """

    length_s: float = 1.0

    def content(self) -> str:
        """Length and rate determine every sample."""
        return f"silence:{self.length_s}s:{RATE}"

    def seconds(self) -> float:
        """Duration of the clip."""
        return self.length_s

    def synthesise(self) -> tuple[np.ndarray, int]:
        """Zeros of shape (samples,), float32, and 16000 Hz."""
        import numpy as np

        return np.zeros(round(self.length_s * RATE), np.float32), RATE


@dataclass(frozen=True, slots=True, kw_only=True)
class Step(Request):
    """A request whose answer goes into the next one, with what the next one is made from.

    Parameters
    ----------
    origin : Request
        The item's own request, with the clips to hear.
    before, after : str
        Parts of the chain around what is being written.
    """

    origin: Request
    before: str = ""
    after: str = ""


@dataclass(frozen=True)
class Writer:
    """How the model is asked to write, without the item's clip.

    Parameters
    ----------
    prompt : str
        Template of the user turn. `{question}`, `{options}`, `{choices}` and `{labels}` are the
        item's; what else may stand there depends on what is to be written.
    max_new_tokens : int
    temperature, top_p : float
    silent_clip : bool
        Put one second of silence before the text.
    """

    prompt: str
    max_new_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    silent_clip: bool = False

    def demand(self, *fields: str) -> None:
        """ConfigError unless the prompt has a place for each of `fields`."""
        for name in fields:
            if f"{{{name}}}" not in self.prompt:
                raise ConfigError(
                    f"intervention.writer.prompt has no {{{name}}}, which is what it is asked about"
                )

    def step(
        self,
        name: str,
        request: Request,
        values: Mapping[str, str],
        before: str = "",
        after: str = "",
    ) -> Step:
        """Ask for a text about `values`; the answer is for the step `name` of `request`'s item."""
        text = Text(fill(self.prompt, request, values))
        silence = (Audio(AudioSource(SilentClip())),) if self.silent_clip else ()
        return Step(
            sample_id=request.sample_id,
            messages=(Message("user", (*silence, text)),),
            generation=Generation(self.max_new_tokens, self.temperature, self.top_p),
            variant=request.variant,
            step=name,
            origin=request,
            before=before,
            after=after,
        )


def fill(template: str, request: Request, values: Mapping[str, str]) -> str:
    """The template with the item's question and options, and with `values`.

    Filled piece by piece: what stands in a value or in the question is no place to fill.
    """
    places = re.compile("|".join([re.escape(f"{{{name}}}") for name in values]) or r"(?!)")
    pieces = [prompts.render(p, request.question, request.choices) for p in places.split(template)]
    found = [values[match[0][1:-1]] for match in places.finditer(template)]
    return "".join([a + b for a, b in zip(pieces, [*found, ""], strict=True)])


def joined(before: str, after: str) -> str:
    """Two texts with white space between them; a blank where neither brings any."""
    blank = before and after and not (before[-1].isspace() or after[0].isspace())
    return f"{before}{' ' if blank else ''}{after}"
