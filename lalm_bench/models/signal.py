"""A listener made of signal processing: it shows what the waveform alone gives away.

It gets the same request as any model, reads the prompt and the options, and measures the clip.
Where it is right, the item is answerable; where a language model then fails, the fault is the
model's.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from lalm_bench import audio
from lalm_bench.errors import AudioError, one_line
from lalm_bench.models.base import ModelBase
from lalm_bench.models.sound_events import detect
from lalm_bench.models.sound_questions import pick, understand
from lalm_bench.randomness import derive
from lalm_bench.types import Json, Request, Response, Text

CANNOT_TELL = "I cannot tell."
VERSION = 1


@dataclass
class SignalListener(ModelBase):
    """Answers questions about order, number, length, level, pitch and shape of sounds.

    Parameters
    ----------
    name : str
    rate : int
        Rate it hears at, Hz.
    guesses : bool
        Draw an option by item where it cannot tell, so that it falls to chance where it is made
        deaf. False: it says "I cannot tell.", which is no answer, and falls to 0.

    Notes
    -----
    It cannot tell where a question lies outside its rules, for a request with no clip or several,
    for silence, and for sounds that do not fit the question.
    """

    name: str = "signal"
    rate: int | None = 16_000
    guesses: bool = False

    def identity(self) -> dict[str, Json]:
        """Version of the rules."""
        guesses: dict[str, Json] = {"guesses": True} if self.guesses else {}
        return {"rules": VERSION, "rate": self.rate, **guesses}

    def answer(self, requests: Iterable[Request]) -> Iterator[Response]:
        """One answer per request, in order; an unreadable clip is an error of its own."""
        for request in requests:
            started = time.perf_counter()
            text, finish, error = CANNOT_TELL, "stop", None
            heard: dict[str, float] = {}
            try:
                text = self._listen(request, heard) or self._unsure(request)
            except AudioError as unreadable:
                text, finish = "", "error"
                error = f"{request.sample_id}: {one_line(unreadable)}"
            yield Response(
                request.key,
                request.sample_id,
                text,
                finish,
                request.variant,
                usage=heard or None,
                timing={"listen": time.perf_counter() - started},
                error=error,
            )

    def _unsure(self, request: Request) -> str:
        if not self.guesses or not request.choices:
            return CANNOT_TELL
        drawn = derive(VERSION, request.sample_id, request.variant, "guess")
        return request.choices[drawn % len(request.choices)].label

    def _listen(self, request: Request, heard: dict[str, float]) -> str | None:
        clips = request.clips()
        parts = [p.text for m in request.messages for p in m.parts if isinstance(p, Text)]
        rule = understand("\n".join(parts))
        if rule is None or len(clips) != 1 or self.rate is None:
            return None
        word = rule(detect(audio.render(clips[0], self.rate, heard), self.rate))
        return None if word is None else pick(word, request.choices)
