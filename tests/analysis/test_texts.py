import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lalm_bench.analysis import robust, texts
from lalm_bench.errors import DataError, ModelError
from tests.metrics.captions.test_networks import sentence_encoder

words = st.text(max_size=30)


@pytest.mark.parametrize(
    ("one", "other", "edit", "shared"),
    [
        ("a dog", "a dog", 1, 1),
        ("A  Dog.", "a dog.", 1, 1),
        ("", "", 1, 1),
        ("", "rain", 0, 0),
        ("...", "!", 0, 1),  # neither has a word
        ("dog dog cat", "dog bird", 1 - 7 / 11, 2 * 1 / 5),
        ("rain", "hail", 1 - 2 / 4, 0),
    ],
)
def test_similarity_by_hand(one, other, edit, shared):
    assert texts.edit(one, other) == pytest.approx(edit)
    assert texts.shared_words(one, other) == pytest.approx(shared)


@given(words, words)
def test_similarity_is_a_similarity(one, other):
    for measure in (texts.edit, texts.shared_words):
        assert 0 <= measure(one, other) <= 1
        assert measure(one, other) == pytest.approx(measure(other, one))
        assert measure(one, one) == 1


def test_an_encoder_goes_by_its_own_name(tmp_path):
    sentence_encoder(tmp_path / "tiny-bert")
    found = texts.measures(str(tmp_path / "tiny-bert"))
    assert [*found] == ["edit", "words", "semantic[tiny-bert]"]
    same, other = found["semantic[tiny-bert]"](["a dog", "a dog"], ["a dog", "rain"])
    assert same == pytest.approx(1, abs=1e-5)
    assert -1 <= other < 1
    assert [*texts.measures(None)] == ["edit", "words"]


def test_an_encoder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ModelError, match="nowhere"):
        texts.measures(str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match=r"hf download some/encoder"):
        texts.measures("some/encoder")


def test_outliers_by_median_and_mad():
    # Median 5, deviations 4 1 0 1 95: MAD 1.
    found = robust.low([1.0, 4.0, 5.0, 6.0, 100.0], 2.0)
    assert (found.median, found.spread) == (5.0, robust.MAD)
    assert found.scale == pytest.approx(1.482602)
    assert found.limit == pytest.approx(5 - 2 * 1.482602)
    assert found.outliers.tolist() == [True, False, False, False, False]  # 100 is not low
    assert found.z[0] == pytest.approx(-4 / 1.482602)


def test_outliers_where_most_values_are_equal():
    found = robust.low([1.0] * 9 + [0.0])
    assert found.spread == robust.MEAN_AD
    assert found.scale == pytest.approx(1.253314 * 0.1)
    assert found.outliers.tolist() == [False] * 9 + [True]
    alike = robust.low([2.0, 2.0])
    assert (alike.spread, alike.outliers.any()) == (robust.NO_SPREAD, False)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30), st.floats(-100, 100))
def test_outliers_do_not_depend_on_the_zero(values, shift):
    rounded = np.round(values, 3)
    first, second = robust.low(rounded), robust.low(rounded + np.round(shift))
    assert first.outliers.sum() <= len(values) / 2
    assert (first.spread == robust.NO_SPREAD) == (second.spread == robust.NO_SPREAD)
