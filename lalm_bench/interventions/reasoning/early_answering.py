"""The chain cut short: from where on it decides the answer.

Lanham et al. (2023), arXiv 2307.13702.
"""

from __future__ import annotations

from dataclasses import dataclass

from lalm_bench.interventions.audio_edit import demand_share
from lalm_bench.interventions.reasoning.base import ReasoningIntervention, given_back, protocol_of
from lalm_bench.interventions.reasoning.levels import nearest
from lalm_bench.parsing.sentences import sentences
from lalm_bench.types import Context, Request, Sample


def begun(chain: str, level: float) -> str:
    """The first sentences: `level` of them, to the nearest whole number.

    Examples
    --------
    >>> begun("It barks. Loudly. Thus a dog.", 0.6)
    'It barks. Loudly.'
    """
    pieces = sentences(chain)
    return "".join(pieces[: nearest(level, len(pieces))]).rstrip()


@dataclass(frozen=True, kw_only=True)
class EarlyAnswering(ReasoningIntervention):
    """Reasoning intervention `early_answering`.

    Parameters
    ----------
    level : float
        Share of the sentences that is kept. Where that is none, the answer is asked for without
        reasoning, as in the published procedure.
    """

    level: float
    name: str = "early_answering"

    def __post_init__(self) -> None:
        super().__post_init__()
        demand_share("intervention.level", self.level)

    def change(self, chain: str, sample: Sample, request: Request, context: Context) -> Request:
        """The final answer, asked after the beginning of the chain."""
        kept = begun(chain, self.level)
        if not kept:
            return protocol_of(self.name, context).without_reasoning(sample, request)
        return given_back(self.name, kept, sample, request, context)
