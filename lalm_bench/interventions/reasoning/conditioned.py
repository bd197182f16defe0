"""The model's own reasoning given back: what answer follows from it."""

from __future__ import annotations

from dataclasses import dataclass

from lalm_bench.interventions.reasoning.base import ReasoningIntervention, given_back
from lalm_bench.types import Context, Request, Sample


@dataclass(frozen=True, kw_only=True)
class Conditioned(ReasoningIntervention):
    """Reasoning intervention `conditioned`: the chain word for word."""

    name: str = "conditioned"

    def change(self, chain: str, sample: Sample, request: Request, context: Context) -> Request:
        """The final answer, asked with the chain as it was."""
        return given_back(self.name, chain, sample, request, context)
