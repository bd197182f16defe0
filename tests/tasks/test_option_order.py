"""The order of options: what moves, what stays, and what is right afterwards."""

import json
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lalm_bench.errors import ConfigError
from lalm_bench.parsing.strict import extract
from lalm_bench.tasks.multiple_choice import MultipleChoice
from lalm_bench.tasks.option_order import arrangements, bound_to_order
from lalm_bench.types import Choice, Generation, Response, Sample

TEXTS = ("a dog", "a cat", "rain", "a car")


def sample(texts=TEXTS, target="A", name="i", labels="ABCDEFGH"):
    choices = tuple(Choice(label, text) for label, text in zip(labels, texts, strict=False))
    return Sample(name, (), "Which?", choices, target, name)


def task(mode, **more):
    return MultipleChoice(
        name="t", prompt="{question}\n{options}", parser=extract, options=mode, **more
    )


def answers(of, item, say):
    """Scores when `say(request)` answers each request."""
    asked = of.requests(item, Generation())
    given = [Response("k", item.id, say(r), variant=r.variant) for r in asked]
    return asked, of.score(item, given)


def label_of(request, text):
    return next(c.label for c in request.choices if c.text == text)


@given(
    n=st.integers(1, 8),
    mode=st.sampled_from(["fixed", "shuffled", "circular"]),
    name=st.text(min_size=1, max_size=8),
    data=st.data(),
)
@settings(max_examples=60)
def test_who_knows_the_text_is_right_in_every_order(n, mode, name, data):
    texts = [f"sound {i}" for i in range(n)]
    right = data.draw(st.integers(0, n - 1))
    item = sample(texts, "ABCDEFGH"[right], name)
    asked, scores = answers(task(mode), item, lambda r: label_of(r, texts[right]))
    assert [s.values["correct"] for s in scores] == [1.0] * len(asked)
    assert {s.label for s in scores} == {item.target}
    for request in asked:
        assert [c.label for c in request.choices] == [c.label for c in item.choices]
        assert sorted(c.text for c in request.choices) == sorted(texts)
        assert [f"{c.label}. {c.text}" for c in request.choices] == request.messages[0].parts[
            0
        ].text.splitlines()[1:]
    if mode == "circular":
        for text in texts:
            assert Counter(label_of(r, text) for r in asked) == Counter("ABCDEFGH"[:n])


def test_a_wrong_text_is_wrong_and_keeps_its_own_label():
    _, scores = answers(task("circular"), sample(), lambda r: "It is rain.")
    assert [(s.label, s.values["correct"]) for s in scores] == [("C", 0.0)] * 4
    assert [s.values["position"] for s in scores] == [2.0, 1.0, 0.0, 3.0]
    assert [s.values["target_position"] for s in scores] == [0.0, 3.0, 2.0, 1.0]


def test_a_letter_is_right_once_in_a_circle():
    _, scores = answers(task("circular"), sample(), lambda r: "B")
    assert [s.label for s in scores] == ["B", "C", "D", "A"]
    assert sum(s.values["correct"] for s in scores) == 1.0


def test_labels_with_gaps_stay_in_place():
    item = sample(("x one", "y two", "z three"), "D", labels="ADF")
    asked, scores = answers(task("circular"), item, lambda r: label_of(r, "y two"))
    assert [c.label for c in asked[1].choices] == ["A", "D", "F"]
    assert [s.label for s in scores] == ["D"] * 3


def test_an_unparsed_answer_has_no_place():
    _, scores = answers(task("shuffled"), sample(), lambda r: "I cannot tell")
    assert scores[0].label is None
    assert scores[0].values["position"] != scores[0].values["position"]


def test_shuffling_is_seeded_by_item_and_by_seed_and_is_fair():
    first = Counter()
    for n in range(600):
        item = sample(name=f"item {n}")
        (order,) = arrangements("shuffled", item, 7)
        assert arrangements("shuffled", item, 7) == (order,)
        first[order.order.index(0)] += 1
    assert all(110 < first[place] < 190 for place in range(4))
    orders = [arrangements("shuffled", sample(name=f"{n}"), 7)[0].order for n in range(30)]
    assert orders != [arrangements("shuffled", sample(name=f"{n}"), 8)[0].order for n in range(30)]


@pytest.mark.parametrize(
    ("text", "bound"),
    [
        ("all of the above", True),
        ("None of the above.", True),
        ("both A and B", True),
        ("Neither (B) nor (C)", True),
        ("options above", True),
        ("none of the speakers", False),
        ("The sound source moves around above the microphone", False),
        ("D and A", False),
        ("both a cello and a flute", False),
        ("louder than the previous", False),
    ],
)
def test_options_that_speak_of_others_keep_their_order(text, bound):
    assert bound_to_order(("a dog", text)) is bound
    asked = task("circular").requests(sample(("a dog", text)), Generation())
    assert len(asked) == (1 if bound else 2)


def test_few_published_items_are_bound(shared_data):
    """Those of MMAU and MMAR speak of speakers, segments and notes, and not of options."""
    items = json.loads((shared_data / "mmau" / "mmau-test-mini.json").read_text())
    lines = (shared_data / "mmar" / "MMAR-meta.jsonl").read_text().splitlines()
    bound = [
        i["choices"]
        for i in (*items, *map(json.loads, lines))
        if bound_to_order(tuple(i["choices"]))
    ]
    assert bound == []


def test_equal_options_are_equally_right():
    """As MMAU has them: naming the second of two equal texts, or the text, is right."""
    item = sample(("thirteen", "twenty", "thirteen", "five"))
    for say in ("A", "C", "thirteen", "(C) thirteen"):
        scores = task("fixed").score(item, [Response("k", "i", say)])
        assert (scores[0].label, scores[0].values["correct"]) == ("A", 1.0), say
    wrong = sample(("twenty", "five", "five", "six"))
    scores = task("fixed").score(wrong, [Response("k", "i", "C")])
    assert (scores[0].label, scores[0].values["correct"]) == ("B", 0.0)


def test_compared_rules_follow_the_order_too():
    of = task("circular", compare_parsers={"other": extract})
    _, scores = answers(of, sample(), lambda r: label_of(r, "a dog"))
    assert all(s.values["correct[other]"] == 1.0 for s in scores)


def test_an_unknown_order_is_refused():
    with pytest.raises(ConfigError, match=r"task\.options=random"):
        task("random")


def test_a_circular_run_of_sakura(bench, run_folders, shared_data):
    words = ("task=sakura", f"task.root={shared_data / 'sakura'}", "task.options=circular")
    bench(*words, "model=random", "tracking=none", "figures=false", check=0)
    (folder,) = run_folders().values()
    values = json.loads((folder / "metrics.json").read_text())["metrics"]
    assert (values["n"], values["n_answers"]) == (320, 2 * 40 * 2 + 3 * 2 * 40 * 4)
    assert values["chance"] == pytest.approx(0.3125)
    # A guesser is right in all rotations by luck only, changes its mind, and prefers no place.
    assert values["accuracy_strict"] < 0.2 < values["accuracy"] < 0.42
    assert values["chance_strict"] == pytest.approx((0.25 + 3 / 256) / 4)
    assert values["flip_rate"] > 0.7
    assert values["letter_bias"] < 0.08
    assert values["best_constant_answer"] == pytest.approx(0.3125)
    table = (folder / "results_table.md").read_text()
    assert "accuracy_strict" in table
