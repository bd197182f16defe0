"""A language model that only reads: what the words alone give away.

Besides free text it can compare the options itself, which needs no parser and no obedience:

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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lalm_bench.errors import ModelError
from lalm_bench.models import chat
from lalm_bench.models.pretrained import Pretrained, demand
from lalm_bench.types import MODES, Json, Message, Request, Response, Runtime, Text

if TYPE_CHECKING:
    from lalm_bench.engine.likelihood import Tokens
    from lalm_bench.engine.stream import Prepared

_PRIOR_CONTEXT = "Answer:"


@dataclass(kw_only=True)
class TextModel(Pretrained):
    """Any causal language model; audio parts are dropped. See `Pretrained` for the other settings.

    A model without a chat template gets the messages' texts and `Answer:` as a plain prompt.

    Parameters
    ----------
    system_role : str
        native, or prepend to put system text at the front of the first user turn.
    """

    system_role: str = "native"
    modes = MODES

    tokenizer: Any = field(default=None, init=False, repr=False)
    _priors: dict[str, float] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        demand(self.system_role, "system_role", ("native", "prepend"))

    def class_name(self) -> str:
        """The class asked for, or the one that transformers picks for a causal language model."""
        return self.model_class or "AutoModelForCausalLM"

    def identity(self) -> dict[str, Json]:
        """Weights, class, precision and template."""
        return super().identity() | {"system_role": self.system_role}

    def load(self, runtime: Runtime) -> None:
        """Load network, tokenizer and template; ModelError when weights are missing."""
        from lalm_bench.engine.decode import neutral
        from lalm_bench.models.loading import PerThread, load_processor

        folder = self._load(runtime)
        options: dict[str, Any] = {"trust_remote_code": True} if self.trust_remote_code else {}
        if self.gguf_file is not None:
            options["gguf_file"] = self.gguf_file
        self.tokenizer = load_processor("AutoTokenizer", folder, **options)
        self._choose_template(self.tokenizer, folder)
        self._tokenizers = PerThread(self.tokenizer)
        self.network.generation_config = neutral(self.network.generation_config, self.tokenizer)

    def answer(self, requests: Iterable[Request]) -> Iterator[Response]:
        """Answers in the mode that each request asks for, longest prompt first."""
        from lalm_bench.engine.stream import stream

        self._demand_loaded()
        yield from stream(
            requests,
            self._prepare,
            self._respond,
            runtime=self._runtime,
            length=_characters,
        )

    def _prepare(self, request: Request) -> Prepared:
        """Prompt tokens of one item; called from worker threads."""
        import torch

        from lalm_bench.engine.stream import Prepared

        mode = request.generation.mode
        if mode != "generate" and not request.choices:
            raise ModelError(f"generation.mode={mode} compares options, but the item has none")
        messages = request.messages
        if mode == "option_pmi":
            messages = _without_options(request)
        ids = torch.tensor([self._prompt(messages)])
        return Prepared(request, {"input_ids": ids, "attention_mask": torch.ones_like(ids)})

    def _prompt(self, messages: Sequence[Message]) -> list[int]:
        from lalm_bench.models.loading import refusals, refused

        tokenizer = self._tokenizers.get()
        if self.template is None:
            return list(tokenizer(chat.plain(messages))["input_ids"])
        if self.system_role == "prepend":
            messages = chat.fold_system(messages)
        try:
            encoded = tokenizer.apply_chat_template(
                chat.written(messages),
                chat_template=self.template,
                add_generation_prompt=True,
                tokenize=True,
                return_dict=True,
            )
        except refusals() as error:
            raise refused(error, messages) from error
        return list(encoded["input_ids"])

    def _respond(self, items: Sequence[Prepared]) -> list[Response]:
        from lalm_bench.engine.decode import answer_batch

        mode = items[0].request.generation.mode
        if mode == "generate":
            return answer_batch(self.network, self.tokenizer, items)
        score = self._letter_scores if mode == "letter_likelihood" else self._pmi_scores
        return [_chosen(item, scores) for item, scores in zip(items, score(items), strict=True)]

    def _letter_scores(self, items: Sequence[Prepared]) -> list[dict[str, float]]:
        pairs: list[tuple[Tokens, Tokens]] = []
        owners: list[tuple[int, str]] = []
        for i, item in enumerate(items):
            for choice in item.request.choices:
                # A set: some tokenizers write both ways with the same tokens.
                for form in sorted({self._tokens(choice.label), self._tokens(f" {choice.label}")}):
                    pairs.append((_ids(item), form))
                    owners.append((i, choice.label))
        forms: list[dict[str, list[float]]] = [{} for _ in items]
        for (i, label), value in zip(owners, self._logprobs(pairs), strict=True):
            forms[i].setdefault(label, []).append(value)
        return [{label: _logsumexp(values) for label, values in item.items()} for item in forms]

    def _pmi_scores(self, items: Sequence[Prepared]) -> list[dict[str, float]]:
        prior = tuple(self.tokenizer(_PRIOR_CONTEXT)["input_ids"])
        texts = dict.fromkeys(choice.text for item in items for choice in item.request.choices)
        new = [text for text in texts if text not in self._priors]
        pairs = [(prior, self._tokens(f" {text}")) for text in new]
        self._priors.update(zip(new, self._logprobs(pairs), strict=True))
        pairs = []
        for item in items:
            gap = "" if self.tokenizer.decode(_ids(item)[-1:])[-1:].isspace() else " "
            pairs += [(_ids(item), self._tokens(gap + c.text)) for c in item.request.choices]
        values = iter(self._logprobs(pairs))
        return [
            {c.label: next(values) - self._priors[c.text] for c in item.request.choices}
            for item in items
        ]

    def _tokens(self, text: str) -> Tokens:
        tokens = tuple(self.tokenizer(text, add_special_tokens=False)["input_ids"])
        if not tokens:
            raise ModelError(f"the tokenizer has no token for the option {text!r}; mend its text")
        return tokens

    def _logprobs(self, pairs: Sequence[tuple[Tokens, Tokens]]) -> list[float]:
        from lalm_bench.engine.decode import pad_id
        from lalm_bench.engine.likelihood import continuation_logprobs

        pad = pad_id(self.tokenizer)
        return continuation_logprobs(self.network, pairs, pad, self._runtime.batch_size)


def _characters(request: Request) -> float:
    return float(sum(len(turn["content"]) for turn in chat.written(request.messages)))


def _without_options(request: Request) -> tuple[Message, ...]:
    """The system turns, then the bare question."""
    if not request.question:
        raise ModelError(
            "generation.mode=option_pmi needs the bare question, which this task does not give; "
            "use letter_likelihood"
        )
    system = [m for m in request.messages if m.role == "system"]
    return (*system, Message("user", (Text(request.question),)))


def _chosen(item: Prepared, scores: Mapping[str, float]) -> Response:
    request = item.request
    best = max(scores, key=lambda label: scores[label])  # the first of equals
    tokens = int(item.inputs["input_ids"].shape[1])
    return Response(
        request.key,
        request.sample_id,
        best,
        variant=request.variant,
        scores=scores,
        usage={"input_tokens": tokens, "output_tokens": 0},
    )


def _ids(item: Prepared) -> Tokens:
    return tuple(item.inputs["input_ids"][0].tolist())


def _logsumexp(values: Sequence[float]) -> float:
    top = max(values)
    return top + math.log(sum(math.exp(v - top) for v in values))
