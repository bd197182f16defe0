"""Answers without words: option labels and texts compared by their likelihood.

- `letter_likelihood`: log p(label | prompt). A label may be written right after the prompt or after
  a space, and tokenizers tell the two apart; both are evaluated and their probabilities added, so
  that the score is that of an answer which begins with the label, whichever way.
- `option_pmi`: log p(option text | question) - log p(option text | "Answer:"), the question being
  asked without its options (Holtzman et al., 2021, "Surface form competition"). A leading space is
  written exactly when the context does not end in white space, as in running text.

Ties go to the option that stands first.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lalm_bench.errors import ModelError
from lalm_bench.types import Message, Request, Text

if TYPE_CHECKING:
    from lalm_bench.engine.likelihood import Tokens
    from lalm_bench.engine.resident import Comparison, Resident
    from lalm_bench.engine.stream import Prepared

_PRIOR_CONTEXT = "Answer:"


@dataclass
class OptionComparison:
    """The likelihood modes of one resident network."""

    resident: Resident
    _priors: dict[str, float] = field(default_factory=dict)

    def comparison(self, mode: str) -> Comparison:
        """An empty batch whose items are answered in `mode`."""
        from lalm_bench.engine.resident import Comparison

        if mode == "letter_likelihood":
            return Comparison(self.resident, self._labels, _added)
        return Comparison(self.resident, self._texts, self._against_prior)

    def _labels(self, item: Prepared) -> list[tuple[str, Tokens]]:
        forms = []
        for choice in item.request.choices:
            # A set: some tokenizers write both ways with the same tokens.
            for form in sorted({self._tokens(choice.label), self._tokens(f" {choice.label}")}):
                forms.append((choice.label, form))
        return forms

    def _texts(self, item: Prepared) -> list[tuple[str, Tokens]]:
        last = item.inputs["input_ids"][0, -1:].tolist()
        gap = "" if self._tokenizer.decode(last)[-1:].isspace() else " "
        return [(c.label, self._tokens(gap + c.text)) for c in item.request.choices]

    def _against_prior(self, item: Prepared, logprobs: list[tuple[str, float]]) -> dict[str, float]:
        texts = {c.label: c.text for c in item.request.choices}
        self._learn_priors(texts.values())
        return {label: value - self._priors[texts[label]] for label, value in logprobs}

    def _learn_priors(self, texts: Iterable[str]) -> None:
        new = [text for text in dict.fromkeys(texts) if text not in self._priors]
        if new:
            context = list(self._tokenizer(_PRIOR_CONTEXT)["input_ids"])
            values = self.resident.logprobs(context, [self._tokens(f" {text}") for text in new])
            self._priors.update(zip(new, values, strict=True))

    @property
    def _tokenizer(self) -> Any:
        return self.resident.tokenizer

    def _tokens(self, text: str) -> Tokens:
        # `encode` of Mistral's own tokenizer has no other way to leave special tokens out.
        tokens = tuple(self._tokenizer.encode(text, add_special_tokens=False))
        if not tokens:
            raise ModelError(f"the tokenizer has no token for the option {text!r}; mend its text")
        return tokens


def demand_choices(request: Request) -> None:
    """ModelError when there is nothing to compare."""
    if request.generation.mode != "generate" and not request.choices:
        raise ModelError(
            f"generation.mode={request.generation.mode} compares options, but the item has none"
        )


def without_options(request: Request) -> tuple[Message, ...]:
    """The system turns, then the bare question."""
    if not request.question:
        raise ModelError(
            "generation.mode=option_pmi needs the bare question, which this task does not give; "
            "use letter_likelihood"
        )
    system = [m for m in request.messages if m.role == "system"]
    return (*system, Message("user", (Text(request.question),)))


def _added(item: Prepared, logprobs: list[tuple[str, float]]) -> dict[str, float]:
    """Probabilities of a label's forms added."""
    forms: dict[str, list[float]] = {}
    for label, value in logprobs:
        forms.setdefault(label, []).append(value)
    return {label: _logsumexp(values) for label, values in forms.items()}


def _logsumexp(values: Sequence[float]) -> float:
    top = max(values)
    return top + math.log(sum(math.exp(v - top) for v in values))
