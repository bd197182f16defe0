import random
from collections import Counter

import pytest

from lalm_bench.models.random import RandomModel
from lalm_bench.randomness import derive
from lalm_bench.tasks.synthetic.catalogue import TRIVIAL
from lalm_bench.tasks.synthetic.task import scenes
from lalm_bench.types import Choice, Generation, Request

# Accuracy of the published baseline, 100 scenes a family, each family a run of its own.
PUBLISHED = {
    "pitch_order_trivial": 47,
    "loudness_order_trivial": 46,
    "duration_order_trivial": 64,
    "count_beeps_trivial": 39,
    "gap_trivial": 59,
    "pattern_pitch_trivial": 60,
    "dog_car_order_trivial": 54,
}


def requests(count, options, run_seed=7):
    choices = tuple(Choice("ABCDEFGHIJ"[i], f"option {i}") for i in range(options))
    return [
        Request(
            f"item-{i}",
            (),
            choices,
            generation=Generation(seed=derive(run_seed, f"item-{i}", "answer")),
            variant="v",
            key=f"key-{i}",
        )
        for i in range(count)
    ]


@pytest.mark.parametrize(("family", "right"), PUBLISHED.items())
def test_the_published_scores_are_reproduced(family, right):
    assert set(PUBLISHED) == set(TRIVIAL)
    samples = list(scenes(family, "easy", 100, 7, compat=True))
    asked = [Request(s.id, (), s.choices) for s in samples]
    answers = RandomModel(compat=True).answer(asked)
    hits = sum(a.text == s.target for a, s in zip(answers, samples, strict=True))
    assert hits == right


def test_every_run_of_the_published_baseline_starts_afresh():
    model, asked = RandomModel(compat=True), requests(50, 3)
    first, second = ([a.text for a in model.answer(asked)] for _ in range(2))
    assert first == second


@pytest.mark.parametrize("options", [2, 3, 5, 10])
def test_guesses_are_uniform(options):
    count = 6_000
    drawn = Counter(a.text for a in RandomModel().answer(requests(count, options)))
    expected = count / options
    chi_square = sum((n - expected) ** 2 / expected for n in drawn.values())
    assert len(drawn) == options
    # Far beyond the 0.999 quantile for at most nine degrees of freedom; the seeds are fixed.
    assert chi_square < 28


def test_guesses_do_not_depend_on_order_or_company():
    asked = requests(200, 4)
    plain = {a.sample_id: a.text for a in RandomModel().answer(asked)}
    shuffled = asked[:]
    random.Random(1).shuffle(shuffled)
    assert {a.sample_id: a.text for a in RandomModel().answer(shuffled)} == plain
    assert {a.sample_id: a.text for a in RandomModel().answer(asked[50:51])} == {
        "item-50": plain["item-50"]
    }


def test_another_run_seed_draws_anew():
    one, other = ([a.text for a in RandomModel().answer(requests(100, 4, seed))] for seed in (7, 8))
    assert one != other


def test_labels_need_not_be_contiguous():
    choices = (Choice("B", "x"), Choice("D", "y"), Choice("AF", "z"))
    asked = [Request(str(i), (), choices, generation=Generation(seed=i)) for i in range(9)]
    assert {a.text for a in RandomModel().answer(asked)} == {"B", "D", "AF"}


def test_responses_carry_the_request():
    (answer,) = RandomModel().answer(requests(1, 2))
    assert (answer.key, answer.sample_id, answer.variant) == ("key-0", "item-0", "v")
    assert answer.finish == "stop"


@pytest.mark.parametrize("compat", [False, True])
def test_without_options_there_is_no_answer_but_an_error(compat):
    bare = Request("item-1", (), (), generation=Generation(seed=3))
    (answer,) = RandomModel(compat=compat).answer([bare])
    assert answer.finish == "error"
    assert "item-1: no options" in answer.error


def test_without_a_seed_there_is_an_error():
    (answer,) = RandomModel().answer([Request("item-1", (), (Choice("A", "x"),))])
    assert answer.finish == "error"
    assert "seed" in answer.error


def test_what_the_pipeline_must_know():
    plain, compat = RandomModel(), RandomModel(compat=True)
    assert plain.rate is None
    assert plain.stochastic
    assert compat.stochastic
    assert not plain.sequential
    assert compat.sequential
    assert plain.identity() != compat.identity()
