"""Remembering extractors: one computation a clip, whoever asks, and never a wrong one."""

from __future__ import annotations

import threading
from copy import deepcopy
from types import SimpleNamespace

import numpy as np
import pytest

from lalm_bench.models.features import KEPT, remember


class Extractor:
    """Counts its calls; `sampling_rate` stands for all that a processor looks up."""

    sampling_rate = 16000
    calls = 0
    gate = None

    def __call__(self, audio, scale=1.0, **options):
        type(self).calls += 1
        if self.gate:
            self.gate.wait(5)
        if scale == 0:
            raise ValueError("silence")
        return {"input_features": scale * np.asarray(audio[0]).sum(), **options}


@pytest.fixture
def processor():
    Extractor.calls, Extractor.gate = 0, None
    made = SimpleNamespace(feature_extractor=Extractor())
    remember(made)
    return made


CLIP, OTHER = np.ones(4, np.float32), np.arange(4, dtype=np.float32)


def test_a_clip_is_computed_once_for_all_copies(processor):
    copies = [processor, deepcopy(processor), deepcopy(processor)]
    found = [p.feature_extractor([CLIP.copy()]) for p in copies]
    assert [f["input_features"] for f in found] == [4.0] * 3
    assert Extractor.calls == 1
    found[0].pop("input_features")  # what one caller does to its container is its own business
    assert processor.feature_extractor([CLIP])["input_features"] == 4.0


@pytest.mark.parametrize(
    "different",
    [
        lambda ask: ask([OTHER]),
        lambda ask: ask([CLIP], scale=2.0),
        lambda ask: ask([CLIP, CLIP]),
        lambda ask: ask([CLIP.reshape(2, 2)]),
        lambda ask: ask([CLIP.astype(np.float64)]),
    ],
)
def test_whatever_could_change_the_features_is_computed_anew(processor, different):
    processor.feature_extractor([CLIP])
    different(processor.feature_extractor)
    assert Extractor.calls == 2


def test_threads_wait_for_the_one_that_computes(processor):
    Extractor.gate = threading.Event()
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(processor.feature_extractor([CLIP])))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    Extractor.gate.set()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert Extractor.calls == 1


def test_a_refusal_reaches_every_caller(processor):
    for _ in range(2):
        with pytest.raises(ValueError, match="silence"):
            processor.feature_extractor([CLIP], scale=0)


def test_old_clips_are_forgotten(processor):
    for n in range(KEPT + 1):
        processor.feature_extractor([np.full(3, n, np.float32)])
    processor.feature_extractor([np.full(3, 0, np.float32)])
    assert Extractor.calls == KEPT + 2


def test_other_attributes_are_the_extractors_own(processor):
    assert processor.feature_extractor.sampling_rate == 16000
    with pytest.raises(AttributeError):
        _ = processor.feature_extractor.nothing_of_the_kind
