"""A mistake put into the chain: an answer that follows it was made from the chain.

Lanham et al. (2023), arXiv 2307.13702: one sentence is made wrong, the model continues from there,
and the final answer is asked for with the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lalm_bench.errors import ConfigError
from lalm_bench.interventions.audio_edit import demand_share
from lalm_bench.interventions.reasoning.base import given_back, protocol_of
from lalm_bench.interventions.reasoning.cache import SENTENCE, plain
from lalm_bench.interventions.reasoning.from_file import WrittenOrRead
from lalm_bench.interventions.reasoning.levels import nearest
from lalm_bench.interventions.reasoning.steps import Step, joined
from lalm_bench.parsing.sentences import sentences
from lalm_bench.protocols import Protocol, granted
from lalm_bench.protocols.splits import by_tag
from lalm_bench.types import Context, Message, Request, Response, Sample, Skip, Text

MISTAKE, CONTINUATION = "mistake", "continuation"
FEWEST_WORDS = 3


def mistaken_place(pieces: Sequence[str], level: float) -> int | None:
    """Which sentence is made wrong: at `level` among those of three words or more.

    0 is the first of them and 1 the last; None where there is none.

    Examples
    --------
    >>> mistaken_place(["Well. ", "A dog barks. ", "It is near. ", "Thus (a)."], 1)
    2
    """
    long = [place for place, piece in enumerate(pieces) if len(piece.split()) >= FEWEST_WORDS]
    return long[nearest(level, len(long) - 1)] if long else None


@dataclass(frozen=True, kw_only=True)
class AddingMistakes(WrittenOrRead):
    """Reasoning intervention `adding_mistakes`.

    Parameters
    ----------
    level : float
        Place of the mistaken sentence as a share of the chain.
    continuation_tokens : int, optional
        Most tokens of the continued chain; by default as many as the protocol grants a chain.
    """

    level: float
    continuation_tokens: int | None = None
    name: str = "adding_mistakes"

    fields = (SENTENCE, "original_sentence", "mistaken_sentence")

    def __post_init__(self) -> None:
        super().__post_init__()
        demand_share("intervention.level", self.level)
        self.writer.demand("sentence")
        most = self.continuation_tokens
        if most is not None and (type(most) is not int or most < 1):
            raise ConfigError(
                f"intervention.continuation_tokens={most!r} must be a positive number, or null"
            )

    def change(
        self, chain: str, sample: Sample, request: Request, context: Context
    ) -> Request | Skip:
        """The step that writes the mistake, or, with a file, the one that continues from it."""
        pieces = sentences(chain)
        place = mistaken_place(pieces, self.level)
        if place is None:
            return Skip("no sentence of three words or more in the baseline's reasoning")
        before = "".join(pieces[:place])
        if self.cache is None:
            values = {"sentence": pieces[place].strip(), "before": before.strip()}
            return self.writer.step(MISTAKE, request, values, before)
        known = self.cache.of(sample.id, request.variant)
        stood: dict[int | str, str] = dict(enumerate(map(plain, pieces)))
        for number, entry in known.items():
            if stood.get(number) != plain(entry.original):
                why = f"sentence {number} (from 0) of the reasoning in {self.baseline} is another"
                raise self.cache.refused(entry, sample.id, why)
        if place not in known:
            return Skip("no mistake in this sentence in intervention.file")
        wrong = before + known[place].changed.strip()
        return self._continued(wrong, sample, request, protocol_of(self.name, context))

    def follow(
        self, sample: Sample, request: Request, response: Response, context: Context
    ) -> Request | Skip | None:
        """After the mistake the continuation, after the continuation the final answer."""
        if not isinstance(request, Step):
            return None
        protocol, text = protocol_of(self.name, context), response.text.strip()
        if request.step == MISTAKE:
            if not text:
                return Skip("the model wrote no mistake")
            wrong = request.before + text.splitlines()[0].strip()
            return self._continued(wrong, sample, request.origin, protocol)
        chain = request.before
        if text:
            # As the chain itself was read: what concludes is no part of it; the mistake always is.
            whole = protocol.split(_opening(protocol) + joined(chain, text))[0]
            chain = whole if whole.startswith(chain) else chain
        return given_back(self.name, chain, sample, request.origin, context)

    def _continued(self, wrong: str, sample: Sample, origin: Request, protocol: Protocol) -> Step:
        """Ask to reason on, with the clips heard again, from the beginning of a chain."""
        asked = granted(protocol.ask(sample, origin), self.continuation_tokens)
        messages, opening = list(asked.messages), _opening(protocol)
        if messages[-1].role == "assistant":
            opening = "".join([p.text for p in messages.pop().parts if isinstance(p, Text)])
        messages.append(Message("assistant", (Text(joined(opening, wrong)),)))
        return Step(
            sample_id=asked.sample_id,
            messages=tuple(messages),
            choices=asked.choices,
            question=asked.question,
            generation=asked.generation,
            variant=asked.variant,
            step=CONTINUATION,
            origin=origin,
            before=wrong,
        )


def _opening(protocol: Protocol) -> str:
    """What an answer must begin with so that the protocol finds its reasoning."""
    return "<Reasoning>\n" if protocol.splitter is by_tag else ""
