"""Families that hear a clip at its own length, and one that hears nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.tiny.parts import (
    LANGUAGE,
    SPREAD,
    WHISPER_FIRST,
    byte_pairs,
    chatml,
    token_ids,
    whisper_features,
)

PICTURES = {"image_token": "<|IMAGE|>", "video_token": "<|VIDEO|>"} | {
    f"vision_{side}_token": f"<|vision_{side}|>" for side in ("bos", "eos")
}
SOUND = {"audio_token": "<|AUDIO|>"} | {
    f"audio_{side}_token": f"<|audio_{side}|>" for side in ("bos", "eos")
}
# Three axes of position (time, height, width) share the 8 rotated pairs of a head.
POSITIONS = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [2, 3, 3]}
VISION = {"depth": 1, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2}


def qwen2_5_omni(_: Path) -> tuple[Any, Any]:
    """Qwen2.5-Omni: the full configuration, but only the thinker's weights, as one asks for."""
    import transformers as tf

    tokenizer = byte_pairs("user", **PICTURES, **SOUND)
    names = token_ids(
        tokenizer,
        audio_token_index="<|AUDIO|>",
        image_token_index="<|IMAGE|>",
        video_token_index="<|VIDEO|>",
        audio_end_token_id="<|audio_eos|>",
        vision_end_token_id="<|vision_eos|>",
        **_shared_names(),
    )
    thinker = {
        "audio_config": {**WHISPER_FIRST, "output_dim": 64, "n_window": 100},
        "vision_config": {**VISION, "out_hidden_size": 64, "fullatt_block_indexes": [0]},
        "text_config": {"vocab_size": len(tokenizer), "rope_parameters": POSITIONS, **LANGUAGE},
        "initializer_range": SPREAD,
        **names,
    }
    config = tf.Qwen2_5OmniConfig(thinker_config=thinker, enable_audio_output=False)
    return _thinking(
        tf.Qwen2_5OmniForConditionalGeneration(config),
        tf.Qwen2_5OmniProcessor(*_senses(), tokenizer, chat_template=_spoken()),
    )


def qwen3_omni(_: Path) -> tuple[Any, Any]:
    """Qwen3-Omni: a mixture of experts behind an encoder that works in blocks of 1 s."""
    import transformers as tf

    tokenizer = byte_pairs("user", **PICTURES, **SOUND)
    names = token_ids(
        tokenizer,
        audio_token_id="<|AUDIO|>",
        image_token_id="<|IMAGE|>",
        video_token_id="<|VIDEO|>",
        vision_end_token_id="<|vision_eos|>",
        **_shared_names(),
    )
    language = {k: v for k, v in LANGUAGE.items() if k != "tie_word_embeddings"}
    language |= {
        "head_dim": 16,
        "moe_intermediate_size": 32,
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "rope_parameters": {**POSITIONS, "mrope_interleaved": True},
    }
    thinker = {
        "audio_config": {
            **WHISPER_FIRST,
            "output_dim": 64,
            "n_window": 50,
            "downsample_hidden_size": 32,
        },
        "vision_config": {
            **VISION,
            "out_hidden_size": 64,
            "deepstack_visual_indexes": [0],
            "num_position_embeddings": 16,
        },
        "text_config": {"vocab_size": len(tokenizer), **language},
        "initializer_range": SPREAD,
        **names,
    }
    config = tf.Qwen3OmniMoeConfig(thinker_config=thinker, enable_audio_output=False)
    return _thinking(
        tf.Qwen3OmniMoeForConditionalGeneration(config),
        tf.Qwen3OmniMoeProcessor(*_senses(), tokenizer, chat_template=_spoken()),
    )


def qwen3_asr(_: Path) -> tuple[Any, Any]:
    """Qwen3-ASR: a transcriber with the encoder of Qwen3-Omni."""
    import transformers as tf

    named = dict(zip(SOUND, ("<|audio_pad|>", "<|audio_start|>", "<|audio_end|>"), strict=True))
    tokenizer = byte_pairs(**named)
    config = tf.Qwen3ASRConfig(
        audio_config={
            **WHISPER_FIRST,
            "output_dim": 64,
            "n_window": 50,
            "downsample_hidden_size": 32,
        },
        text_config={
            "model_type": "qwen3",
            "vocab_size": len(tokenizer),
            "head_dim": 16,
            **LANGUAGE,
        },
        audio_token_id=tokenizer.convert_tokens_to_ids("<|audio_pad|>"),
        initializer_range=SPREAD,
    )
    template = chatml("<|audio_start|><|audio_pad|><|audio_end|>")
    extractor = tf.Qwen3ASRFeatureExtractor()
    processor = tf.Qwen3ASRProcessor(extractor, tokenizer, chat_template=template)
    return tf.Qwen3ASRForConditionalGeneration(config), processor


def tiny_llama(_: Path) -> tuple[Any, Any]:
    """A text-only model with a chat template."""
    import transformers as tf

    tokenizer = byte_pairs()
    tokenizer.chat_template = chatml("")
    config = tf.LlamaConfig(vocab_size=len(tokenizer), **LANGUAGE)
    return tf.LlamaForCausalLM(config), tokenizer


def _spoken() -> str:
    """ChatML with each clip between its marks."""
    return chatml("<|audio_bos|><|AUDIO|><|audio_eos|>")


def _shared_names() -> dict[str, str]:
    return {
        "audio_start_token_id": "<|audio_bos|>",
        "vision_start_token_id": "<|vision_bos|>",
        "user_token_id": "user",
    }


def _senses() -> tuple[Any, Any, Any]:
    """Image processor, video processor, and a feature extractor of 30 s (published: 300 s)."""
    import transformers as tf

    return tf.Qwen2VLImageProcessor(), tf.Qwen2VLVideoProcessor(), whisper_features()


def _thinking(network: Any, processor: Any) -> tuple[Any, Any]:
    """The thinker is loaded alone, so it needs the stop token too."""
    tokenizer = processor.tokenizer
    network.thinker.generation_config.eos_token_id = tokenizer.eos_token_id
    network.thinker.generation_config.pad_token_id = tokenizer.pad_token_id
    return network, processor
