"""A language model that only reads: what the words alone give away."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lalm_bench.models import chat
from lalm_bench.models.options import demand_choices, without_options
from lalm_bench.models.pretrained import Pretrained, demand
from lalm_bench.types import MODES, Json, Message, Request, Response, Runtime

if TYPE_CHECKING:
    from lalm_bench.engine.stream import Prepared


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
        from lalm_bench.models.loading import PerThread, load_processor

        if self._is_resident(runtime):
            return
        folder = self._load(runtime)
        options: dict[str, Any] = {"trust_remote_code": True} if self.trust_remote_code else {}
        if self.gguf_file is not None:
            options["gguf_file"] = self.gguf_file
        tokenizer = load_processor("AutoTokenizer", folder, **options)
        self._choose_template(tokenizer, folder)
        self._tokenizers = PerThread(tokenizer)
        self._reside(tokenizer)

    def answer(self, requests: Iterable[Request]) -> Iterator[Response]:
        """Answers in the mode that each request asks for, longest prompt first."""
        from lalm_bench.engine.plan import ordered

        self._demand_loaded()
        yield from self._stream(ordered(requests, _characters), self._prepare)

    def _prepare(self, request: Request) -> Prepared:
        """Prompt tokens of one item; called from worker threads."""
        import torch

        from lalm_bench.engine.stream import Prepared

        demand_choices(request)
        messages = request.messages
        if request.generation.mode == "option_pmi":
            messages = without_options(request)
        ids = torch.tensor([self._prompt(messages)])
        return Prepared(request, {"input_ids": ids, "attention_mask": torch.ones_like(ids)})

    def _prompt(self, messages: Sequence[Message]) -> list[int]:
        from lalm_bench.models.loading import refusals, refused

        tokenizer = self._tokenizers.get()
        if self.template is None:
            return list(tokenizer(chat.plain(messages))["input_ids"])
        if self.system_role == "prepend":
            messages = chat.fold_system(messages)
        turns, opening = chat.opened(messages)
        template, begun = chat.continuing(self.template, opening)
        try:
            encoded = tokenizer.apply_chat_template(
                chat.written(turns),
                chat_template=template,
                add_generation_prompt=True,
                tokenize=True,
                return_dict=True,
                **begun,
            )
        except refusals() as error:
            raise refused(error, messages) from error
        return list(encoded["input_ids"])


def _characters(request: Request) -> float:
    return float(sum(len(turn["content"]) for turn in chat.written(request.messages)))
