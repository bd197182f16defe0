"""Families with a conformer for an ear: Gemma 3n, Gemma 4, Phi-4-multimodal, Granite Speech."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.tiny.parts import LANGUAGE, SPREAD, byte_pairs, chatml, token_ids

# Both Gemmas mix local and global attention, and their last layer reuses another's keys.
GEMMA = {
    "hidden_size": 64,
    "hidden_size_per_layer_input": 16,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "num_kv_shared_layers": 1,
    "layer_types": ["sliding_attention", "full_attention"] * 2,
    "sliding_window": 128,
    "initializer_range": 0.1,
    # Tied as published, a random network repeats its last token for ever.
    "tie_word_embeddings": False,
}


def gemma3n(_: Path) -> tuple[Any, Any]:
    """Gemma 3n: 188 tokens for any clip.

    Its embedding tables are told apart by id: words, then pictures, then sound.
    """
    import transformers as tf

    words = {"boi_token": "<start_of_image>", "boa_token": "<start_of_audio>"}
    pictures = {"eoi_token": "<end_of_image>", "image_token": "<image_soft_token>"}
    sound = {"eoa_token": "<end_of_audio>", "audio_token": "<audio_soft_token>"}
    last = (*pictures.values(), *sound.values())
    tokenizer = byte_pairs(last=last, **words, **pictures, **sound)
    first_picture = tokenizer.convert_tokens_to_ids(last[0])
    first_sound = tokenizer.convert_tokens_to_ids(last[2])
    config = tf.Gemma3nConfig(
        text_config={
            **GEMMA,
            "vocab_size": len(tokenizer),
            "vocab_size_per_layer_input": first_picture,
            "intermediate_size": [64] * 4,
            "activation_sparsity_pattern": [0.0] * 4,
            "laurel_rank": 8,
            "altup_num_inputs": 2,
            **_marks(tokenizer),
        },
        vision_config={
            "architecture": "test_efficientnet",
            "hidden_size": 256,
            "vocab_size": first_sound - first_picture,
            "vocab_offset": first_picture,
        },
        audio_config={
            "hidden_size": 64,
            "vocab_size": len(tokenizer) - first_sound,
            "vocab_offset": first_sound,
            "conf_num_attention_heads": 4,
            "conf_num_hidden_layers": 2,
            "sscp_conv_channel_size": (16, 8),
        },
        **token_ids(tokenizer, **{f"{k}_id": v for k, v in (words | pictures | sound).items()}),
        initializer_range=0.1,
        tie_word_embeddings=False,
    )
    processor = tf.Gemma3nProcessor(
        tf.Gemma3nAudioFeatureExtractor(),
        tf.SiglipImageProcessor(size={"height": 32, "width": 32}),
        tokenizer,
        chat_template=chatml(sound["audio_token"]),
    )
    return tf.Gemma3nForConditionalGeneration(config), processor


def gemma4(_: Path) -> tuple[Any, Any]:
    """Gemma 4: 25 tokens a second."""
    import transformers as tf

    named = {
        "boi_token": "<|image>",
        "eoi_token": "<image|>",
        "image_token": "<|image|>",
        "boa_token": "<|audio>",
        "eoa_token": "<audio|>",
        "audio_token": "<|audio|>",
    }
    # Its processor adds the video token, which must then have an id already.
    tokenizer = byte_pairs("<|video|>", **named)
    config = tf.Gemma4Config(
        text_config={
            **GEMMA,
            "vocab_size": len(tokenizer),
            "vocab_size_per_layer_input": len(tokenizer),
            "intermediate_size": 64,
            "global_head_dim": 16,
            **_marks(tokenizer),
        },
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "head_dim": 16,
        },
        audio_config={
            "hidden_size": 64,
            "num_attention_heads": 4,
            "num_hidden_layers": 2,
            "output_proj_dims": 64,
            "subsampling_conv_channels": [128, 8],
        },
        **token_ids(tokenizer, **{f"{k}_id": v for k, v in named.items()}),
        video_token_id=tokenizer.convert_tokens_to_ids("<|video|>"),
        tie_word_embeddings=False,
    )
    processor = tf.Gemma4Processor(
        tf.Gemma4AudioFeatureExtractor(),
        tf.Gemma4ImageProcessor(),
        tokenizer,
        tf.Gemma4VideoProcessor(),
        chat_template=chatml(named["audio_token"]),
    )
    return tf.Gemma4ForConditionalGeneration(config), processor


def phi4_multimodal(_: Path) -> tuple[Any, Any]:
    """Phi-4-multimodal: 12.5 tokens a second."""
    import transformers as tf

    named = {"image_token": "<|image|>", "audio_token": "<|audio|>"}
    turns = ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>")
    tokenizer = byte_pairs(*turns, **named)
    ids = token_ids(tokenizer, **named)
    config = tf.Phi4MultimodalConfig(
        vocab_size=len(tokenizer),
        **LANGUAGE,
        **_marks(tokenizer),
        audio_config={
            "hidden_size": 64,
            "intermediate_size": 64,
            "num_blocks": 2,
            "num_attention_heads": 4,
            "ext_pw_out_channel": 64,
            "depthwise_separable_out_channel": 64,
            "nemo_conv_channels": 32,
            "audio_token_id": ids["audio_token"],
            "initializer_range": SPREAD,
        },
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_token_id": ids["image_token"],
        },
    )
    processor = tf.Phi4MultimodalProcessor(
        tf.Phi4MultimodalImageProcessor(),
        tf.Phi4MultimodalFeatureExtractor(),
        tokenizer,
        chat_template=chatml(named["audio_token"]),
    )
    return tf.Phi4MultimodalForCausalLM(config), processor


def granite_speech(_: Path) -> tuple[Any, Any]:
    """Granite Speech: 10 tokens a second."""
    import transformers as tf

    turns = ("<|start_of_role|>", "<|end_of_role|>", "<|end_of_text|>")
    tokenizer = byte_pairs(*turns, audio_token="<|audio|>")
    config = tf.GraniteSpeechConfig(
        text_config={"model_type": "granite", "vocab_size": len(tokenizer), **LANGUAGE},
        encoder_config={
            "input_dim": 160,
            "num_layers": 2,
            "hidden_dim": 64,
            "num_heads": 4,
            "output_dim": 16,
            "context_size": 50,
            "dropout": 0.0,
        },
        projector_config={
            "model_type": "blip_2_qformer",
            "hidden_size": 64,
            "num_hidden_layers": 1,
            "num_attention_heads": 4,
            "intermediate_size": 64,
            "encoder_hidden_size": 64,
            "initializer_range": SPREAD,
        },
        audio_token_index=tokenizer.convert_tokens_to_ids("<|audio|>"),
        has_lora_adapter=True,
        tie_word_embeddings=False,
        initializer_range=SPREAD,
    )
    extractor = tf.GraniteSpeechFeatureExtractor()
    processor = tf.GraniteSpeechProcessor(extractor, tokenizer, chat_template=chatml("<|audio|>"))
    return tf.GraniteSpeechForConditionalGeneration(config), processor


def _marks(tokenizer: Any) -> dict[str, int]:
    return {
        f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")
    }
