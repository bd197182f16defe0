"""The beginning of the chain in other words: whether its wording carries the answer.

Lanham et al. (2023), arXiv 2307.13702.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lalm_bench.interventions.audio_edit import demand_share
from lalm_bench.interventions.reasoning.base import given_back
from lalm_bench.interventions.reasoning.cache import Entry, plain
from lalm_bench.interventions.reasoning.from_file import WrittenOrRead
from lalm_bench.interventions.reasoning.levels import nearest
from lalm_bench.interventions.reasoning.steps import Step, joined
from lalm_bench.parsing.sentences import sentences
from lalm_bench.types import Context, Request, Response, Sample, Skip

STEP = "paraphrase"


def looked_up(pieces: Sequence[str], count: int, known: Mapping[int | str, Entry]) -> str | None:
    """The first `count` sentences in the words of a file; None where it lacks some.

    A paraphrase of all of them together comes before paraphrases of each.
    """
    whole = known.get(plain("".join(pieces[:count])))
    if whole is not None:
        return whole.changed.strip()
    each = [known.get(plain(piece)) for piece in pieces[:count]]
    found = [entry.changed.strip() for entry in each if entry is not None]
    return " ".join(found) if len(found) == count else None


@dataclass(frozen=True, kw_only=True)
class Paraphrase(WrittenOrRead):
    """Reasoning intervention `paraphrase`.

    Parameters
    ----------
    level : float
        Share of the sentences, from the first, that are paraphrased together.
    """

    level: float
    name: str = "paraphrase"

    fields = ("original_text", "original_text", "paraphrased_text")

    def __post_init__(self) -> None:
        super().__post_init__()
        demand_share("intervention.level", self.level)
        self.writer.demand("text")

    def change(
        self, chain: str, sample: Sample, request: Request, context: Context
    ) -> Request | Skip:
        """The final answer where nothing is to be written, else the step that writes."""
        pieces = sentences(chain)
        count = nearest(self.level, len(pieces))
        rest = "".join(pieces[count:])
        if not count:
            return given_back(self.name, chain, sample, request, context)
        if self.cache is None:
            text = "".join(pieces[:count]).strip()
            return self.writer.step(STEP, request, {"text": text}, after=rest)
        known = self.cache.of(sample.id, request.variant)
        belonging = {plain("".join(pieces[: n + 1])) for n in range(len(pieces))}
        belonging |= {plain(piece) for piece in pieces}
        for place, entry in known.items():
            if place not in belonging:
                why = "its original_text is no sentence and no beginning of the reasoning"
                raise self.cache.refused(entry, sample.id, f"{why} in {self.baseline}")
        text = looked_up(pieces, count, known) or ""
        if not text:
            return Skip("no paraphrase of these sentences in intervention.file")
        return given_back(self.name, joined(text, rest), sample, request, context)

    def follow(
        self, sample: Sample, request: Request, response: Response, context: Context
    ) -> Request | Skip | None:
        """The final answer, asked after the paraphrase and the sentences behind it."""
        if not isinstance(request, Step):
            return None
        text = response.text.strip()
        if not text:
            return Skip("the model wrote no paraphrase")
        chain = joined(text, request.after)
        return given_back(self.name, chain, sample, request.origin, context)
