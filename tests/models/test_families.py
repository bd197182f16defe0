"""The YAML of each family: it composes, fits its class, and says what transformers does."""

from __future__ import annotations

import base64
import importlib.util
import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from lalm_bench.models.families import EXTRAS, FAMILIES
from lalm_bench.models.hf import HFModel
from lalm_bench.models.text import TextModel
from lalm_bench.types import Runtime
from tests import tiny
from tests.tiny.parts import whisper_features

CONF = Path(__file__).resolve().parents[2] / "conf"
MODEL_TYPES = {
    "qwen2_audio": "qwen2_audio",
    "qwen2_5_omni": "qwen2_5_omni",
    "qwen3_omni": "qwen3_omni_moe",
    "voxtral": "voxtral",
    "voxtral_small": "voxtral",
    "audio_flamingo_3": "audioflamingo3",
    "music_flamingo": "musicflamingo",
    "gemma3n": "gemma3n",
    "gemma4": "gemma4",
    "phi4_multimodal": "phi4_multimodal",
    "granite_speech": "granite_speech",
    "glm_asr": "glmasr",
    "qwen3_asr": "qwen3_asr",
}
BUILT = [name for name in MODEL_TYPES if name in tiny.FAMILIES]
TEMPLATED = ("phi4_multimodal", "granite_speech", "qwen3_asr")
# Text of a turn, then a clip in the middle of the next.
TURNS = [
    {"role": "system", "content": [{"type": "text", "text": "Be brief."}]},
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "Listen: "},
            {"type": "audio", "audio": np.zeros(16000, np.float32)},
            {"type": "text", "text": "What?"},
        ],
    },
]


def model(name, *overrides):
    with initialize_config_dir(str(CONF / "model"), version_base="1.3"):
        return instantiate(compose(name, list(overrides)), _convert_="all")


def test_every_family_has_a_yaml_and_a_tiny_checkpoint():
    assert set(MODEL_TYPES.values()) == set(FAMILIES)
    assert set(tiny.FAMILIES) - {"tiny_llama"} == set(BUILT)


@pytest.mark.parametrize(("name", "model_type"), MODEL_TYPES.items())
def test_yaml_and_table_agree(name, model_type):
    stated = model(name)
    assert isinstance(stated, HFModel)
    assert stated.name == name
    assert stated.dtype == "bfloat16"
    family = FAMILIES[model_type]
    assert stated.model_class == family.model_class or family.model_class is None
    for setting in ("audio_form", "batch_audio", "system_role"):
        assert getattr(stated, setting) in (None, getattr(family, setting)), setting
    for setting in ("max_audio_s", "max_audios"):
        assert getattr(stated, setting) == getattr(family, setting), setting


@pytest.mark.parametrize("name", BUILT)
def test_the_yaml_fits_its_checkpoint_and_plain_hf_is_the_same_model(name, checkpoint):
    folder = checkpoint(name)
    plain, stated = model("hf", f"path={folder}"), model(name, f"path={folder}")
    assert stated.missing() == []
    assert plain.checkpoint.config()["model_type"] == MODEL_TYPES[name]
    assert replace(plain.settings(), model_class="") == replace(stated.settings(), model_class="")
    ours, theirs = stated.identity(), plain.identity()
    if name in TEMPLATED:
        assert ours.pop("template") != theirs.pop("template")
    assert ours == theirs


