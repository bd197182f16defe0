"""What judges wrote: both wordings, markup, missing parts, reversed order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lalm_bench.parsing.jasco import ORIENTATIONS, Verdict, verdict
from lalm_bench.parsing.open_verdict import CRITERIA, open_verdict, published_open_verdict


@pytest.mark.parametrize(
    ("text", "rating", "orientation"),
    [
        ("Explanation1: x\nRating: 2\nExplanation2: y\nOrientation: Both", 2, "both"),
        ("Rating: 2\nOrientation: Good", 2, "both"),
        ("**Rating:** 1\n**Orientation:** Audio-Oriented", 1, "audio"),
        ("**Rating**: 1\n**Orientation**: **Speech-Oriented**", 1, "speech"),
        ("Rating:\n0\nOrientation:\nNeither", 0, "neither"),
        ("Orientation: Both\nRating: 1", 1, "both"),
        ("rating: 1 (not 0)\norientation: both", 1, "both"),
        ("Rating: 0\nOn reflection.\nRating: 2\nOrientation: Both", 2, "both"),
        ("Orientation: Audio-Oriented\nRating: 1\nOrientation: Both", 1, "both"),
        ("Rating: [2]\nOrientation: [Both]", 2, "both"),
        ("Rating: (1)\nOrientation: 'Neither'", 1, "neither"),
        ("Rating: 3\nOrientation: Both", None, "both"),
        ("Rating: 1.5\nOrientation: Both", None, "both"),
        ("Rating: 10\nOrientation: Both", None, "both"),
        ("Rating: two\nOrientation: Both", None, "both"),
        ("Orientation: Both", None, "both"),
        ("Rating: 1\nI think it leans on the audio", 1, None),
        ("Rating: 1\nOrientation: Audio-Oriented/Speech-Oriented/Both/Neither", 1, None),
        ("", None, None),
        ("The operating: 2 rules", None, None),
    ],
)
def test_jasco_verdicts(text, rating, orientation):
    found = verdict(text)
    assert found == Verdict(rating, orientation)
    assert found.malformed == (rating is None or orientation is None)


@given(st.sampled_from([0, 1, 2]), st.sampled_from(ORIENTATIONS), st.text(max_size=40))
def test_a_well_formed_verdict_is_read_whatever_is_explained(rating, orientation, words):
    told = words.replace("ating", "").replace("rientation", "")
    text = f"Explanation1: {told}\nRating: {rating}\nExplanation2: {told}\n"
    text += f"Orientation: {orientation.capitalize()}"
    assert verdict(text) == Verdict(rating, orientation)


GIVEN = "CORRECTNESS: 4 - good\nRELEVANCE: 5 - yes\nCOMPLETENESS: 3 - so\nCLARITY: 4 - clear\n"


@pytest.mark.parametrize(
    ("text", "overall", "published"),
    [
        (GIVEN + "OVERALL: 5 - fine", 5.0, 5.0),
        (GIVEN + "OVERALL: [2] - fine", 2.0, 4.0),  # the published pattern misses brackets
        (GIVEN, 4.0, 4.0),
        (GIVEN + "OVERALL: 3 - fine", 3.0, 4.0),  # published: a 3 is replaced by the mean
        (GIVEN + "OVERALL: 4.5", 4.5, 4.0),
        (GIVEN + "OVERALL: 9", None, 9.0),
        ("I liked it", None, 3.0),
        ("CORRECTNESS: 1", None, 2.5),
        ("**Correctness:** 1\n**Relevance**: 1\ncompleteness: 1\nclarity: 1", 1.0, 3.0),
    ],
)
def test_open_verdicts(text, overall, published):
    assert open_verdict(text)["overall"] == overall
    assert published_open_verdict(text)["overall"] == published
    assert tuple(open_verdict(text)) == CRITERIA
