import pytest

from lalm_bench.analysis import criteria, sifting
from lalm_bench.analysis.sifting import Rarity, Rules, sift

ITEM = {"question": "What barks at night?", "answer": "Dog", "others": ["Cat", "Hot dog stand"]}
BARK = "Award 1 point if a bark is described."
STEPS = "Award 1 point if footsteps are heard."


def kept_of(*written, rules=None, rarity=None, **item):
    written = [w if isinstance(w, dict) else {"name": "n", "scoring_point": w} for w in written]
    texts = [w["scoring_point"] for w in written if isinstance(w.get("scoring_point"), str)]
    rarity = rarity or Rarity.of(texts)
    return sift({**ITEM, **item, "criteria": written}, rules or Rules(), rarity)


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ({"name": "Bark"}, sifting.NO_TEXT),
        ({"scoring_point": "good answer"}, sifting.NO_TEXT),
        ({"scoring_point": 3}, sifting.NO_TEXT),
        ({"scoring_point": BARK, "choices": [0, 1, 2]}, sifting.SCORES),
        ({"scoring_point": BARK, "choices": [1]}, sifting.SCORES),
        ({"scoring_point": BARK, "choices": "0 or 1"}, sifting.SCORES),
        ({"scoring_point": BARK, "choices": [False, True]}, sifting.SCORES),
        ({"scoring_point": BARK, "weight": 0}, sifting.WEIGHT),
        ({"scoring_point": BARK, "weight": float("inf")}, sifting.WEIGHT),
        ({"scoring_point": BARK, "weight": float("nan")}, sifting.WEIGHT),
        ({"scoring_point": BARK, "weight": 10**400}, sifting.WEIGHT),
        ({"scoring_point": BARK, "choices": [0, 10**400]}, sifting.SCORES),
        ({"scoring_point": BARK, "choices": [0, None]}, sifting.SCORES),
        ({"scoring_point": BARK, "weight": "much"}, sifting.WEIGHT),
        ({"scoring_point": "Award 1 point if the dog is named."}, sifting.LEAK),
        ({"name": "The dog", "scoring_point": BARK}, sifting.LEAK),
    ],
)
def test_what_cannot_be_judged_with_is_dropped_for_its_reason(written, reason):
    kept, dropped = kept_of(written)
    assert kept == []
    assert [why for why, _ in dropped] == [reason]


def test_a_criterion_in_the_form_that_judges_read():
    half = {"name": " A  bark ", "scoring_point": f" {BARK}", "choices": [0, 0.5, 1], "weight": 3}
    kept, dropped = kept_of(half, STEPS)
    assert dropped == []
    assert kept[0] == {
        "name": "A bark",
        "scoring_point": BARK,
        "note": "",
        "choices": [0, 0.5, 1],
        "weight": 0.75,
    }
    assert kept[1]["weight"] == 0.25


def test_naming_the_answer_beside_another_option_or_as_the_question_does_is_no_leak():
    compares = "Award 1 point if it tells the dog from the cat."
    assert not sifting.leaks(compares, ITEM)
    assert sifting.leaks("Award 1 point if it is not the dog.", ITEM)
    asked = {**ITEM, "question": "When does the dog bark?"}
    assert not sifting.leaks("Award 1 point if the dog is named.", asked)
    # Words, not letters; and an option that is part of the answer is named with it.
    assert not sifting.leaks("Award 1 point if dogma is avoided.", ITEM)
    assert not sifting.leaks("Award 1 point if the hot dog stand is ruled out.", ITEM)
    longer = {**ITEM, "answer": "hot dog stand", "others": ["dog"]}
    assert sifting.leaks("Award 1 point if the hot dog stand is named.", longer)


def test_duplicates_and_near_duplicates():
    again = "award 1 point if a BARK is described!"
    close = "Award 1 point if a loud bark is described."
    kept, dropped = kept_of(BARK, again, close, STEPS, rules=Rules(near=0.8))
    assert [c["scoring_point"] for c in kept] == [BARK, STEPS]
    assert dropped == [(sifting.SAME, again), (sifting.NEAR, close)]


def test_what_all_criteria_share_makes_none_alike():
    """Seven of eight words are the same, and yet they ask for different things."""
    texts = [f"Award 1 point if the answer mentions {w}." for w in ("rain", "wind", "hail", "fog")]
    assert len(kept_of(*texts)[0]) == 4
    flat = Rarity(0, {})  # without knowing what is common
    assert flat.alike(texts[0], texts[1]) == pytest.approx(7 / 8)
    rarity = Rarity.of(texts)
    assert rarity.alike(texts[0], texts[1]) < 0.8
    assert rarity.alike(texts[0], texts[0]) == pytest.approx(1)
    assert rarity.alike("...", texts[0]) == 0


def test_of_too_many_the_weightiest_stay_in_their_order():
    written = [
        {"scoring_point": f"Award 1 point if {word} is described.", "weight": weight}
        for word, weight in (("thunder", 1), ("laughter", 3), ("applause", 1), ("silence", 2))
    ]
    kept, dropped = kept_of(*written, rules=Rules(most=2))
    assert [(c["scoring_point"].split()[4], c["weight"]) for c in kept] == [
        ("laughter", 0.6),
        ("silence", 0.4),
    ]
    assert [why for why, _ in dropped] == [sifting.BEYOND] * 2


@pytest.mark.parametrize(
    ("reply", "count"),
    [
        ('[{"name": "a"}, {"name": "b"}]', 2),
        ('{"criteria": [{"name": "a"}]}', 1),
        ('First [{"name": "a"}], no: ```json\n[{"name": "a"}, {"name": "b"}]\n```', 2),
        ('[{"name": "cut', None),
        ("[1, 2]", None),
        ("[]", None),
        ("I cannot.", None),
        ('[{"name": "a"}] [{"weight": ' + 5000 * "9" + "}]", 1),
        (100_000 * "[", None),
    ],
)
def test_replies_are_read(reply, count):
    found = criteria.read(reply)
    assert (None if found is None else len(found)) == count


def test_half_a_surrogate_pair_can_be_stored():
    (found,) = criteria.read('[{"scoring_point": "Award 1 point \\ud800 if it barks."}]')
    kept, _ = kept_of(found)
    kept[0]["scoring_point"].encode()
