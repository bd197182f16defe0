"""Kinds of tokens, pieces of clips, and when audio tokens sound."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lalm_bench.capture.files import folder_name
from lalm_bench.capture.tokens import kinds_of, pieces_of, soundings


def test_audio_is_audio_even_where_its_token_is_a_control():
    kinds = kinds_of(torch.tensor([7, 3, 3, 9, 7]), torch.tensor([1, 2]), frozenset([3, 7]))
    assert kinds.tolist() == [2, 0, 0, 1, 2]


def test_one_clip_sounds_from_its_beginning_whatever_stands_between():
    found = soundings(np.array([4, 5, 9]), [[0.25]], rate=10.0)
    assert [(s.clip, s.start, s.end, s.heard) for s in found] == [
        (0, 0.0, 0.1, True),
        (0, 0.1, 0.2, True),
        (0, 0.2, 0.3, True),
    ]
    assert [s.heard for s in soundings(np.arange(4), [[0.2]], 10.0)] == [True, True, False, False]


def test_clips_are_told_apart_by_what_stands_between_them():
    found = soundings(np.array([1, 2, 3, 6, 7]), [[0.3], [0.2]], rate=10.0)
    assert [(s.clip, round(s.start, 1)) for s in found] == [
        *((0, 0.0), (0, 0.1), (0, 0.2)),
        *((1, 0.0), (1, 0.1)),
    ]


def test_pieces_of_a_long_clip_follow_each_other_in_time():
    found = soundings(np.arange(6), [[0.3, 0.3]], rate=10.0)
    assert [round(s.start, 1) for s in found] == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]
    assert {s.clip for s in found} == {0}


def test_neighbours_of_different_lengths_are_not_guessed():
    assert soundings(np.arange(5), [[0.3], [0.2]], rate=10.0) is None


@given(st.floats(0.1, 500), st.floats(1, 60))
def test_pieces_fit_and_lose_nothing(seconds, longest):
    pieces = pieces_of(seconds, longest, "chunk")
    assert sum(pieces) == pytest.approx(seconds)
    assert max(pieces) <= longest * (1 + 1e-9)
    assert pieces_of(seconds, longest, "truncate") == [min(seconds, longest)]
    assert pieces_of(seconds, None, "error") == [seconds]


@given(st.text(min_size=1, max_size=200), st.text(max_size=20), st.text(min_size=1, max_size=200))
def test_folder_names_are_safe_and_differ(item, variant, other):
    name = folder_name(item, variant)
    assert name.isascii()
    assert name not in ("", ".", "..")
    assert not set(name) & set('/\\:*?"<>| \n\0')
    assert len(name) < 100
    if item != other:
        assert name != folder_name(other, variant)
