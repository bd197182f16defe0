"""An assistant's message at the end is the beginning of the answer."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lalm_bench.errors import ConfigError
from lalm_bench.models import api_chat, chat
from lalm_bench.models.api import ApiModel
from lalm_bench.models.api_endpoint import Endpoint
from lalm_bench.models.hf import HFModel
from lalm_bench.models.text import TextModel
from lalm_bench.types import Choice, Generation, Message, Runtime, Text
from tests import tiny
from tests.openai_server import Server, running

OPENING = "Let's think step by step: it barks."
RUNTIME = Runtime(device="cpu")
EARS = sorted(family for family in tiny.FAMILIES if family != "tiny_llama")


def opened(request, text=OPENING):
    return replace(request, messages=(*request.messages, Message("assistant", (Text(text),))))


def loaded(model):
    model.load(RUNTIME)
    return model


@pytest.fixture(scope="module", params=EARS)
def ears(request, checkpoint):
    path = str(checkpoint(request.param))
    return loaded(HFModel(name=request.param, path=path, dtype="float32"))


def tokens(model, request):
    return model._prepare(request).inputs["input_ids"][0].tolist()


def conversation(model, request, clips):
    """What transformers itself makes of it, told to continue the last turn."""
    waves, _ = model._hear(request.clips())
    turns = chat.spoken(request.messages, waves, model._part)
    told = {"tokenize": True, "return_dict": True, "continue_final_message": True}
    if model.template is None:
        return model.processor.tokenizer.apply_chat_template(turns, **told)["input_ids"]
    features = model.processor.apply_chat_template(
        [turns],
        chat_template=model.template,
        return_tensors="pt",
        processor_kwargs={"audio_kwargs": model._extractor_settings(waves)},
        **told,
    )
    return features["input_ids"][0].tolist()


@pytest.mark.parametrize("text", [OPENING, "So (", "{{ 1 }}\nAnswer:"])
def test_the_prompt_is_the_one_of_transformers(ears, clips, ask, text):
    request = opened(ask("one", "Which sound?", clips[2]), text)
    assert tokens(ears, request) == conversation(ears, request, clips)


def test_the_prompt_begins_as_without_an_opening_and_goes_on(ears, clips, ask):
    plain = ask("one", "Which sound?", clips[2])
    before, after = tokens(ears, plain), tokens(ears, opened(plain))
    assert after[: len(before) - 1] == before[:-1]
    assert len(after) > len(before)
    again = ears._prepare(opened(plain)).inputs
    assert again["attention_mask"].shape == again["input_ids"].shape
    assert int(again["attention_mask"].sum()) == len(after)


def test_two_turns_with_one_in_between(ears, clips, ask):
    first = opened(ask("one", "Which sound?", clips[2]))
    second = replace(first, messages=(*first.messages, Message("user", (Text("So, which?"),))))
    assert len(tokens(ears, second)) > len(tokens(ears, first))


def test_answers_differ_by_opening_and_batches_do_not_matter(ears, clips, ask):
    generation = Generation(max_new_tokens=6)
    asked = [
        replace(
            opened(ask(f"{i}", "Which sound?", clips[i], generation=generation), text),
            key=f"{i}{text}",
        )
        for i in (0, 2)
        for text in ("It is", OPENING)
    ]
    together = {r.key: r.text for r in ears.answer(asked)}
    alone = {r.key: r.text for request in asked for r in ears.answer([request])}
    assert together == alone
    assert len(set(together.values())) > 1


@pytest.fixture(scope="module")
def reader(checkpoint):
    return loaded(TextModel(name="reader", path=str(checkpoint("tiny_llama")), dtype="float32"))


def test_a_reader_continues_the_answer(reader, ask):
    request = opened(ask("one", "Which sound?"))
    tokenizer = reader._tokenizers.get()
    expected = tokenizer.apply_chat_template(
        chat.written(request.messages), continue_final_message=True, return_dict=True
    )
    assert tokens(reader, request) == list(expected["input_ids"])


@pytest.mark.parametrize("mode", ["letter_likelihood", "generate"])
def test_an_opening_counts_in_every_mode(reader, ask, mode):
    choices = (Choice("A", "a dog"), Choice("B", "a cat"))
    asked = ask("one", "Which?", choices=choices, generation=Generation(8, mode=mode))
    plain, begun = (next(reader.answer([r])) for r in (asked, opened(asked, "It is (")))
    assert (plain.scores, plain.text) != (begun.scores, begun.text)


def test_a_line_break_at_the_end_of_a_template_stays_out(reader, ask):
    request, template = opened(ask("one", "Which?")), reader.template
    bare = tokens(reader, request)
    reader.template = f"{template}\n"
    try:
        assert tokens(reader, request) == bare
    finally:
        reader.template = template


def test_a_plain_prompt_goes_on_behind_its_last_word():
    user, begun = Message("user", (Text("What?"),)), Message("assistant", (Text("It is"),))
    assert chat.plain([user, begun]) == "What?\nAnswer: It is"
    assert chat.plain([user, begun, user]) == "What?\nIt is\nWhat?\nAnswer:"


def sent(request, **settings):
    """What a server gets."""
    server = Server()
    with running(server) as url:
        made = ApiModel(
            served_name="s", name="s", endpoint=Endpoint(url), deployment=url, **settings
        )
        made.load(Runtime(workers=1))
        (answer,) = made.answer([request])
    assert answer.error is None
    (body,) = server.bodies
    return body


TOLD = {"add_generation_prompt": False, "continue_final_message": True}


def told(body):
    return {name: body[name] for name in TOLD if name in body}


@pytest.mark.parametrize("form", ["continue", "prefix", "plain"])
def test_a_server_is_told_to_continue(clips, ask, form):
    body = sent(opened(ask("one", "Which sound?", clips[0])), opened_turn=form)
    prefix = {"prefix": True} if form == "prefix" else {}
    assert body["messages"][-1] == {"role": "assistant", "content": OPENING, **prefix}
    assert [m["role"] for m in body["messages"]] == ["user", "assistant"]
    assert told(body) == (TOLD if form == "continue" else {})


def test_a_server_that_cannot_continue_reads_the_beginning_as_the_users(clips, ask):
    body = sent(opened(ask("one", "Which sound?", clips[0])), opened_turn="user")
    (turn,) = body["messages"]
    assert [part["type"] for part in turn["content"]] == ["input_audio", "text", "text"]
    assert turn["content"][-1]["text"] == f"\n\n{OPENING}"
    assert told(body) == {}


@pytest.mark.parametrize("form", api_chat.OPENED_TURNS)
def test_a_request_without_a_beginning_is_sent_as_ever(clips, ask, form):
    asked = ask("one", "Which sound?", clips[0])
    two = replace(
        opened(asked), messages=(*opened(asked).messages, Message("user", (Text("So?"),)))
    )
    for request, roles in ((asked, ["user"]), (two, ["user", "assistant", "user"])):
        body = sent(request, opened_turn=form)
        assert [m["role"] for m in body["messages"]] == roles
        assert told(body) == {}
        assert "prefix" not in str(body["messages"])


def test_a_wrong_form_names_what_it_may_be():
    with pytest.raises(ConfigError, match=r"model\.opened_turn=echo must be one of continue"):
        ApiModel(
            served_name="s",
            name="s",
            endpoint=Endpoint("http://x/v1"),
            deployment="x",
            opened_turn="echo",
        )


def test_the_form_is_part_of_the_identity():
    made = [
        ApiModel(
            served_name="s",
            name="s",
            endpoint=Endpoint("http://x/v1"),
            deployment="x",
            opened_turn=f,
        )
        for f in ("continue", "user")
    ]
    assert made[0].identity() != made[1].identity()


# Whitespace control, trimmed contents, other role names, as published templates have them.
TEMPLATES = {
    "gemma": (
        "{{ bos_token }}{%- for m in messages -%}\n"
        "{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\\n' }}"
        "{{ m.content | trim }}{{ '<end_of_turn>\\n' }}\n{%- endfor -%}\n"
        "{%- if add_generation_prompt -%}\n{{ '<start_of_turn>model\\n' }}\n{%- endif -%}\n"
    ),
    "llama": (
        "{% for m in messages %}{{ '<|start|>' + m.role + '<|end|>\\n\\n' + m.content | trim }}"
        "{{ '<|eot|>' }}{% endfor %}\n"
        "{% if add_generation_prompt %}{{ '<|start|>assistant<|end|>\\n\\n' }}{% endif %}\n"
    ),
    "instruct": (
        "{% for m in messages %}{% if m.role == 'user' %}{{ '[INST] ' + m.content + ' [/INST]' }}"
        "{% else %}{{ m.content + eos_token }}{% endif %}{% endfor %}"
    ),
}


@pytest.mark.parametrize("style", TEMPLATES)
def test_templates_of_other_styles(reader, ask, style):
    request, own = opened(ask("one", "Which sound?")), reader.template
    expected = reader._tokenizers.get().apply_chat_template(
        chat.written(request.messages),
        chat_template=TEMPLATES[style],
        continue_final_message=True,
        return_dict=True,
    )
    reader.template = TEMPLATES[style]
    try:
        assert tokens(reader, request) == list(expected["input_ids"])
    finally:
        reader.template = own
