"""The text-only model: its likelihoods against a computation by hand."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace

import pytest

from lalm_bench.errors import ModelError
from lalm_bench.models.text import TextModel
from lalm_bench.types import Choice, Generation, Message, Runtime, Text

CHOICES = (Choice("A", "a dog barks"), Choice("B", "rain"), Choice("10", "none of the above"))
QUESTIONS = ("Which event comes next?", "Choose one option. It may be any of the three. Which?")


@pytest.fixture(scope="module")
def loaded(checkpoint):
    known = {}

    def load(batch_size=4, path=None, **settings):
        key = (batch_size, path, *settings.items())
        if key not in known:
            folder = str(path or checkpoint("tiny_llama"))
            known[key] = TextModel(name="tiny", path=folder, dtype="float32", **settings)
            known[key].load(Runtime("cpu", batch_size, 2))
        return known[key]

    return load


@pytest.fixture(scope="module")
def untemplated(checkpoint, tmp_path_factory):
    """The checkpoint as a base model."""
    folder = tmp_path_factory.mktemp("base") / "tiny"
    shutil.copytree(checkpoint("tiny_llama"), folder)
    (folder / "chat_template.jinja").unlink()
    return folder


@pytest.fixture(scope="module")
def asked(ask):
    def make(mode, **changes):
        fields = {"choices": CHOICES, "generation": Generation(mode=mode), **changes}
        return [
            ask(f"q{i}", f"{q}\nA) a dog barks B) rain 10) none", question=q, **fields)
            for i, q in enumerate(QUESTIONS)
        ]

    return make


@pytest.fixture(scope="module")
def logp(checkpoint):
    """`logp(context ids, continuation ids)` from one forward pass a token, unpadded."""
    import torch
    import transformers

    network = transformers.LlamaForCausalLM.from_pretrained(
        checkpoint("tiny_llama"), dtype=torch.float32
    ).eval()

    def compute(context, continuation):
        total = 0.0
        ids = list(context)
        for token in continuation:
            with torch.no_grad():
                logits = network(torch.tensor([ids])).logits[0, -1].double()
            total += float(logits[token] - torch.logsumexp(logits, 0))
            ids.append(token)
        return total

    return compute


def chat_prompt(tokenizer, text):
    turns = f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n"
    return tokenizer(turns, add_special_tokens=False)["input_ids"]


def by_item(model, requests):
    return {r.sample_id: replace(r, timing=None) for r in model.answer(requests)}


def test_letter_likelihood_equals_a_computation_by_hand(loaded, asked, logp):
    model, requests = loaded(), asked("letter_likelihood")
    encode = model.resident.tokenizer.encode
    got = by_item(model, requests)
    for request in requests:
        context = chat_prompt(model.resident.tokenizer, request.messages[0].parts[0].text)
        expected = {
            c.label: math.log(
                math.exp(logp(context, encode(c.label)))
                + math.exp(logp(context, encode(" " + c.label)))
            )
            for c in CHOICES
        }
        response = got[request.sample_id]
        assert response.scores == pytest.approx(expected, abs=1e-4)
        assert response.text == max(expected, key=expected.get)
        assert response.finish == "stop"
        assert response.usage["input_tokens"] == len(context)
    assert len(encode("10")) > 1, "a label of several tokens must be among the tested"


def test_option_pmi_equals_a_computation_by_hand(loaded, asked, logp):
    model, requests = loaded(), asked("option_pmi")
    encode = model.resident.tokenizer.encode
    got = by_item(model, requests)
    for request in requests:
        context = chat_prompt(model.resident.tokenizer, request.question)
        expected = {
            c.label: logp(context, encode(c.text)) - logp(encode("Answer:"), encode(" " + c.text))
            for c in CHOICES
        }
        response = got[request.sample_id]
        assert response.scores == pytest.approx(expected, abs=1e-4)
        assert response.text == max(expected, key=expected.get)


def test_pmi_of_a_base_model_writes_a_space_after_the_prompt(loaded, untemplated, asked, logp):
    model = loaded(path=untemplated)
    request = asked("option_pmi")[0]
    encode = model.resident.tokenizer.encode
    context = encode(f"{request.question}\nAnswer:")
    got = by_item(model, [request])["q0"].scores
    for c in CHOICES:
        option = encode(" " + c.text)
        by_hand = logp(context, option) - logp(encode("Answer:"), option)
        assert got[c.label] == pytest.approx(by_hand, abs=1e-4)


def test_the_prior_of_an_option_is_computed_once(loaded, asked, monkeypatch):
    model, learnt = loaded(batch_size=3), []
    real = model.resident.logprobs
    monkeypatch.setattr(
        model.resident,
        "logprobs",
        lambda context, texts: learnt.extend(texts) or real(context, texts),
    )
    first = by_item(model, asked("option_pmi"))
    encode = model.resident.tokenizer.encode
    assert sorted(learnt) == sorted(tuple(encode(" " + c.text)) for c in CHOICES)
    assert by_item(model, asked("option_pmi")) == first
    more = (*CHOICES, Choice("D", "a car passes"))
    by_item(model, asked("option_pmi", choices=more))
    assert len(learnt) == len(more)


def test_equal_options_go_to_the_first(loaded, asked):
    twins = (Choice("B", "rain"), Choice("A", "rain"))
    for choices in (twins, twins[::-1]):
        for response in by_item(loaded(), asked("option_pmi", choices=choices)).values():
            assert len(set(response.scores.values())) == 1
            assert response.text == choices[0].label


@pytest.mark.parametrize("mode", ["letter_likelihood", "option_pmi"])
def test_batch_size_changes_no_score(loaded, asked, mode):
    one, four = by_item(loaded(1), asked(mode)), by_item(loaded(4), asked(mode))
    for name, response in one.items():
        assert four[name].text == response.text
        assert four[name].scores == pytest.approx(response.scores, abs=1e-5)


@pytest.mark.parametrize("template", [True, False])
def test_generated_answers_do_not_depend_on_the_batch(loaded, untemplated, asked, template):
    path = None if template else untemplated
    one = by_item(loaded(1, path=path), asked("generate"))
    assert by_item(loaded(4, path=path), asked("generate")[::-1]) == one
    assert len({r.text for r in one.values()}) == len(one)


def test_padding_does_not_shift_absolute_positions(asked, checkpoint, tmp_path):
    import transformers as tf

    tokenizer = tf.AutoTokenizer.from_pretrained(checkpoint("tiny_llama"))
    size = {"n_embd": 32, "n_layer": 2, "n_head": 2, "initializer_range": 0.3}
    network = tf.GPT2LMHeadModel(tf.GPT2Config(vocab_size=len(tokenizer), **size))
    network.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    scores = []
    for batch_size in (1, 4):
        model = TextModel(name="gpt2", path=str(tmp_path), dtype="float32")
        model.load(Runtime("cpu", batch_size, 1))
        scores.append(by_item(model, asked("letter_likelihood")))
    for name, response in scores[0].items():
        assert scores[1][name].scores == pytest.approx(response.scores, abs=1e-5)


def test_it_is_deaf(loaded, ask, clips):
    model = loaded()
    assert model.rate is None
    heard, unheard = ask("a", "What?", clips[0]), ask("b", "What?")
    got = by_item(model, [heard, unheard])
    assert got["a"].text == got["b"].text


def test_items_that_cannot_be_compared_fail_alone(loaded, asked, ask):
    generation = Generation(mode="option_pmi")
    free = ask("free", "What?", generation=generation)
    bare = ask("bare", "What?", generation=generation, choices=CHOICES)
    got = by_item(loaded(), [*asked("option_pmi"), free, bare])
    assert "the item has none" in got["free"].error
    assert "bare question" in got["bare"].error
    assert got["q0"].error is None


def test_system_turns_reach_the_prompt_in_every_mode(loaded, asked):
    for mode in ("generate", "letter_likelihood", "option_pmi"):
        request = asked(mode)[0]
        system = Message("system", (Text("Answer with the letter only."),))
        longer = replace(request, messages=(system, *request.messages))
        plain, instructed = (by_item(loaded(), [r])["q0"] for r in (request, longer))
        assert instructed.usage["input_tokens"] > plain.usage["input_tokens"]


def test_gguf_names_its_package(tmp_path, monkeypatch):
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "gguf" else real(name, *a)
    )
    (tmp_path / "w.gguf").write_bytes(b"GGUF")
    model = TextModel(name="x", path=str(tmp_path), gguf_file="w.gguf")
    assert [m for m in model.missing() if "pip install gguf" in m]


def test_a_missing_checkpoint_is_named(tmp_path):
    model = TextModel(name="x", path=str(tmp_path / "nowhere"))
    with pytest.raises(ModelError, match="no such folder"):
        model.load(Runtime("cpu"))
