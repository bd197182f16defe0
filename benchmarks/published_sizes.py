"""Sizes of published audio language models, and networks of these sizes with random weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lalm_bench.models.hf import HFModel
from lalm_bench.models.loading import settle_cuda
from lalm_bench.types import Runtime

WHISPER = {"encoder_layers": 32, "encoder_attention_heads": 20, "encoder_ffn_dim": 5120}
WHISPER_LARGE = {"d_model": 1280, **WHISPER}
FLAMINGO = {
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_hidden_layers": 32,
    "num_attention_heads": 20,
}
QWEN2_5_7B = {
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "vocab_size": 152064,
    "max_position_embeddings": 32768,
}
QWEN_7B = {
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "vocab_size": 156032,
    "max_position_embeddings": 8192,
}
MINISTRAL_3B = {
    "hidden_size": 3072,
    "intermediate_size": 8192,
    "num_hidden_layers": 30,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "vocab_size": 131072,
    "max_position_embeddings": 131072,
}


@dataclass(frozen=True)
class Published:
    """Sizes of a published model. `whole_window`: its encoder must read 30 s of every clip."""

    audio: dict[str, Any]
    text: dict[str, Any]
    whole_window: bool = False


PUBLISHED = {
    "qwen2_audio": Published(WHISPER_LARGE, QWEN_7B),
    "voxtral": Published(FLAMINGO, MINISTRAL_3B, whole_window=True),
    "audio_flamingo_3": Published(FLAMINGO, QWEN2_5_7B),
    "qwen2_5_omni": Published({**WHISPER_LARGE, "output_dim": 3584}, QWEN2_5_7B),
}


class RandomWeights(HFModel):
    """The adapter with a network that is drawn on the device and not read from a disk."""

    def _load(self, runtime: Runtime) -> Path:
        import transformers

        folder = Path(self.path)
        config = transformers.AutoConfig.from_pretrained(folder)
        config = getattr(config, "thinker_config", config)
        sizes = PUBLISHED[self.name]
        _resize(config.audio_config, sizes.audio)
        tiny_vocabulary = config.text_config.vocab_size
        _resize(config.text_config, sizes.text)
        config.initializer_range = 0.02
        if "mrope_section" in (config.text_config.rope_parameters or {}):
            config.text_config.rope_parameters["mrope_section"] = [16, 24, 24]
        self._runtime = runtime
        settle_cuda()
        network_class = getattr(transformers, self.class_name())
        torch.manual_seed(0)
        with torch.device(runtime.device):
            self.network = network_class._from_config(config, dtype=torch.bfloat16).eval()
        # No token ends an answer: every run writes the same number. And none is chosen that the
        # small tokenizer cannot spell.
        self.network.generation_config.eos_token_id = -1
        with torch.no_grad():
            self.network.get_output_embeddings().weight[tiny_vocabulary:] = 0
        return folder


def _resize(config: Any, sizes: dict[str, Any]) -> None:
    for name, size in {"initializer_range": 0.02, **sizes}.items():
        setattr(config, name, size)
    if getattr(config, "layer_types", None):
        config.layer_types = ["full_attention"] * config.num_hidden_layers
    if "head_dim" not in sizes and getattr(config, "head_dim", None):
        config.head_dim = sizes["hidden_size"] // sizes["num_attention_heads"]
