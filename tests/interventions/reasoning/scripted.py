"""A stand-in for a model that reasons: it writes chains by rule, and believes what it has reasoned.

It cannot hear. What it "finds" is drawn from its clip's digest; where a chain is given it answers
with the option that the chain names last, so what an intervention does to a chain can be foretold.
"""

from __future__ import annotations

import os
import re
import signal
from dataclasses import dataclass

from lalm_bench import audio
from lalm_bench.models.base import ModelBase
from lalm_bench.types import Response, Text

KILL = "SCRIPTED_KILL_AFTER"


@dataclass
class Scripted(ModelBase):
    name: str = "scripted"
    rate: int | None = 16000
    # One of so many clips gets no reasoning, and one of so many a single sentence.
    silent_every: int = 5
    # It writes nothing where it is asked for a mistake, a paraphrase or a rationale.
    mute: bool = False

    def __post_init__(self):
        self._left = int(os.environ.get(KILL, "-1"))

    def answer(self, requests):
        for request in requests:
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            self._left -= 1
            muted = self.mute and request.step in ("mistake", "paraphrase", "rationale")
            said = "" if muted else getattr(self, f"_{request.step}")(request)
            yield Response(request.key, request.sample_id, said, variant=request.variant)

    def _chain(self, request):
        pick = drawn(request)
        if pick % self.silent_every == 0:
            return ""
        if pick % self.silent_every == 1:
            return "It cannot be told."
        found = request.choices[pick % len(request.choices)]
        return (
            f" First I listen to the clip. There is a sound in it! It suits {found.text} well."
            f" Nothing else fits.\nSo the answer is ({found.label})."
        )

    def _answer(self, request):
        said = text(request)
        if "step by step about" in said and not said.endswith("Answer:"):
            return self._chain(request) + f"\nAnswer: {self._chosen(request, '')}"
        return f"({self._chosen(request, given(request))})"

    def _chosen(self, request, chain):
        named = [(chain.rfind(c.text), c.label) for c in request.choices]
        best = max(named)
        return best[1] if best[0] >= 0 else request.choices[drawn(request) % len(named)].label

    def _mistake(self, request):
        sentence = re.findall(r"Sentence: (.*)", text(request))[-1]
        return f"{sentence[:-1]} never{sentence[-1]}\nSentence: more of the same."

    def _continuation(self, request):
        chain = given(request)
        other = [c for c in request.choices if c.text not in chain][-1]
        return f"No, it suits {other.text}. So the answer is ({other.label})."

    def _paraphrase(self, request):
        return "Put otherwise, " + text(request).rpartition("\n\n")[2]

    def _rationale(self, request):
        wanted = re.findall('answer "(.*)"', text(request))[-1]
        return f"It is quiet at first. All of it speaks for {wanted}."


def text(request):
    """All the words of a request."""
    parts = [p.text for m in request.messages for p in m.parts if isinstance(p, Text)]
    return "\n".join(parts)


def given(request):
    """The words of the assistant's turns."""
    turns = [m for m in request.messages if m.role == "assistant"]
    return "\n".join(p.text for m in turns for p in m.parts if isinstance(p, Text))


def drawn(request):
    """A number that depends on the clips alone."""
    return sum(map(ord, "".join(audio.digest(clip, 16000) for clip in request.clips())))
