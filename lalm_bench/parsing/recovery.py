"""A second rule for answers in which the first one found no label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lalm_bench.errors import ConfigError
from lalm_bench.parsing import Parsed
from lalm_bench.parsing.recovery_rules import RULES
from lalm_bench.types import Choice

NULLS, ALL = "nulls", "all"
# A model that declines has answered: words in its refusal are no choice.
_FINAL = frozenset({"refusal", "empty"})


@dataclass(frozen=True, kw_only=True)
class Recovery:
    """Which answers are read again, and how.

    Parameters
    ----------
    rule : str
        stem, overlap or overlap_conditioned: see `lalm_bench.parsing.recovery_rules`.
    when : str
        nulls: answers without a label, refusals aside. all: every answer, as the audio faithfulness
        study did; that also changes and loses labels.
    negation_guard : bool
        Pass over options that are named only to be ruled out.

    Raises
    ------
    ConfigError
        A setting is none of what it may be.
    """

    rule: str = "stem"
    when: str = NULLS
    negation_guard: bool = True

    def __post_init__(self) -> None:
        for name, allowed in (("rule", tuple(RULES)), ("when", (NULLS, ALL))):
            value = getattr(self, name)
            if value not in allowed:
                raise ConfigError(
                    f"task.recover.{name}={value} must be one of {', '.join(allowed)}"
                )

    def __call__(self, first: Parsed, text: str, choices: Sequence[Choice]) -> Parsed | None:
        """What the second rule reads; None when what `first` says stands."""
        if self.when == ALL:
            return RULES[self.rule](text, choices, guard=self.negation_guard)
        if first.label is not None or first.stage in _FINAL:
            return None
        found = RULES[self.rule](text, choices, guard=self.negation_guard)
        return None if found.label is None else found
