"""The YAML of each family: it composes, fits its class, and agrees with what plain `hf` assumes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from lalm_bench.models.families import FAMILIES
from lalm_bench.models.hf import HFModel

CONF = Path(__file__).resolve().parents[2] / "conf"
PLACES = {"qwen2_audio": "qwen2_audio", "voxtral": "voxtral", "audio_flamingo_3": "audioflamingo3"}


def model(*overrides):
    with initialize_config_dir(str(CONF / "model"), version_base="1.3"):
        return instantiate(compose(overrides[0], list(overrides[1:])), _convert_="all")


@pytest.mark.parametrize(("name", "model_type"), PLACES.items())
def test_yaml_and_table_agree(name, model_type):
    stated = model(name)
    assert isinstance(stated, HFModel)
    assert stated.name == name
    family = FAMILIES[model_type]
    for setting in ("audio_form", "batch_audio", "max_audio_s", "max_audios", "system_role"):
        assert getattr(stated, setting) in (None, getattr(family, setting)), setting


@pytest.mark.parametrize("name", PLACES)
def test_plain_hf_is_the_same_model(name, checkpoint):
    folder = checkpoint(name)
    plain, stated = model("hf", f"path={folder}"), model(name, f"path={folder}")
    assert plain.identity() == stated.identity()
    assert plain.settings().max_audios == stated.settings().max_audios


def test_unstated_settings_of_an_unknown_family_are_the_plain_ones(checkpoint):
    settings = HFModel(name="x", path=str(checkpoint("tiny_llama"))).settings()
    assert (settings.audio_form, settings.batch_audio) == ("array", "padded")
    assert settings.max_audio_s is None
