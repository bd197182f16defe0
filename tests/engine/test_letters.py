"""Option labels compared by likelihood after audio, against plain forward passes of the family."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from lalm_bench.engine.prefill import tokens_of
from lalm_bench.types import Choice, Generation

QUESTIONS = (
    "Which event comes next?",
    "Choose exactly one option. A) a dog B) a car passes C) rain falls",
    "What?",
    "Return only the option label from: A, B, C, D.",
)
FEW = (Choice("A", "a dog"), Choice("B", "rain"))
MANY = (*FEW, Choice("10", "a car"), Choice("none of", "nothing"), Choice("(C)", "all"))
LETTERS = Generation(mode="letter_likelihood")
# Its encoder hears the padding behind a shorter clip.
HEARS_PADDING = ("phi4_multimodal",)


@pytest.fixture
def by_hand(plain, featured, loaded):
    """`by_hand(family, request)`: scores from one plain forward pass for each way of writing."""

    def logprob(network, inputs, tokens):
        longer = dict(inputs)
        for name, tensor in tokens_of(inputs).items():
            more = {"input_ids": list(tokens), "attention_mask": [1] * len(tokens)}
            tail = torch.tensor([more.get(name, [0] * len(tokens))])
            longer[name] = torch.cat([tensor, tail], dim=1)
        with torch.inference_mode():
            table = network(**longer).logits[0].double().log_softmax(-1)
        at = torch.arange(len(table) - len(tokens) - 1, len(table) - 1)
        return float(table[at, torch.tensor(tokens)].sum())

    def compute(family, request):
        tokenizer = loaded(family).processor.tokenizer
        inputs, scores = featured(family, request), {}
        for choice in request.choices:
            forms = {
                tuple(tokenizer.encode(form, add_special_tokens=False))
                for form in (choice.label, f" {choice.label}")
            }
            found = [logprob(plain(family), inputs, form) for form in forms]
            scores[choice.label] = math.log(sum(map(math.exp, found)))
        return scores

    return compute


def answers(model, requests):
    """Everything but the timing, by item."""
    got = {r.sample_id: replace(r, timing=None) for r in model.answer(requests)}
    assert len(got) == len(requests)
    return got


@pytest.mark.parametrize(
    "family", ["qwen2_audio", "voxtral", "gemma3n", "gemma4", "phi4_multimodal"]
)
def test_scores_are_those_of_plain_forward_passes(loaded, by_hand, ask, clips, family):
    heard = [clips[1]] * 4 if family in HEARS_PADDING else clips
    requests = [
        ask(f"q{i}", text, clip, choices=MANY if i % 2 else FEW, generation=LETTERS)
        for i, (text, clip) in enumerate(zip(QUESTIONS, heard, strict=True))
    ]
    requests.append(ask("again", QUESTIONS[0], heard[3], choices=MANY, generation=LETTERS))
    model = loaded(family)
    encode = model.processor.tokenizer.encode
    lengths = {len(encode(c.label, add_special_tokens=False)) for c in MANY}
    assert len(lengths) > 2, "labels of several lengths must be among the tested"
    got = answers(model, requests)
    for request in requests:
        response = got[request.sample_id]
        assert list(response.scores) == [c.label for c in request.choices]
        assert response.text == max(response.scores, key=response.scores.get)
        assert (response.finish, response.error) == ("stop", None)
        assert response.usage["output_tokens"] == 0
        assert response.usage["audio_tokens"] > 0
    alone = {k: v for r in requests for k, v in answers(model, [r]).items()}
    for name, response in got.items():
        assert response.scores == pytest.approx(alone[name].scores, abs=5e-5)
    for request in requests[1:3]:
        assert got[request.sample_id].scores == pytest.approx(by_hand(family, request), abs=2e-4)


def test_words_and_letters_are_answered_in_one_call(loaded, ask, clips):
    asked = [ask(f"q{i}", text, clips[i]) for i, text in enumerate(QUESTIONS)]
    letters = [
        replace(r, key=f"l{r.key}", sample_id=f"l{r.key}", generation=LETTERS, choices=FEW)
        for r in asked
    ]
    model = loaded("qwen2_audio")
    got = answers(model, [*asked, *letters])
    assert all(got[r.sample_id].scores is None for r in asked)
    assert all(got[r.sample_id].text in ("A", "B") for r in letters)
    assert {r.sample_id: got[r.sample_id] for r in asked} == answers(model, asked)


def test_an_item_without_options_fails_alone(loaded, ask, clips):
    bare = ask("bare", "What?", clips[0], generation=LETTERS)
    good = ask("good", "What?", clips[2], generation=LETTERS, choices=FEW)
    got = answers(loaded("qwen2_audio"), [bare, good])
    assert "the item has none" in got["bare"].error
    assert got["good"].error is None
