"""What the generic adapter must know about a family and cannot read from a checkpoint.

A model's YAML states the same facts and wins; this table makes `model=hf model.path=DIR` right.
Limits are there because transformers cuts longer audio without a word.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Family:
    """Settings of `HFModel` that follow from `config.model_type`; see there for their meaning.

    `merges`, `trims_audio` and `encodes_alike` are facts about the network: see
    `engine.listening.Listener`.
    `attends_in_chunks`: its encoder hands over bounds of chunks, see `engine.attention`.
    `states_length`: unless told the clip's length, its processor pads to a window of minutes.
    `per_token`: what its decoder layers take for each token beside states, masks and positions.
    """

    model_class: str | None = None
    audio_form: str = "array"
    batch_audio: str = "padded"
    max_audio_s: float | None = None
    max_audios: int | None = None
    system_role: str = "native"
    adapter: str | None = None
    merges: str | None = None
    trims_audio: bool = False
    encodes_alike: bool = False
    states_length: bool = False
    attends_in_chunks: bool = False
    per_token: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Extra:
    """Packages that a family needs beside transformers, and the extra of ours that brings them."""

    extra: str
    packages: tuple[str, ...]

    def missing(self, path: str) -> list[str]:
        """What to install for the checkpoint `path`: one instruction, or none."""
        lacking = [name for name in self.packages if importlib.util.find_spec(name) is None]
        if not lacking:
            return []
        return [
            f"{path} needs {', '.join(lacking)}: run \"pip install 'lalm_bench[{self.extra}]'\""
        ]


FAMILIES = {
    "audioflamingo3": Family(max_audio_s=600, max_audios=1, trims_audio=True),
    "gemma3n": Family(max_audio_s=30, encodes_alike=True, per_token=("per_layer_input",)),
    "gemma4": Family(max_audio_s=30, per_token=("per_layer_input",)),
    # 655 s by its setting, but whole windows of 30 s only.
    "glmasr": Family(max_audio_s=630, max_audios=1),
    "granite_speech": Family(batch_audio="equal_length"),
    "musicflamingo": Family(max_audio_s=1200, max_audios=1, trims_audio=True),
    "phi4_multimodal": Family(
        batch_audio="equal_length", adapter="speech-lora", merges="model.embed_tokens_extend"
    ),
    "qwen2_5_omni": Family(
        "Qwen2_5OmniThinkerForConditionalGeneration",
        max_audio_s=300,
        states_length=True,
        attends_in_chunks=True,
    ),
    "qwen2_audio": Family(max_audio_s=30, trims_audio=True),
    "qwen3_asr": Family(max_audios=1, attends_in_chunks=True),
    "qwen3_omni_moe": Family("Qwen3OmniMoeThinkerForConditionalGeneration", attends_in_chunks=True),
    # Its tokenizer refuses a system turn beside audio.
    "voxtral": Family(audio_form="base64", system_role="prepend"),
}

# By class name: a YAML names it, so the packages are asked for before gigabytes are fetched.
# torchvision is for processors that also see; without peft, low-rank weights that a family hears
# through are left out in silence.
EXTRAS = {
    "VoxtralForConditionalGeneration": Extra("voxtral", ("mistral_common",)),
    "Qwen2_5OmniThinkerForConditionalGeneration": Extra("families", ("torchvision",)),
    "Qwen3OmniMoeThinkerForConditionalGeneration": Extra("families", ("torchvision",)),
    "Gemma3nForConditionalGeneration": Extra("families", ("torchvision", "timm")),
    "Gemma4ForConditionalGeneration": Extra("families", ("torchvision",)),
    "Phi4MultimodalForCausalLM": Extra("families", ("torchvision", "peft")),
    "GraniteSpeechForConditionalGeneration": Extra("families", ("torchaudio", "peft")),
}
