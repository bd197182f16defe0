"""What edits did reaches the answer's usage, whichever model hears the clips."""

import pytest

from lalm_bench import audio_facts
from lalm_bench.interventions.gain import GainEdit
from lalm_bench.interventions.noise import NoiseEdit
from lalm_bench.models.api import ApiModel
from lalm_bench.models.hf import HFModel
from lalm_bench.types import AudioRef, AudioSource


def clips(wav):
    plain = AudioRef(str(wav()))
    edits = ((NoiseEdit(5.0, 1, "white", "float"),), (GainEdit(-20.0, "float"),), ())
    return [AudioSource(plain, e) for e in edits]


def models():
    yield HFModel(name="hf", path="nowhere")
    yield ApiModel(name="api", served_name="x", deployment="x", endpoint=None)


@pytest.mark.parametrize("model", [*models()], ids=lambda m: m.name)
def test_models_tell_what_edits_did_to_all_clips(model, wav):
    _, usage = model._hear(clips(wav))
    assert usage["audio_s"] == pytest.approx(3)
    assert usage["snr_db"] == pytest.approx(5, abs=0.01)
    assert usage["gain"] == pytest.approx((1 + 0.1) / 2)
    assert usage["unchanged"] == 0
    assert usage.keys() >= {"clipped_share", "silent"}


@pytest.mark.parametrize("model", [*models()], ids=lambda m: m.name)
def test_a_baseline_has_nothing_to_tell(model, wav):
    _, usage = model._hear(clips(wav)[2:])
    assert not usage.keys() & set(audio_facts.NAMES)


def test_numbers_that_json_cannot_say_are_left_out():
    facts = {}
    audio_facts.note(facts, {"snr_db": float("inf"), "gain": 0.5})
    audio_facts.note(facts, {"snr_db": float("nan"), "gain": 0.5})
    assert facts == {"gain": 0.25}
