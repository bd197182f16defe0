"""Families that hear windows of 30 s with the front end of Whisper."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.tiny.parts import (
    LANGUAGE,
    SPREAD,
    VOCABULARY,
    WHISPER,
    WHISPER_FIRST,
    byte_pairs,
    chatml,
    token_ids,
    whisper_features,
)

# Ranks of the published Voxtral tokenizer.
TEKKEN_AUDIO = {24: "[AUDIO]", 25: "[BEGIN_AUDIO]", 34: "[TRANSCRIBE]"}
TEKKEN_CONTROLS = 64


def qwen2_audio(_: Path) -> tuple[Any, Any]:
    """Qwen2-Audio: one window, 25 tokens a second."""
    import transformers as tf

    audio = {"token": "<|AUDIO|>", "bos_token": "<|audio_bos|>", "eos_token": "<|audio_eos|>"}
    tokenizer = byte_pairs(**{f"audio_{name}": token for name, token in audio.items()})
    template = chatml(f"{audio['bos_token']}{audio['token']}{audio['eos_token']}\n")
    config = tf.Qwen2AudioConfig(
        audio_config={**WHISPER_FIRST},
        text_config={"model_type": "qwen2", "vocab_size": len(tokenizer), **LANGUAGE},
        audio_token_index=tokenizer.convert_tokens_to_ids("<|AUDIO|>"),
        initializer_range=SPREAD,
    )
    processor = tf.Qwen2AudioProcessor(whisper_features(), tokenizer, chat_template=template)
    return tf.Qwen2AudioForConditionalGeneration(config), processor


def audio_flamingo_3(_: Path) -> tuple[Any, Any]:
    """Audio Flamingo 3: up to 20 windows, one clip in a conversation."""
    import transformers as tf

    tokenizer = byte_pairs("<sound>")
    config = tf.AudioFlamingo3Config(
        audio_config={**WHISPER},
        text_config={"model_type": "qwen2", "vocab_size": len(tokenizer), **LANGUAGE},
        audio_token_id=tokenizer.convert_tokens_to_ids("<sound>"),
        initializer_range=SPREAD,
    )
    template = chatml("<sound>")
    processor = tf.AudioFlamingo3Processor(whisper_features(), tokenizer, chat_template=template)
    return tf.AudioFlamingo3ForConditionalGeneration(config), processor


def music_flamingo(_: Path) -> tuple[Any, Any]:
    """Music Flamingo: as Audio Flamingo 3, with marks around the clip and times of its own."""
    import transformers as tf

    marks = {"audio_bos_token_id": "<|sound_bos|>", "audio_eos_token_id": "<|sound_eos|>"}
    tokenizer = byte_pairs("<sound>", *marks.values())
    config = tf.MusicFlamingoConfig(
        audio_config={"model_type": "audioflamingo3_encoder", **WHISPER},
        text_config={"model_type": "qwen2", "vocab_size": len(tokenizer), **LANGUAGE},
        **token_ids(tokenizer, audio_token_id="<sound>", **marks),
        initializer_range=SPREAD,
    )
    template = chatml("<sound>")
    processor = tf.MusicFlamingoProcessor(whisper_features(), tokenizer, chat_template=template)
    return tf.MusicFlamingoForConditionalGeneration(config), processor


def glm_asr(_: Path) -> tuple[Any, Any]:
    """GLM-ASR: a transcriber; its audio token is called `<|pad|>`, so it pads with another."""
    import transformers as tf

    tokenizer = byte_pairs("<|endoftext|>", "<|begin_of_audio|>", "<|end_of_audio|>")
    tokenizer.pad_token = "<|endoftext|>"
    config = tf.GlmAsrConfig(
        # Four times the width, because four encoder frames make one audio token.
        audio_config={**WHISPER, "intermediate_size": 256},
        text_config={
            "model_type": "llama",
            "vocab_size": len(tokenizer),
            "head_dim": 16,
            **LANGUAGE,
        },
        audio_token_id=tokenizer.convert_tokens_to_ids("<|pad|>"),
        initializer_range=SPREAD,
    )
    template = chatml("<|begin_of_audio|><|pad|><|end_of_audio|>")
    processor = tf.GlmAsrProcessor(whisper_features(), tokenizer, chat_template=template)
    return tf.GlmAsrForConditionalGeneration(config), processor


def voxtral(folder: Path) -> tuple[Any, Any]:
    """Voxtral: Mistral's own tokenizer, whole windows only."""
    import transformers as tf

    size = _write_tekken(folder / "tekken.json")
    tokenizer = tf.MistralCommonBackend.from_pretrained(folder)
    config = tf.VoxtralConfig(
        audio_config={**WHISPER, "intermediate_size": 256},
        text_config={"model_type": "llama", "vocab_size": size, "head_dim": 16, **LANGUAGE},
        audio_token_id=tokenizer.convert_tokens_to_ids("[AUDIO]"),
        initializer_range=SPREAD,
    )
    network = tf.VoxtralForConditionalGeneration(config)
    network.generation_config.bos_token_id = tokenizer.bos_token_id
    return network, tf.VoxtralProcessor(whisper_features(), tokenizer)


def _write_tekken(target: Path) -> int:
    """The text tokenizer that mistral-common ships, cut short and given audio; returns its size."""
    import mistral_common
    from mistral_common.tokens.tokenizers.base import SpecialTokens

    first = [token.value for token in list(SpecialTokens)[:20]]
    names = dict(enumerate(first)) | TEKKEN_AUDIO
    source = Path(mistral_common.__file__).parent / "data" / "tekken_240911.json"
    tekken = json.loads(source.read_text(encoding="utf-8"))
    tekken.pop("image", None)
    tekken["vocab"] = tekken["vocab"][:VOCABULARY]
    tekken["special_tokens"] = [
        {"rank": i, "token_str": names.get(i, f"<SPECIAL_{i}>"), "is_control": True}
        for i in range(TEKKEN_CONTROLS)
    ]
    size = VOCABULARY + TEKKEN_CONTROLS
    tekken["config"] |= {
        "version": "v7",
        "num_vocab_tokens": VOCABULARY,
        "default_vocab_size": size,
        "default_num_special_tokens": TEKKEN_CONTROLS,
    }
    tekken["audio"] = {
        "sampling_rate": 16000,
        "frame_rate": 12.5,
        "chunk_length_s": 30.0,
        "audio_encoding_config": {"num_mel_bins": 128, "hop_length": 160, "window_size": 400},
    }
    target.write_text(json.dumps(tekken), encoding="utf-8")
    return size
