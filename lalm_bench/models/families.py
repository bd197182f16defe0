"""What the generic adapter must know about a family and cannot read from a checkpoint.

A model's YAML states the same facts and wins; this table makes `model=hf model.path=DIR` right.
Limits are there because transformers cuts longer audio without a word.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Family:
    """Settings of `HFModel` that follow from `config.model_type`; see there for their meaning."""

    model_class: str | None = None
    audio_form: str = "array"
    batch_audio: str = "padded"
    max_audio_s: float | None = None
    max_audios: int | None = None
    system_role: str = "native"


@dataclass(frozen=True, slots=True)
class Extra:
    """A package that a family's processor needs, and the extra of ours that brings it."""

    package: str
    extra: str

    def instruction(self, path: str) -> str:
        """What to install."""
        return f"{path} needs {self.package}: run \"pip install 'lalm_bench[{self.extra}]'\""


FAMILIES = {
    "audioflamingo3": Family(max_audio_s=600, max_audios=1),
    "gemma3n": Family(max_audio_s=30),
    "gemma4": Family(max_audio_s=30),
    "glmasr": Family(max_audios=1),
    "granite_speech": Family(batch_audio="equal_length"),
    "musicflamingo": Family(max_audio_s=1200, max_audios=1),
    "phi4_multimodal": Family(batch_audio="equal_length"),
    "qwen2_5_omni": Family("Qwen2_5OmniThinkerForConditionalGeneration", max_audio_s=300),
    "qwen2_audio": Family(max_audio_s=30),
    "qwen3_asr": Family(max_audios=1),
    "qwen3_omni_moe": Family("Qwen3OmniMoeThinkerForConditionalGeneration"),
    # Its tokenizer refuses a system turn beside audio.
    "voxtral": Family(audio_form="base64", system_role="prepend"),
}

# By class name: a YAML names it, so the package is asked for before gigabytes are fetched.
EXTRAS = {"VoxtralForConditionalGeneration": Extra("mistral_common", "voxtral")}
