"""Cutting answers: stop tokens, limits, seeds."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from transformers import GenerationConfig

from lalm_bench.engine.decode import decode, neutral, pad_id
from lalm_bench.errors import ConfigError
from lalm_bench.types import Generation

TOKENIZER = SimpleNamespace(
    eos_token_id=2,
    pad_token_id=0,
    decode=lambda ids, skip_special_tokens: " " + "".join(chr(96 + i) for i in ids),
)
BATCH = {
    "input_ids": torch.tensor([[0, 7], [8, 9]]),
    "attention_mask": torch.tensor([[0, 1], [1, 1]]),
}


class Scripted:
    """A network that continues every prompt with a fixed answer and notes its settings."""

    def __init__(self, answers, defaults=None):
        self.answers = torch.tensor(answers)
        self.generation_config = neutral(
            defaults or GenerationConfig(eos_token_id=[2, 3]), TOKENIZER
        )

    def generate(self, input_ids, attention_mask, generation_config):
        self.settings = generation_config
        self.drawn = torch.rand(1).item()
        return torch.cat([input_ids, self.answers[: len(input_ids)]], dim=1)


def test_an_answer_ends_at_its_first_stop_token_or_at_the_limit():
    network = Scripted([[4, 3, 0, 0], [4, 5, 6, 7]])
    stopped, cut = decode(network, TOKENIZER, BATCH, Generation(4))
    assert (stopped.text, stopped.finish, stopped.output_tokens) == ("d", "stop", 2)
    assert (cut.text, cut.finish, cut.output_tokens) == ("defg", "length", 4)
    assert (stopped.input_tokens, cut.input_tokens) == (1, 2)


def test_an_empty_answer_is_a_stop():
    network = Scripted([[2, 0], [5, 2]])
    first, second = decode(network, TOKENIZER, BATCH, Generation(2))
    assert (first.text, first.finish) == ("", "stop")
    assert (second.text, second.finish) == ("e", "stop")


def test_only_token_facts_of_the_checkpoint_survive():
    shipped = GenerationConfig(
        do_sample=True,
        temperature=0.3,
        top_k=5,
        top_p=0.5,
        min_p=0.2,
        repetition_penalty=1.3,
        num_beams=4,
        max_length=9,
        eos_token_id=3,
        suppress_tokens=[11],
    )
    network = Scripted([[4, 3], [3, 0]], shipped)
    decode(network, TOKENIZER, BATCH, Generation(2))
    given = network.settings.to_diff_dict()
    given.pop("transformers_version", None)
    assert given == {
        "do_sample": False,
        "eos_token_id": 3,
        "max_new_tokens": 2,
        "pad_token_id": 0,
        "suppress_tokens": [11],
    }


def test_sampling_uses_the_requests_seed_and_leaves_the_process_alone():
    one = {name: tensor[:1] for name, tensor in BATCH.items()}
    network, before = Scripted([[4, 2]]), torch.random.get_rng_state()
    draws = []
    for seed in (1, 1, 2):
        decode(network, TOKENIZER, one, Generation(2, temperature=0.7, top_p=0.9, seed=seed))
        draws.append(network.drawn)
    assert draws[0] == draws[1] != draws[2]
    assert torch.equal(torch.random.get_rng_state(), before)
    assert (network.settings.temperature, network.settings.top_p) == (0.7, 0.9)
    with pytest.raises(ConfigError, match="one at a time"):
        decode(network, TOKENIZER, BATCH, Generation(2, temperature=0.7, seed=1))
    with pytest.raises(ConfigError, match="seed"):
        decode(network, TOKENIZER, one, Generation(2, temperature=0.7))


def test_padding_falls_back_to_the_stop_token():
    assert pad_id(SimpleNamespace(pad_token_id=None, eos_token_id=4)) == 4
    assert pad_id(SimpleNamespace()) == 0
