"""Writes tiny random checkpoints with real processors, offline, for tests and demonstrations.

    python -m tests.tiny OUT [FAMILY ...]

Each `OUT/FAMILY` loads like a published checkpoint: `model=hf model.path=OUT/qwen2_audio`. The
answers are noise, but noise that depends on the audio.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.tiny import conformers, whole, windowed

FAMILIES: dict[str, Callable[[Path], tuple[Any, Any]]] = {
    "qwen2_audio": windowed.qwen2_audio,
    "qwen2_5_omni": whole.qwen2_5_omni,
    "qwen3_omni": whole.qwen3_omni,
    "voxtral": windowed.voxtral,
    "audio_flamingo_3": windowed.audio_flamingo_3,
    "music_flamingo": windowed.music_flamingo,
    "gemma3n": conformers.gemma3n,
    "gemma4": conformers.gemma4,
    "phi4_multimodal": conformers.phi4_multimodal,
    "granite_speech": conformers.granite_speech,
    "glm_asr": windowed.glm_asr,
    "qwen3_asr": whole.qwen3_asr,
    "tiny_llama": whole.tiny_llama,
}
# Packages that not every environment for tests can have (see `tests.companions`), by family.
NEEDS = {
    "qwen2_5_omni": ("torchvision",),
    "qwen3_omni": ("torchvision",),
    "gemma3n": ("torchvision", "timm"),
    "gemma4": ("torchvision",),
    "phi4_multimodal": ("torchvision", "peft"),
    "granite_speech": ("torchaudio", "peft"),
}
# Where a family keeps the low-rank weights that it adds to its language model to hear.
ADAPTERS = {"granite_speech": ".", "phi4_multimodal": "speech-lora"}


def lacking(family: str) -> list[str]:
    """Packages that `build` needs and this environment has not."""
    return [name for name in NEEDS.get(family, ()) if importlib.util.find_spec(name) is None]


def build(family: str, root: Path, seed: int = 0) -> Path:
    """Write `root/family` and return it."""
    import torch

    folder = Path(root) / family
    folder.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        network, processor = FAMILIES[family](folder)
        tokenizer = getattr(processor, "tokenizer", processor)
        network.generation_config.eos_token_id = tokenizer.eos_token_id
        network.generation_config.pad_token_id = tokenizer.pad_token_id
        _make_telling(network, tokenizer)
        network.eval().save_pretrained(folder)
        processor.save_pretrained(folder)
        if family in ADAPTERS:
            _add_adapter(network, folder / ADAPTERS[family])
    return folder


def _make_telling(network: Any, tokenizer: Any) -> None:
    """Let equal answers mean equal tokens, and let some answers end early.

    Lone bytes and control tokens all read alike, so they are made improbable.
    """
    import torch

    weight = getattr(network, "thinker", network).get_output_embeddings().weight
    read = [tokenizer.decode([i], skip_special_tokens=True) for i in range(len(weight))]
    with torch.no_grad():
        weight[tokenizer.eos_token_id] *= 1.5
        for i, text in enumerate(read):
            readable = text.isascii() and text.strip()
            if not readable and i != tokenizer.eos_token_id:
                weight[i] = 0


def _add_adapter(network: Any, folder: Path) -> None:
    from peft import LoraConfig
    from transformers import PreTrainedModel

    # Drawn, where training would start from an adapter that changes nothing.
    config = LoraConfig(
        r=4, target_modules=r".*layers\.\d+\.self_attn\.o_proj", init_lora_weights=False
    )
    network.add_adapter(config)
    PreTrainedModel.save_pretrained(network, folder)
