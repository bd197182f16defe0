"""What interventions on reasoning share: the baseline's chain, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from lalm_bench.errors import ConfigError
from lalm_bench.interventions.reasoning.baseline import Baseline
from lalm_bench.parsing.sentences import sentences
from lalm_bench.protocols import Protocol
from lalm_bench.types import Context, Json, Request, Sample, Skip


@dataclass(frozen=True, kw_only=True)
class ReasoningIntervention:
    """Gives the baseline's reasoning back, changed, and asks for the final answer.

    Parameters
    ----------
    baseline : str
        Folder of the finished run whose reasoning is used.
    name : str
    allow_other_model : bool
        The reasoning may be another model's, or made under another protocol.
    restrict : (int, int), optional
        Fewest and most sentences of the chains that are used; others are skipped.

    Raises
    ------
    ConfigError
        A setting is wrong.
    """

    gives_reasoning: ClassVar[bool] = True

    baseline: str
    name: str
    allow_other_model: bool = False
    restrict: Sequence[int] | None = None

    def __post_init__(self) -> None:
        bounds = self.restrict
        if bounds is not None and not (
            isinstance(bounds, list | tuple)
            and len(bounds) == 2
            and all(type(bound) is int for bound in bounds)
            and 1 <= bounds[0] <= bounds[1]
        ):
            raise ConfigError(
                f"intervention.restrict={bounds!r} must be the fewest and the most sentences, "
                "e.g. [1,6], or null"
            )

    @cached_property
    def past(self) -> Baseline:
        """The baseline; nothing is read before it is asked for a decision."""
        return Baseline(Path(self.baseline))

    def inputs(self) -> list[Path]:
        """Files besides the baseline that decide what is asked."""
        return []

    def report(self) -> dict[str, Json]:
        """What reading the files left out."""
        return {}

    def check(self, config: Mapping[str, Any]) -> None:
        """Refuse a baseline of another task, model or protocol; `config` is the run's, resolved."""
        self.past.demand_same(config, self.allow_other_model)

    def apply(self, sample: Sample, request: Request, context: Context) -> Request | Skip:
        """The request with the changed chain, or a first step towards it."""
        protocol = protocol_of(self.name, context)
        decision = self.past.decision(sample, request.variant)
        if decision is None:
            return Skip("no answer in the baseline")
        if not decision.reasoning.strip() and not (decision.chain or "").strip():
            return Skip("no reasoning in the baseline")
        chain = decision.given_back(protocol)
        if not chain:
            return Skip("the baseline's reasoning is one sentence, which its protocol drops")
        if self.restrict is not None:
            fewest, most = self.restrict
            if not fewest <= len(sentences(chain)) <= most:
                return Skip("the number of sentences is outside intervention.restrict")
        return self.change(chain, sample, request, context)

    def change(
        self, chain: str, sample: Sample, request: Request, context: Context
    ) -> Request | Skip:
        """The request after the intervention on `chain`, which is not empty."""
        raise TypeError(f"{type(self).__name__} must define change()")


def protocol_of(name: str, context: Context) -> Protocol:
    """The run's protocol; ConfigError where it has none."""
    if context.protocol is None:
        raise ConfigError(
            f"intervention={name} gives reasoning back in the way of a protocol: add "
            "protocol=two_turn, reasoning, af3_reasoning or qwen_reasoning"
        )
    return context.protocol


def given_back(
    name: str, chain: str, sample: Sample, request: Request, context: Context
) -> Request:
    """Ask for the final answer with `chain` as the reasoning."""
    return protocol_of(name, context).give_back(sample, request, chain)
