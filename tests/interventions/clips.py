"""Waves, requests and ways to apply an edit, for the tests of this folder."""

import numpy as np
from hydra import compose, initialize_config_dir

from lalm_bench import audio, cli
from lalm_bench.types import (
    Audio,
    AudioRef,
    AudioSource,
    Choice,
    Context,
    Message,
    Request,
    Sample,
    Text,
)

RATE = 1000
QUIET = ("tracking=none", "figures=false", "progress=false")


def composed(*overrides):
    """The configuration of a run."""
    with initialize_config_dir(str(cli.home("conf")), version_base="1.3"):
        return compose("config", [*QUIET, *overrides])


def wave(samples=2345, seed=0, level=0.3):
    """Noise with a tone in it, within full scale."""
    rng = np.random.default_rng(seed)
    tone = np.sin(np.arange(samples) / 7) + 0.3 * rng.standard_normal(samples)
    return (level * tone / max(np.abs(tone).max(), 1e-9)).astype(np.float32)


def edited(edit, given, rate=RATE):
    """What the edit makes of a wave that it may not write into."""
    before = given.copy()
    before.setflags(write=False)
    after = edit(before, rate, np.random.default_rng(edit.seed))
    assert np.array_equal(before, given)
    assert after.dtype == np.float32
    assert after.ndim == 1
    assert len(after)
    assert np.isfinite(after).all()
    return after


def facts(edit, given, rate=RATE):
    """The edit's word on what it did."""
    return edit.facts(given, edited(edit, given, rate), rate)


def item(identity="item", path="x.wav", text="cat", **meta):
    """A sample with one clip whose right answer says `text`."""
    choices = (Choice("A", text), Choice("B", f"not {text}"))
    return Sample(identity, (AudioRef(str(path)),), "?", choices, "A", str(path), meta)


def asked(sample, clips=1):
    """A request on the sample's clip, `clips` times."""
    parts = [Audio(AudioSource(c)) for c in sample.audio for _ in range(clips)]
    return Request(sample.id, (Message("user", (*parts, Text("?"))),), sample.choices)


def heard(intervention, sample, seed=7, rate=16_000, samples=()):
    """What the model hears of the sample's clip under the intervention."""
    request = intervention.apply(sample, asked(sample), Context(seed, samples))
    return audio.render(request.clips()[0], rate)
