"""Protocols as their YAML has them: what is asked, what follows, what is given back."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from lalm_bench import cli  # noqa: F401 - registers what conf/ interpolates
from lalm_bench.errors import ConfigError
from lalm_bench.protocols import CHAIN, Prompt, Protocol, splits
from lalm_bench.types import (
    ANSWER,
    Audio,
    AudioRef,
    AudioSource,
    Choice,
    Generation,
    Message,
    Request,
    Response,
    Sample,
    Text,
)
from tests.conftest import ROOT

NAMES = sorted(p.stem for p in (ROOT / "conf" / "protocol").glob("*.yaml") if p.stem != "none")
REASONING = ["af3_reasoning", "qwen_reasoning", "reasoning", "two_turn"]
CHOICES = (Choice("a", "a {reasoning} dog"), Choice("b", "a cat"))
SAMPLE = Sample("one", (AudioRef("a.wav"),), "Which {choices} is it?", CHOICES, "b", "a.wav")
QUESTION = "Which {choices} is it?"
LISTED = "(A) a {reasoning} dog (B) a cat"
EDITED = AudioSource(AudioRef("a.wav"), edits=("an edit",))
CHAIN_TEXT = "It meows {question}. Twice. So it is (B)."


@cache
def protocol(name):
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        task = compose("config", [f"protocol={name}"]).task
    return instantiate(task.protocol, _convert_="all"), task.max_new_tokens


def request(source=None, **generation):
    parts = (Audio(source or AudioSource(AudioRef("a.wav"))), Text("the task's own prompt"))
    return Request(
        "one",
        (Message("user", parts),),
        CHOICES,
        QUESTION,
        Generation(**({"max_new_tokens": 99} | generation)),
        "rotation=1",
    )


def shape(asked):
    """(role, parts) of each turn, clips as `*`."""
    return [
        (m.role, *["*" if isinstance(p, Audio) else p.text for p in m.parts])
        for m in asked.messages
    ]


def asked(name):
    return protocol(name)[0].ask(SAMPLE, request())


AF3 = f"{QUESTION} Select one option from the provided choices.\n{LISTED}. "
THINK = "Please think and reason about the input audio before you respond"
QWEN = (
    "You are Qwen, a virtual human developed by the Qwen Team, Alibaba Group, capable of "
    "perceiving auditory and visual inputs"
)
QWEN_REASONING = (
    f"{QWEN}.\n\nCRITICAL: You must provide your analysis in a structured format using XML tags. "
    "Do not engage in conversational filler. Use the following structure:\n<Reasoning>\n[Describe "
    "the acoustic features and your logic]\n</Reasoning>\n<Conclusion>\n[Single Letter Only]\n"
    "</Conclusion>"
)
QWEN_DIRECT = (
    f"{QWEN}.\n\nCRITICAL: Respond ONLY with the conclusion tag. No conversational text.\n"
    "<Conclusion>\n[Letter]\n</Conclusion>"
)
CUE = "Let's think step by step:"
LETTER = (
    "Given the reasoning above, what is the single, most likely answer? Please respond with only "
    "the letter of the correct choice in parentheses, and nothing else."
)


def test_the_published_prompts_letter_by_letter():
    assert shape(asked("af3_direct")) == [("user", AF3, "*")]
    assert shape(asked("af3_reasoning")) == [("user", f"{AF3}{THINK}.", "*")]
    qwen = f"{QUESTION} Select one option from the provided choices.\n{LISTED}."
    assert shape(asked("qwen_direct")) == [("system", QWEN_DIRECT), ("user", "*", qwen)]
    assert shape(asked("qwen_reasoning")) == [
        ("system", QWEN_REASONING),
        ("user", "*", f"{qwen}\n{THINK} using the XML template."),
    ]
    two = f"\n\nQuestion: {QUESTION}\nChoices:\n{LISTED}"
    assert shape(asked("two_turn")) == [("user", "*", two), ("assistant", CUE)]


def test_the_published_conditioned_prompts_letter_by_letter():
    def given(name):
        return protocol(name)[0].give_back(SAMPLE, request(), "It {choices} meows.")

    chain = "It {choices} meows."
    af3 = f"{AF3}{THINK}.\n\n{chain}\n\nTherefore, the answer is:"
    assert shape(given("af3_reasoning")) == [("user", af3, "*")]
    assert given("af3_reasoning").generation.max_new_tokens == 20
    qwen = f"{AF3}{THINK}.\n\nTemplate:\n<Reasoning>\n{chain}\n</Reasoning>\n<Conclusion>\n"
    system = f"{QWEN}, as well as generating text and speech."
    assert shape(given("qwen_reasoning")) == [("system", system), ("user", "*", qwen)]
    assert given("qwen_reasoning").generation.max_new_tokens == 32
    two = f"\n\nQuestion: {QUESTION}\nChoices:\n{LISTED}"
    assert shape(given("two_turn")) == [
        ("user", "*", two),
        ("assistant", f"{CUE} {chain}"),
        ("user", LETTER),
    ]


@pytest.mark.parametrize(
    ("name", "tokens"),
    [
        *(("af3_direct", 512), ("af3_reasoning", 512), ("qwen_direct", 128)),
        *(("qwen_reasoning", 1024), ("two_turn", 768), ("direct", 16), ("reasoning", 1024)),
    ],
)
def test_answers_are_granted_their_length(name, tokens):
    assert protocol(name)[1] == tokens
    # What the command line grants is what the run asks with.
    assert asked(name).generation.max_new_tokens == 99


@pytest.mark.parametrize("name", NAMES)
def test_a_request_keeps_what_makes_it_its_own(name):
    found = asked(name)
    assert (found.sample_id, found.variant, found.question) == ("one", "rotation=1", QUESTION)
    assert [c.text for c in found.choices] == [c.text for c in CHOICES]
    assert found.step == (CHAIN if name == "two_turn" else ANSWER)
    assert len(found.clips()) == 1


@pytest.mark.parametrize("name", NAMES)
def test_edited_clips_stay_edited(name):
    kept, edited = protocol(name)[0], request(EDITED)
    assert kept.ask(SAMPLE, edited).clips() == [EDITED]
    assert kept.without_reasoning(SAMPLE, edited).clips() == [EDITED]
    if name in REASONING:
        assert kept.give_back(SAMPLE, edited, "It meows.").clips() == [EDITED]


def test_the_second_turn_stands_on_the_first_as_it_was_asked():
    two_turn, _ = protocol("two_turn")
    first = two_turn.ask(SAMPLE, request())
    # The intervention comes after the protocol.
    heard = replace(first.messages[0], parts=(Audio(EDITED), *first.messages[0].parts[1:]))
    first = replace(first, messages=(heard, *first.messages[1:]))
    second = two_turn.follow(SAMPLE, first, Response("key", "one", CHAIN_TEXT))
    assert second.step == ANSWER
    assert second.clips() == [EDITED]
    assert shape(second)[1:] == [
        ("assistant", f"{CUE} It meows {{question}}. Twice."),
        ("user", LETTER),
    ]
    assert (second.variant, second.choices) == (first.variant, first.choices)
    assert second.generation.max_new_tokens == 50


def test_a_chain_of_one_sentence_becomes_empty():
    two_turn, _ = protocol("two_turn")
    first = two_turn.ask(SAMPLE, request())
    second = two_turn.follow(SAMPLE, first, Response("key", "one", "It is a cat."))
    assert shape(second)[1] == ("assistant", CUE)


def test_the_models_own_chain_given_back_is_the_second_turn():
    two_turn, _ = protocol("two_turn")
    first = two_turn.ask(SAMPLE, request())
    followed = two_turn.follow(SAMPLE, first, Response("key", "one", CHAIN_TEXT))
    assert two_turn.give_back(SAMPLE, first, two_turn.split(CHAIN_TEXT)[0]) == followed


@pytest.mark.parametrize("name", NAMES)
def test_what_is_not_a_chain_is_not_followed(name):
    kept, _ = protocol(name)
    step = replace(kept.ask(SAMPLE, request()), step="paraphrase")
    assert kept.follow(SAMPLE, step, Response("key", "one", "It meows.")) is None


@pytest.mark.parametrize("name", REASONING)
def test_giving_back_again_changes_nothing(name):
    kept, _ = protocol(name)
    once = kept.give_back(SAMPLE, request(), "It meows.")
    assert once.step == ANSWER
    assert kept.give_back(SAMPLE, once, "It meows.") == once
    assert "It meows." in str(shape(once))


@pytest.mark.parametrize("name", ["direct", "af3_direct", "qwen_direct"])
def test_without_reasoning_nothing_can_be_given_back(name):
    kept, _ = protocol(name)
    assert not kept.reasons
    with pytest.raises(ConfigError, match="protocol=reasoning"):
        kept.give_back(SAMPLE, request(), "It meows.")
    assert kept.without_reasoning(SAMPLE, request()) == kept.ask(SAMPLE, request())


@pytest.mark.parametrize(
    ("reasoning", "direct"),
    [
        ("reasoning", "direct"),
        ("af3_reasoning", "af3_direct"),
        ("qwen_reasoning", "qwen_direct"),
    ],
)
def test_a_reasoning_protocol_asks_directly_as_the_direct_one(reasoning, direct):
    kept, _ = protocol(reasoning)
    assert kept.without_reasoning(SAMPLE, request()).messages == asked(direct).messages


@pytest.mark.parametrize("name", REASONING)
@pytest.mark.parametrize("mode", ["letter_likelihood", "option_pmi"])
def test_reasoning_needs_words(name, mode):
    with pytest.raises(ConfigError, match=f"generation.mode={mode} generates no reasoning"):
        protocol(name)[0].ask(SAMPLE, request(mode=mode))
    direct = protocol("direct")[0].ask(SAMPLE, request(mode=mode))
    assert direct.generation.mode == mode


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"prompt": Prompt(user="Which?")}, "prompt.user has no {question}"),
        ({"conditioned": Prompt(user="{question}")}, "conditioned has no {reasoning}"),
        ({"direct": Prompt(user="Which?")}, "direct.user has no {question}"),
        ({"letters": "greek"}, "letters=greek must be one of own, upper"),
    ],
)
def test_a_template_that_lacks_its_place_is_refused(fields, words):
    with pytest.raises(ConfigError, match=f"protocol mine: {re.escape(words)}"):
        Protocol(**{"name": "mine", "prompt": Prompt(user="{question}")} | fields)


@pytest.mark.parametrize(
    ("split", "text", "expected"),
    [
        ("nothing", "It. Is.", ("", "It. Is.")),
        ("by_sentence", "It barks.  Loud! Is it? So (a)", ("It barks.  Loud! Is it?", "So (a)")),
        ("by_sentence", "1.5 s of noise", ("", "1.5 s of noise")),
        ("by_sentence", "One.\nTwo.\n", ("One.", "Two.")),
        ("by_sentence", " ", ("", "")),
        ("by_tag", "<Reasoning>\nWoof\n</Reasoning> <Conclusion>\nA\n</Conclusion>", ("Woof", "A")),
        ("by_tag", "It barks <Conclusion>A", ("It barks <Conclusion>A", "A")),
        ("by_tag", "<reasons>x</reasons> (A)", ("x", "<reasons>x</reasons> (A)")),
        ("by_answer_line", "Answer: B? No.\n**Answer:** A", ("Answer: B? No.", "**Answer:** A")),
        ("by_answer_line", "It barks.\nFinal answer: A.", ("It barks.", "Final answer: A.")),
        ("by_answer_line", "Barks. The answer is (A).", ("Barks.", "The answer is (A).")),
        ("by_answer_line", "Answer: A", ("", "Answer: A")),
    ],
)
def test_where_reasoning_ends(split, text, expected):
    assert getattr(splits, split)(text) == expected


def composed(*words):
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("config", list(words))


def test_none_leaves_the_task_as_it_is():
    task = composed("task=sakura").task
    assert "protocol" not in task
    assert "recover" not in task
    assert task.max_new_tokens == 64


@pytest.mark.parametrize("recover", ["nulls", "all"])
def test_recoveries_build(recover):
    made = instantiate(composed(f"recover={recover}").task.recover, _convert_="all")
    assert (made.when, made.negation_guard) == (recover, recover == "nulls")


def test_the_command_line_wins_over_a_protocol():
    task = composed("protocol=two_turn", "task.max_new_tokens=5").task
    assert task.max_new_tokens == 5
    parser = "+task/parser@task.protocol.parser=faithfulness_qwen_conditioned"
    task = composed("protocol=qwen_reasoning", parser).task
    assert task.protocol.parser.path.endswith("faithfulness_qwen_conditioned")
