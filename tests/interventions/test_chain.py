"""Chains: steps in the order of their names, composed by Hydra."""

import numpy as np
import pytest

from lalm_bench import audio
from lalm_bench.errors import ConfigError
from lalm_bench.interventions.chain import Chain
from lalm_bench.interventions.gain import Gain
from lalm_bench.interventions.mask import Mask, MaskEdit
from lalm_bench.interventions.noise import Noise, NoiseEdit
from lalm_bench.interventions.reverse import Reverse
from lalm_bench.interventions.silence import NoAudio
from lalm_bench.interventions.trim import Trim
from lalm_bench.types import Context, Skip
from tests.interventions.clips import asked, heard, item
from tests.test_conf import experiment

COMPOSED = (
    "intervention=chain",
    "+intervention@intervention.steps.1=mask",
    "+intervention@intervention.steps.2=noise",
)


def edits(chain, sample=None):
    sample = sample or item()
    return chain.apply(sample, asked(sample), Context(7)).clips()[0].edits


def test_a_chain_is_composed_on_the_command_line():
    built = experiment(*COMPOSED, "intervention.steps.1.ratio=0.4", "intervention.steps.2.snr_db=5")
    first, second = edits(built.intervention)
    assert (type(first), first.ratio) == (MaskEdit, 0.4)
    assert (type(second), second.snr_db) == (NoiseEdit, 5)
    other = experiment(*COMPOSED, "intervention.steps.1.ratio=0.2", "intervention.steps.2.snr_db=5")
    assert built.fingerprint != other.fingerprint


def test_the_order_is_that_of_the_names_however_it_was_written():
    """A fingerprint sorts the keys of a mapping, so nothing may hang on how they were written."""
    steps = {"10": Noise(0), "b": Gain(-6), "2": Mask(0.5), "a": Reverse()}
    names = [type(e).__name__ for e in edits(Chain(steps))]
    assert names == ["MaskEdit", "NoiseEdit", "ReverseEdit", "GainEdit"]
    assert edits(Chain(dict(reversed(steps.items())))) == edits(Chain(steps))


def test_steps_are_heard_one_after_the_other(wav):
    sample = item(path=wav())
    plain = audio.render(asked(sample).clips()[0], 16_000)
    after = heard(Chain({"1": Trim(end=0.25), "2": Reverse()}), sample)
    assert np.array_equal(after, plain[:4000][::-1])


def test_a_step_draws_as_it_would_alone_and_a_second_of_its_kind_anew():
    alone = edits(Mask(0.5))
    first, second = edits(Chain({"1": Mask(0.5), "2": Mask(0.5)}))
    assert (first,) == alone
    assert first.seed != second.seed


def test_the_first_refusal_is_the_chains(wav):
    sample = item(path=wav(seconds=0.5))
    chain = Chain({"1": Trim(start=1.0), "2": NoAudio()})
    assert isinstance(chain.apply(sample, asked(sample), Context(7)), Skip)


def test_facts_of_all_steps_are_told(wav):
    sample = item(path=wav())
    told = {}
    chain = Chain({"1": Mask(0.5), "2": Noise(0), "3": Gain(-20, "float"), "4": Gain(-20, "float")})
    audio.render(chain.apply(sample, asked(sample), Context(7)).clips()[0], 16_000, told)
    assert told["masked_share"] == 0.5
    assert told["snr_db"] == pytest.approx(0, abs=0.01)
    assert told["gain"] == pytest.approx(0.01, rel=0.5)
    assert told["unchanged"] == 0


def test_idle_steps_leave_the_request_itself():
    request = asked(item())
    assert Chain({"1": Mask(0), "2": Gain(0)}).apply(item(), request, Context(7)) is request


def test_a_region_must_come_before_edits_that_may_move_it():
    sample = item(speech=[(0.1, 0.2)])
    chain = Chain({"1": Reverse(), "2": Mask(0.5, region="speech")})
    with pytest.raises(ConfigError, match="the first step of the chain"):
        chain.apply(sample, asked(sample), Context(7))


@pytest.mark.parametrize("steps", [{}, [], None, {"1": "mask"}])
def test_a_chain_without_steps_is_refused(steps):
    with pytest.raises(ConfigError, match=r"\+intervention@intervention\.steps\.1="):
        Chain(steps)
