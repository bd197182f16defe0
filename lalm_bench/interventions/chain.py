"""Several interventions, one after the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lalm_bench.errors import ConfigError
from lalm_bench.randomness import derive
from lalm_bench.types import (
    Context,
    Follows,
    Intervention,
    Json,
    Request,
    Response,
    Sample,
    Skip,
)


@dataclass(frozen=True)
class Chain:
    """Intervention `chain`.

    Parameters
    ----------
    steps : mapping of str to Intervention
        Applied in the order of their names: numbers by size, then words by the alphabet. The order
        in which they were written down means nothing, as in any mapping.
    """

    steps: Mapping[str, Intervention] = field(default_factory=dict)
    name: str = "chain"

    def __post_init__(self) -> None:
        if not isinstance(self.steps, Mapping) or not self.steps:
            raise ConfigError(
                "intervention=chain needs steps: add +intervention@intervention.steps.1=mask "
                "+intervention@intervention.steps.2=noise to the command"
            )
        for name, step in self.steps.items():
            if not hasattr(step, "apply"):
                raise ConfigError(
                    f"intervention.steps.{name} is no intervention; compose it with "
                    f"+intervention@intervention.steps.{name}=NAME"
                )

        *before, _ = self._ordered()
        if thinks := [step.name for step in before if getattr(step, "gives_reasoning", False)]:
            raise ConfigError(
                f"intervention=chain: {thinks[0]} asks for the final answer, so it must be the "
                "last step"
            )

    @property
    def gives_reasoning(self) -> bool:
        """Whether its last step puts reasoning in front of the answer."""
        return getattr(self._ordered()[-1], "gives_reasoning", False)

    def inputs(self) -> list[Path]:
        """Files that the steps depend on."""
        return [path for step in self._ordered() for path in getattr(step, "inputs", list)()]

    def check(self, config: Mapping[str, Any]) -> None:
        """Let each step refuse a run that it does not fit."""
        for step in self._ordered():
            if hasattr(step, "check"):
                step.check(config)

    def report(self) -> dict[str, Json]:
        """What each step's files left out."""
        return {s.name: s.report() for s in self._ordered() if hasattr(s, "report")}

    def apply(self, sample: Sample, request: Request, context: Context) -> Request | Skip:
        """The request after all steps; the first refusal is the chain's."""
        met: Counter[str] = Counter()
        for step in self._ordered():
            # A second step of a kind draws anew; the first one draws as it would alone.
            again = met[step.name]
            seed = derive(context.seed, "step", str(again)) if again else context.seed
            met[step.name] += 1
            changed = step.apply(sample, request, replace(context, seed=seed))
            if isinstance(changed, Skip):
                return changed
            request = changed
        return request

    def follow(
        self, sample: Sample, request: Request, response: Response, context: Context
    ) -> Request | Skip | None:
        """What follows an answer to the last step."""
        last = self._ordered()[-1]
        return (
            last.follow(sample, request, response, context) if isinstance(last, Follows) else None
        )

    def _ordered(self) -> list[Intervention]:
        def place(name: object) -> tuple[bool, int, str]:
            text = str(name)
            return (not text.isdecimal(), int(text) if text.isdecimal() else 0, text)

        return [self.steps[name] for name in sorted(self.steps, key=place)]
