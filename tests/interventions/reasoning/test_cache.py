"""Perturbations from files, and injected reasoning, on one item."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lalm_bench.errors import ConfigError, DataError
from lalm_bench.interventions.reasoning.adding_mistakes import AddingMistakes
from lalm_bench.interventions.reasoning.injected import InjectedReasoning
from lalm_bench.interventions.reasoning.paraphrase import Paraphrase
from lalm_bench.interventions.reasoning.steps import SilentClip, Step, Writer, fill
from lalm_bench.types import AudioSource, Choice, Context, Message, Request, Response, Skip, Text
from tests.interventions.reasoning.test_baseline import (
    CLIP,
    REQUEST,
    SAMPLE,
    SINGLE,
    TWO,
    finished,
    text,
)

__all__ = ["finished"]

CHAIN = "It barks quite loudly. It is near. Thus a dog."
TEXT = Writer("Reword: {text}", 99)
SENTENCE = Writer("Wrong: {before}<{sentence}>", 9, 0.7, 0.9)
MISTAKE = {
    **{"id": "one", "chain_id": 0, "sentence_idx": 0},
    **{"original_sentence": "It barks quite  loudly.", "mistaken_sentence": "It meows."},
}
PARAPHRASE = {"id": "one", "chain_id": 0, "sentence_idx": 0}
PARAPHRASE |= {"original_text": "It is near.", "paraphrased_text": "Close by."}


@pytest.fixture
def made(tmp_path, finished):
    """`made(kind, rows, level)`: an intervention on CHAIN, with a file where rows are given."""

    def make(kind, rows=None, level=0.0, **more):
        folder = finished({"reasoning": CHAIN})
        path = tmp_path / "file.jsonl"
        if rows is not None:
            path.write_text("\n".join(r if isinstance(r, str) else json.dumps(r) for r in rows))
            more["file"] = str(path)
        if kind is Paraphrase:
            more.setdefault("writer", TEXT)
        else:
            more = {"writer": SENTENCE, "continuation_tokens": 33, **more}
        return kind(baseline=str(folder), level=level, **more)

    return make


def applied(intervention, protocol=SINGLE, sample=SAMPLE, request=REQUEST):
    return intervention.apply(sample, request, Context(7, (sample,), protocol))


def followed(intervention, step, said, protocol=SINGLE):
    response = Response("k", "one", said)
    return intervention.follow(SAMPLE, step, response, Context(7, (SAMPLE,), protocol))


def test_a_mistake_is_written_continued_and_given_back(made):
    intervention = made(AddingMistakes, level=0.5)
    step = applied(intervention)
    assert (step.step, text(step)) == ("mistake", "Wrong: It barks quite loudly.<It is near.>")
    assert (step.clips(), step.choices) == ([], ())
    generation = step.generation
    assert (generation.max_new_tokens, generation.temperature, generation.top_p) == (9, 0.7, 0.9)
    on = followed(intervention, step, "\n It is far.\nSentence: x")
    assert (on.step, on.clips(), on.generation.max_new_tokens) == (
        "continuation",
        [CLIP.source],
        33,
    )
    assert on.messages[-1] == Message("assistant", (Text("It barks quite loudly. It is far."),))
    last = followed(intervention, on, "So it whispers. (a)")
    assert last.step == "answer"
    assert "\nIt barks quite loudly. It is far. So it whispers.\nSo:" in text(last)


def test_in_two_turns_the_chain_goes_on_where_the_protocol_opened_it(made):
    intervention = made(AddingMistakes, level=1)
    on = followed(intervention, applied(intervention, TWO), "Thus a cat.", TWO)
    said = "Step by step: It barks quite loudly. It is near. Thus a cat."
    assert on.messages[-1] == Message("assistant", (Text(said),))
    last = followed(intervention, on, " So what. It is (a).", TWO)
    assert [m.role for m in last.messages] == ["user", "assistant", "user"]
    assert last.messages[1] == Message("assistant", (Text(said + " So what."),))
    # Nothing was added, so there is nothing to drop either.
    assert followed(intervention, on, "", TWO).messages[1] == Message("assistant", (Text(said),))


def test_the_opened_tag_is_found_again():
    from lalm_bench.protocols import Prompt, Protocol
    from lalm_bench.protocols.splits import by_tag

    tagged = Protocol(
        name="tagged",
        prompt=Prompt(user="{question}"),
        splitter=by_tag,
        conditioned=Prompt(user="{question} <Reasoning>{reasoning}</Reasoning>"),
    )
    step = Step(sample_id="one", messages=(), step="mistake", origin=REQUEST, before="It barks. ")
    intervention = AddingMistakes(
        baseline="x", level=0, writer=SENTENCE, continuation_tokens=5, name="m"
    )
    on = followed(intervention, step, "Softly.", tagged)
    assert on.messages[-1] == Message("assistant", (Text("<Reasoning>\nIt barks. Softly."),))
    last = followed(intervention, on, "A cat.\n</Reasoning>\n<Conclusion>A", tagged)
    assert "<Reasoning>It barks. Softly. A cat.</Reasoning>" in text(last)


@pytest.mark.parametrize("kind", [AddingMistakes, Paraphrase])
def test_what_is_left_empty_is_skipped(made, kind):
    intervention = made(kind, level=0.5)
    assert isinstance(followed(intervention, applied(intervention), " \n"), Skip)
    assert intervention.follow(SAMPLE, REQUEST, Response("k", "one", "x"), None) is None


def test_a_mistake_from_a_file(made):
    on = applied(made(AddingMistakes, [MISTAKE, {**MISTAKE, "id": "unknown"}]))
    assert on.step == "continuation"
    assert on.messages[-1] == Message("assistant", (Text("It meows."),))
    missing = applied(made(AddingMistakes, [MISTAKE], level=1))
    assert missing == Skip("no mistake in this sentence in intervention.file")
    assert isinstance(applied(made(AddingMistakes, [{**MISTAKE, "id": "unknown"}])), Skip)


def test_paraphrases_of_the_model(made):
    assert "\n" + CHAIN + "\n" in text(applied(made(Paraphrase, level=0)))
    intervention = made(Paraphrase, level=0.7)
    step = applied(intervention)
    assert (step.step, text(step)) == ("paraphrase", "Reword: It barks quite loudly. It is near.")
    assert "\nA dog, close. Thus a dog.\nSo:" in text(followed(intervention, step, "A dog, close."))


def test_paraphrases_from_a_file_together_or_one_by_one(made):
    first = {**PARAPHRASE, "original_text": "It barks quite loudly.", "paraphrased_text": "Woof!"}
    both = {**PARAPHRASE, "original_text": CHAIN[:-12], "paraphrased_text": "Woof, close."}
    assert "\nWoof! Close by. Thus a dog.\n" in text(
        applied(made(Paraphrase, [first, PARAPHRASE], level=0.7))
    )
    assert "\nWoof, close. Thus a dog.\n" in text(
        applied(made(Paraphrase, [both, first, PARAPHRASE], level=0.7))
    )
    assert isinstance(applied(made(Paraphrase, [PARAPHRASE], level=0.7)), Skip)


@pytest.mark.parametrize(
    ("kind", "rows", "named"),
    [
        (AddingMistakes, ["{"], "line 1: no JSON"),
        (AddingMistakes, ["[1]"], "line 1: no JSON object"),
        (AddingMistakes, [MISTAKE, {**MISTAKE, "id": 3}], "line 2: 'id' is 3"),
        (AddingMistakes, [{**MISTAKE, "sentence_idx": -1}], "'sentence_idx' is -1"),
        (AddingMistakes, [{**MISTAKE, "sentence_idx": "0"}], "'sentence_idx' is '0'"),
        (AddingMistakes, [{**MISTAKE, "mistaken_sentence": " "}], "'mistaken_sentence'"),
        (AddingMistakes, [{**MISTAKE, "variant": 1}], "'variant' is 1"),
        (
            AddingMistakes,
            [MISTAKE, MISTAKE, {**MISTAKE, "mistaken_sentence": "It sings."}],
            "lines 1 and 3: two texts for one place",
        ),
        (
            AddingMistakes,
            [MISTAKE, {**MISTAKE, "sentence_idx": 1}],
            r"line 2, item 'one': sentence 1 \(from 0\)",
        ),
        (AddingMistakes, [{**MISTAKE, "sentence_idx": 9}], "sentence 9"),
        (AddingMistakes, [MISTAKE, {**MISTAKE, "chain_id": 4}], r"several chains \(0, 4\)"),
        (AddingMistakes, [], "no row"),
        (Paraphrase, [{**PARAPHRASE, "original_text": "It sings."}], "no sentence and no beginn"),
        (Paraphrase, [PARAPHRASE, {**PARAPHRASE, "paraphrased_text": "Far."}], "lines 1 and 2"),
    ],
)
def test_a_file_that_cannot_be_right_is_refused(made, kind, rows, named):
    with pytest.raises(DataError, match=named):
        applied(made(kind, rows, level=1))


def test_what_is_not_used_of_a_file_is_counted(made, capsys):
    other = {**MISTAKE, "chain_id": 1, "mistaken_sentence": "It sings."}
    rows = [MISTAKE, other, {**MISTAKE, "id": "unknown"}]
    intervention = made(AddingMistakes, rows, chain_id=0)
    applied(intervention)
    assert intervention.report() == {"unknown_ids": 1, "rows_of_other_chains": 1}
    assert "unknown_ids=1" in capsys.readouterr().err
    chosen = made(AddingMistakes, [MISTAKE, other], chain_id=1)
    assert text(applied(chosen)).endswith("It sings.")
    assert chosen.inputs()[0].name == "file.jsonl"


def test_a_chain_that_the_file_lacks_is_named(made):
    with pytest.raises(DataError, match="no row of chain 3"):
        applied(made(AddingMistakes, [MISTAKE], chain_id=3))


def test_an_absent_file_is_named(made):
    with pytest.raises(DataError, match=r"nowhere\.jsonl: cannot be read"):
        applied(made(AddingMistakes, file="nowhere.jsonl"))


def test_a_prompt_must_have_a_place_for_what_it_is_about(made):
    with pytest.raises(ConfigError, match=r"writer.prompt has no \{text\}"):
        made(Paraphrase, writer=Writer("Reword it.", 9))


def test_a_step_needs_no_clip_or_a_silent_one():
    request = Writer("{question} {text}", 9, silent_clip=True).step("s", REQUEST, {"text": "x"})
    (source,) = request.clips()
    assert source == AudioSource(SilentClip())
    wave, rate = source.clip.synthesise()
    assert (len(wave), rate, source.clip.seconds(), wave.any()) == (16000, 16000, 1.0, False)
    assert text(request) == "Which? x"


@given(st.text(max_size=30))
def test_what_stands_in_a_value_is_no_place_to_fill(value):
    value += "{question}{b}{a}"
    found = fill("<{a}> {question} [{b}]", REQUEST, {"a": value, "b": "{a}"})
    assert found == f"<{value}> Which? [{{a}}]"


TEMPLATES = ("It sounds like {answer}. Surely.", "What else but {answer}?")


def injected(tmp_path=None, rows=None, **more):
    if rows is not None:
        more["file"] = str(tmp_path / "why.jsonl")
        (tmp_path / "why.jsonl").write_text("\n".join(map(json.dumps, rows)))
    settings = {"answer": "right", "source": "templates", "templates": TEMPLATES, **more}
    return InjectedReasoning(writer=Writer("Why {answer} ({label})?", 50), **settings)


def test_right_and_wrong_reasoning_differ_in_the_answer_alone():
    right, wrong = (text(applied(injected(answer=answer))) for answer in ("right", "wrong"))
    assert "sounds like a dog" in right or "What else but a dog" in right
    assert right.count("a dog") == wrong.count("a dog") + 1
    before, _, after = right.rpartition("a dog")
    assert wrong == before + "a cat" + after


def test_the_wrong_option_is_drawn_by_seed_and_never_equal_to_the_right_one():
    from dataclasses import replace

    many = (*SAMPLE.choices, Choice("c", "a dog"), Choice("d", "a hen"), Choice("e", "a cow"))
    seen = set()
    for seed in range(30):
        sample = replace(SAMPLE, choices=many)
        request = injected(answer="wrong").apply(sample, REQUEST, Context(seed, (), SINGLE))
        assert request == injected(answer="wrong").apply(sample, REQUEST, Context(seed, (), SINGLE))
        seen |= {c.text for c in many if c.text in text(request).rpartition("Think.")[2]}
    assert seen == {"a cat", "a hen", "a cow"}
    lone = replace(SAMPLE, choices=SAMPLE.choices[1:])
    assert isinstance(applied(injected(answer="wrong"), sample=lone), Skip)


def test_the_model_may_write_the_reasoning_and_labels_are_those_that_it_saw():
    shown = Request("one", REQUEST.messages, (Choice("A", "a dog"), Choice("B", "a cat")), "Which?")
    intervention = injected(source="model")
    step = applied(intervention, request=shown)
    assert (step.step, text(step)) == ("rationale", "Why a dog (A)?")
    assert "\nIt barks.\nSo:" in text(followed(intervention, step, "It barks.\n"))
    assert isinstance(followed(intervention, step, ""), Skip)


def test_reasoning_from_a_file(tmp_path):
    rows = [{"id": "one", "label": "a", "reasoning": "It purrs."}]
    assert "It purrs." in text(applied(injected(tmp_path, rows, answer="wrong")))
    assert isinstance(applied(injected(tmp_path, rows)), Skip)
    with pytest.raises(DataError, match="line 1, item 'one': label 'z' is none of a, b"):
        applied(injected(tmp_path, [{**rows[0], "label": "z"}]))


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"answer": "both"}, "answer='both'"),
        ({"source": "books"}, "source='books'"),
        ({"templates": ["It is clear."]}, "templates"),
        ({"templates": []}, "templates"),
    ],
)
def test_wrong_settings_of_injection_are_named(settings, named):
    with pytest.raises(ConfigError, match=named):
        injected(**settings)