@pytest.mark.parametrize("name", BUILT)
def test_processors_cut_where_the_yaml_says(name, checkpoint):
    """Nothing is lost up to the limit; past it transformers drops audio without a word."""
    from transformers import AutoProcessor

    processor = AutoProcessor.from_pretrained(checkpoint(name))
    if name == "qwen2_5_omni":
        processor.feature_extractor = whisper_features(300)
    template = model(name).chat_template or processor.chat_template

    def heard(seconds):
        wave = np.random.default_rng(0).standard_normal(round(seconds * 16000))
        part = {"type": "audio", "audio": wave.astype(np.float32)}
        if name == "voxtral":
            part = {"type": "audio", "base64": wav64(wave)}
        done = processor.apply_chat_template(
            [[{"role": "user", "content": [part]}]],
            chat_template=template,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        )
        # Gemma 3n writes as many tokens for any clip; its mask tells what is heard.
        mask = done.get("input_features_mask") if name == "gemma3n" else None
        return done["input_ids"].shape[1] if mask is None else int(mask.sum())

    limit = model(name).max_audio_s
    if limit is None:
        assert heard(91) > heard(31)
    else:
        assert heard(limit - 1) < heard(limit) == heard(limit + 30)


def wav64(wave):
    file = io.BytesIO()
    soundfile.write(file, wave, 16000, format="WAV", subtype="FLOAT")
    return base64.b64encode(file.getvalue()).decode()


@pytest.mark.parametrize(
    ("name", "prompt"),
    [
        (
            "phi4_multimodal",
            "<|system|>Be brief.<|end|><|user|>Listen: <|audio|>What?<|end|><|assistant|>",
        ),
        (
            "granite_speech",
            "<|start_of_role|>system<|end_of_role|>Be brief.<|end_of_text|>\n"
            "<|start_of_role|>user<|end_of_role|>Listen: <|audio|>What?<|end_of_text|>\n"
            "<|start_of_role|>assistant<|end_of_role|>",
        ),
        (
            "qwen3_asr",
            "<|im_start|>system\nBe brief.\nListen: What?<|im_end|>\n"
            "<|im_start|>user\n<|audio_start|><|audio_pad|><|audio_end|><|im_end|>\n"
            "<|im_start|>assistant\n",
        ),
    ],
)
def test_our_templates_write_the_familys_own_prompt(name, prompt, checkpoint):
    from transformers import AutoProcessor

    processor = AutoProcessor.from_pretrained(checkpoint(name))

    def written(turns):
        text = processor.apply_chat_template(
            turns, chat_template=model(name).chat_template, add_generation_prompt=True
        )
        return text if isinstance(text, str) else text[0]

    assert written(TURNS) == prompt
    alone = written(TURNS[1:])
    assert "Be brief." not in alone
    assert alone.endswith(prompt[-30:])
    if name == "granite_speech":
        assert alone.startswith("<|start_of_role|>system<|end_of_role|>You are Granite")


@pytest.mark.parametrize("name", ["text_qwen2_5", "text_llama"])
def test_deaf_baselines_are_text_models(name, checkpoint):
    baseline = model(name)
    assert isinstance(baseline, TextModel)
    assert baseline.rate is None
    assert baseline.name == name
    local = model(name, f"path={checkpoint('tiny_llama')}", "dtype=float32")
    local.load(Runtime("cpu"))


def test_unstated_settings_of_an_unknown_family_are_the_plain_ones(checkpoint):
    settings = HFModel(name="x", path=str(checkpoint("tiny_llama"))).settings()
    assert (settings.audio_form, settings.batch_audio) == ("array", "padded")
    assert settings.max_audio_s is None


@pytest.mark.parametrize("class_name", EXTRAS)
def test_a_missing_package_is_asked_for_before_anything_is_fetched(class_name, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None)
    extra = EXTRAS[class_name]
    (said,) = extra.missing("some/model")
    assert said == (
        f"some/model needs {', '.join(extra.packages)}: "
        f"run \"pip install 'lalm_bench[{extra.extra}]'\""
    )
    pyproject = (CONF.parent / "pyproject.toml").read_text()
    offered = re.search(rf"^{extra.extra} = \[(.*)\]$", pyproject, re.MULTILINE).group(1)
    for package in extra.packages:
        assert package.replace("_", "-") in offered
    asked = [m for m in map(model, MODEL_TYPES) if m.model_class == class_name]
    assert asked
    assert all(said.split(" needs ")[1] in " ".join(m.missing()) for m in asked)
