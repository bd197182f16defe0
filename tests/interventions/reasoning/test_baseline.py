"""Reading what a run has reasoned, and refusing what belongs to something else."""

import copy
import json
from dataclasses import replace

import pytest

from lalm_bench.errors import ConfigError, DataError
from lalm_bench.interventions.reasoning.baseline import Baseline
from lalm_bench.interventions.reasoning.conditioned import Conditioned
from lalm_bench.protocols import Prompt, Protocol
from lalm_bench.protocols.splits import by_sentence
from lalm_bench.types import (
    Audio,
    AudioRef,
    AudioSource,
    Choice,
    Context,
    Message,
    Request,
    Sample,
    Skip,
    Text,
)

CHOICES = (Choice("a", "a cat"), Choice("b", "a dog"))
SAMPLE = Sample("one", (AudioRef("x.wav"),), "Which?", CHOICES, "b", "x")
CLIP = Audio(AudioSource(AudioRef("x.wav")))
REQUEST = Request("one", (Message("user", (CLIP, Text("?"))),), CHOICES, "Which?")
SINGLE = Protocol(
    name="single",
    prompt=Prompt(user="{question} {choices} Think."),
    splitter=by_sentence,
    conditioned=Prompt(user="{question} {choices} Think.\n{reasoning}\nSo:"),
    direct=Prompt(user="{question} {choices}"),
)
TWO = Protocol(
    name="two",
    prompt=Prompt(user="{question} {choices}", opening="Step by step:"),
    splitter=by_sentence,
    conclude=Prompt(user="The letter?"),
    direct=Prompt(user="{question} {choices} The letter."),
)
ROW = {
    **{"id": "one", "variant": "", "label": "b", "text": "(b)", "question": "Which?"},
    **{"options": {"a": "a cat", "b": "a dog"}, "reasoning": "It barks. It is loud."},
}
CONFIG = {
    "task": {"name": "t", "options": "fixed", "protocol": {"name": "two", "letters": "own"}},
    "model": {"name": "m", "path": "weights", "endpoint": {"base_url": "here"}},
    "intervention": {"name": "none"},
}


@pytest.fixture
def finished(tmp_path):
    """`finished(row, ...)` writes a run of these decisions and returns its folder."""

    def write(*rows, config=CONFIG):
        (tmp_path / "run.json").write_text(json.dumps({"status": "finished", "config": config}))
        lines = [json.dumps({**ROW, **row}) + "\n" for row in rows]
        (tmp_path / "decisions.jsonl").write_text("".join(lines))
        return tmp_path

    return write


def asked(folder, protocol, sample=SAMPLE, request=REQUEST, **settings):
    given = Conditioned(baseline=str(folder), **settings)
    return given.apply(sample, request, Context(7, (sample,), protocol))


def text(request):
    return "|".join(p.text for m in request.messages for p in m.parts if isinstance(p, Text))


def test_reasoning_of_one_turn_is_given_back_word_for_word(finished):
    request = asked(finished({}), SINGLE)
    assert "\nIt barks. It is loud.\nSo:" in text(request)
    assert request.clips() == [CLIP.source]
    assert request.step == "answer"


def test_of_a_chain_that_was_a_turn_the_last_sentence_is_dropped_once(finished):
    chain = " It barks.\nIt is loud! So (b)."
    folder = finished({"reasoning": "It barks.\nIt is loud!", "steps": {"chain": chain}})
    for protocol in (TWO, SINGLE):
        assert "It barks.\nIt is loud!|The" in text(asked(folder, TWO))
        assert "loud" in text(asked(folder, protocol))
        assert "So (b)" not in text(asked(folder, protocol))


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"reasoning": ""}, "no reasoning in the baseline"),
        ({"reasoning": None}, "no reasoning in the baseline"),
        ({"reasoning": "", "steps": {"chain": " \n"}}, "no reasoning in the baseline"),
        (
            {"reasoning": "", "steps": {"chain": "So (b)."}},
            "one sentence, which its protocol drops",
        ),
        ({"id": "other"}, "no answer in the baseline"),
        ({"variant": "2"}, "no answer in the baseline"),
    ],
)
def test_items_without_reasoning_are_skipped_with_the_reason(finished, row, reason):
    skip = asked(finished(row), TWO)
    assert isinstance(skip, Skip)
    assert reason in skip.reason


@pytest.mark.parametrize(("bounds", "used"), [((1, 2), True), ((2, 6), True), ((3, 6), False)])
def test_chains_are_restricted_by_their_number_of_sentences(finished, bounds, used):
    request = asked(finished({}), SINGLE, restrict=list(bounds))
    assert isinstance(request, Request) is used


def test_another_question_or_other_options_are_refused(finished):
    folder = finished({})
    with pytest.raises(DataError, match="item 'one': its question was 'Which\\?'"):
        asked(folder, SINGLE, replace(SAMPLE, question="Who?"))
    with pytest.raises(DataError, match="'one': its options"):
        asked(folder, SINGLE, replace(SAMPLE, choices=(*CHOICES, Choice("c", "x"))))


def test_without_a_protocol_the_remedy_is_named(finished):
    with pytest.raises(ConfigError, match="protocol=two_turn"):
        asked(finished({}), None)


def test_nothing_is_read_before_it_is_needed(tmp_path):
    given = Conditioned(baseline=str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="nowhere"):
        given.apply(SAMPLE, REQUEST, Context(7, (SAMPLE,), SINGLE))


def changed(path, value):
    config = copy.deepcopy(CONFIG)
    node = config
    for name in path[:-1]:
        node = node[name]
    node[path[-1]] = value
    return config


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        (("task", "name"), "u", r"task\.name is 't' there and 'u' here"),
        (("task", "options"), "shuffled", r"task\.options is 'fixed' there"),
        (("task", "protocol"), None, r"task\.protocol is two there and None here"),
        (("task", "protocol", "letters"), "upper", r"task\.protocol\.letters is 'own' there"),
        (("model",), {"name": "n"}, r"model\.name is 'm' there and 'n' here"),
        (("model", "path"), "others", r"model\.path is 'weights' there and 'others' here"),
    ],
)
def test_a_baseline_of_something_else_is_refused(finished, path, value, named):
    folder, config = finished({}), changed(path, value)
    with pytest.raises(ConfigError, match=named):
        Conditioned(baseline=str(folder)).check(config)
    other = Conditioned(baseline=str(folder), allow_other_model=True)
    if path[0] == "model" or path[1] == "protocol":
        other.check(config)
    else:
        with pytest.raises(ConfigError, match=named):
            other.check(config)


@pytest.mark.parametrize(
    "path", [("model", "endpoint", "base_url"), ("intervention", "name"), ("task", "parser")]
)
def test_what_changes_no_reasoning_may_differ(finished, path):
    Conditioned(baseline=str(finished({}))).check(changed(path, "else"))


def test_decisions_without_their_fields_name_the_remedy(finished):
    folder = finished({})
    (folder / "decisions.jsonl").write_text('{"id": "one"}\n')
    with pytest.raises(DataError, match="rescore=true"):
        Baseline(folder).decision(SAMPLE, "")
