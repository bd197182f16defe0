"""From a collated batch to answers: generate, cut at the prompt, tell a stop from a limit."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lalm_bench.engine.collate import collate
from lalm_bench.engine.stream import Prepared
from lalm_bench.errors import ConfigError
from lalm_bench.types import Generation, Response

_TOKEN_FACTS = (
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
    "decoder_start_token_id",
    "suppress_tokens",
    "begin_suppress_tokens",
    "bad_words_ids",
)


@dataclass(frozen=True, slots=True)
class Decoded:
    """One answer; `input_tokens` leaves padding out, `output_tokens` counts the stop token."""

    text: str
    finish: str
    input_tokens: int
    output_tokens: int


def decode(
    network: Any, tokenizer: Any, batch: dict[str, Tensor], generation: Generation
) -> list[Decoded]:
    """Answers of a batch, in its order. `network.generation_config` must be `neutral`.

    Raises
    ------
    ConfigError
        Sampling without a seed, or more than one item with one.
    """
    settings = _settings(network.generation_config, generation)
    with torch.inference_mode(), _drawing(generation, batch["input_ids"]):
        sequences = network.generate(**batch, generation_config=settings)
    answers = sequences[:, batch["input_ids"].shape[1] :].tolist()
    prompts = batch["attention_mask"].sum(dim=1).tolist()
    stops = stop_ids(settings)
    return [
        _decoded(tokenizer, ids, prompt, stops)
        for ids, prompt in zip(answers, prompts, strict=True)
    ]


def answer_batch(network: Any, tokenizer: Any, items: Sequence[Prepared]) -> list[Response]:
    """Responses of a batch whose items share one generation setting, in its order."""
    rows = [item.inputs for item in items]
    batch = collate(rows, pad_id(tokenizer), network.device, network.dtype)
    decoded = decode(network, tokenizer, batch, items[0].request.generation)
    responses = []
    for item, answer in zip(items, decoded, strict=True):
        request = item.request
        tokens = {"input_tokens": answer.input_tokens, "output_tokens": answer.output_tokens}
        responses.append(
            Response(
                request.key,
                request.sample_id,
                answer.text,
                answer.finish,
                request.variant,
                usage={**item.usage, **tokens},
            )
        )
    return responses


def neutral(defaults: Any, tokenizer: Any) -> Any:
    """Generation defaults that hold token facts only; put them on the network once, after loading.

    Checkpoints ship sampling and a repetition penalty switched on, and `generate` fills every
    setting that a caller leaves open from the network's own: the penalty would hit the option
    labels that stand in the prompt. Stop, pad and suppressed tokens stay the checkpoint's.
    """
    kept = {name: getattr(defaults, name, None) for name in _TOKEN_FACTS}
    if kept["eos_token_id"] is None:
        kept["eos_token_id"] = getattr(tokenizer, "eos_token_id", None)
    if kept["pad_token_id"] is None:
        kept["pad_token_id"] = pad_id(tokenizer)
    return type(defaults)(**kept)


def pad_id(tokenizer: Any) -> int:
    """The tokenizer's pad token, else its stop token, else 0; masked wherever it is used."""
    for name in ("pad_token_id", "eos_token_id"):
        found = getattr(tokenizer, name, None)
        if isinstance(found, int):
            return found
    return 0


def _settings(neutral_defaults: Any, generation: Generation) -> Any:
    settings = copy.deepcopy(neutral_defaults)
    settings.max_new_tokens = generation.max_new_tokens
    settings.do_sample = generation.temperature > 0
    if settings.do_sample:
        settings.temperature, settings.top_p = generation.temperature, generation.top_p
        settings.top_k = 0  # `generate` would fill in 50
    return settings


def stop_ids(settings: Any) -> frozenset[int]:
    """Token ids that end an answer."""
    ids = settings.eos_token_id
    if ids is None:
        return frozenset()
    return frozenset(ids if isinstance(ids, (list, tuple)) else [ids])


@contextlib.contextmanager
def _drawing(generation: Generation, ids: Tensor) -> Iterator[None]:
    """Sampling from the request's own seed; the process's generators are left as they were."""
    if generation.temperature <= 0:
        yield
        return
    if generation.seed is None:
        raise ConfigError(
            "generation.temperature > 0 needs a seed for every request: give generation.seed, "
            "or set generation.temperature=0"
        )
    if len(ids) != 1:
        raise ConfigError("sampled requests share draws in a batch: answer them one at a time")
    devices = [ids.device] if ids.device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(generation.seed)
        yield


def _decoded(tokenizer: Any, ids: list[int], prompt: int, stops: frozenset[int]) -> Decoded:
    end = next((i for i, token in enumerate(ids) if token in stops), None)
    kept = ids if end is None else ids[:end]
    text = tokenizer.decode(kept, skip_special_tokens=True).strip()
    finish = "length" if end is None else "stop"
    return Decoded(text, finish, int(prompt), len(ids) if end is None else end + 1)
