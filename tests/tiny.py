"""Writes tiny random checkpoints with real processors, offline, for tests and demonstrations.

    python tests/tiny.py OUT [FAMILY ...]

Each `OUT/FAMILY` loads like a published checkpoint: `model=hf model.path=OUT/qwen2_audio`. The
answers are noise, but noise that depends on the audio.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Weights drawn wider than usual: with the default of 0.02 a random network ignores its audio.
SPREAD = 0.3
VOCABULARY = 400
CORPUS = (
    "Which event comes next? Choose exactly one option.",
    "Return only the option label from: A, B, C, D.",
    "A) a dog barks B) a car passes C) rain falls D) none of the above",
    "You are a helpful assistant. Answer with the letter only. Answer: A",
)
LANGUAGE = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
    "initializer_range": SPREAD,
    "tie_word_embeddings": False,
}
ENCODER = {"num_hidden_layers": 2, "num_attention_heads": 4, "initializer_range": SPREAD}


def chatml(audio: str) -> str:
    """A ChatML template that writes `audio` for each audio part."""
    return (
        "{% for turn in messages %}<|im_start|>{{ turn.role }}\n"
        "{% if turn.content is string %}{{ turn.content }}{% else %}{% for part in turn.content %}"
        "{% if part.type == 'audio' %}" + audio + "{% else %}{{ part.text }}{% endif %}"
        "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )


def byte_pairs(*special: str, **named: str) -> Any:
    """A byte-level BPE tokenizer trained on the corpus; it spells any text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<|pad|>", "<|im_start|>", "<|im_end|>", *special, *named.values()],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|pad|>",
        padding_side="left",
        extra_special_tokens=named,
    )


def qwen2_audio(_: Path) -> tuple[Any, Any]:
    """Qwen2-Audio: 30 s spectrograms, 25 tokens a second."""
    import transformers as tf

    audio = {"token": "<|AUDIO|>", "bos_token": "<|audio_bos|>", "eos_token": "<|audio_eos|>"}
    tokenizer = byte_pairs(**{f"audio_{name}": token for name, token in audio.items()})
    template = chatml(f"{audio['bos_token']}{audio['token']}{audio['eos_token']}\n")
    config = tf.Qwen2AudioConfig(
        audio_config={
            "d_model": 64,
            "encoder_layers": 2,
            "encoder_attention_heads": 4,
            "encoder_ffn_dim": 96,
            "initializer_range": SPREAD,
        },
        text_config={"model_type": "qwen2", "vocab_size": len(tokenizer), **LANGUAGE},
        audio_token_index=tokenizer.convert_tokens_to_ids("<|AUDIO|>"),
        initializer_range=SPREAD,
    )
    extractor = tf.WhisperFeatureExtractor(feature_size=128)
    processor = tf.Qwen2AudioProcessor(extractor, tokenizer, chat_template=template)
    return tf.Qwen2AudioForConditionalGeneration(config), processor


def audio_flamingo_3(_: Path) -> tuple[Any, Any]:
    """Audio Flamingo 3: windows of 30 s, one clip in a conversation."""
    import transformers as tf

    tokenizer = byte_pairs("<sound>")
    config = tf.AudioFlamingo3Config(
        audio_config={"hidden_size": 64, "intermediate_size": 96, **ENCODER},
        text_config={"model_type": "qwen2", "vocab_size": len(tokenizer), **LANGUAGE},
        audio_token_id=tokenizer.convert_tokens_to_ids("<sound>"),
        initializer_range=SPREAD,
    )
    extractor = tf.WhisperFeatureExtractor(feature_size=128)
    processor = tf.AudioFlamingo3Processor(extractor, tokenizer, chat_template=chatml("<sound>"))
    return tf.AudioFlamingo3ForConditionalGeneration(config), processor


def voxtral(folder: Path) -> tuple[Any, Any]:
    """Voxtral: Mistral's own tokenizer, whole chunks of 30 s."""
    import transformers as tf

    size = _write_tekken(folder / "tekken.json")
    tokenizer = tf.MistralCommonBackend.from_pretrained(folder)
    config = tf.VoxtralConfig(
        # Four times the width, because four encoder frames make one audio token.
        audio_config={"hidden_size": 64, "intermediate_size": 256, **ENCODER},
        text_config={"model_type": "llama", "vocab_size": size, "head_dim": 16, **LANGUAGE},
        audio_token_id=tokenizer.convert_tokens_to_ids("[AUDIO]"),
        initializer_range=SPREAD,
    )
    network = tf.VoxtralForConditionalGeneration(config)
    network.generation_config.bos_token_id = tokenizer.bos_token_id
    return network, tf.VoxtralProcessor(tf.WhisperFeatureExtractor(feature_size=128), tokenizer)


def tiny_llama(_: Path) -> tuple[Any, Any]:
    """A text-only model with a chat template."""
    import transformers as tf

    tokenizer = byte_pairs()
    tokenizer.chat_template = chatml("")
    config = tf.LlamaConfig(vocab_size=len(tokenizer), **LANGUAGE)
    return tf.LlamaForCausalLM(config), tokenizer


FAMILIES: dict[str, Callable[[Path], tuple[Any, Any]]] = {
    "qwen2_audio": qwen2_audio,
    "voxtral": voxtral,
    "audio_flamingo_3": audio_flamingo_3,
    "tiny_llama": tiny_llama,
}

# Ranks of the published Voxtral tokenizer.
TEKKEN_AUDIO = {24: "[AUDIO]", 25: "[BEGIN_AUDIO]", 34: "[TRANSCRIBE]"}
TEKKEN_CONTROLS = 64


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
    network.eval().save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def main(arguments: list[str]) -> None:
    """Build the named families, or all."""
    if not arguments:
        sys.exit(f"usage: tiny.py OUT [{' '.join(FAMILIES)}]")
    for family in arguments[1:] or FAMILIES:
        if family not in FAMILIES:
            sys.exit(f"no family {family}; choose from {', '.join(FAMILIES)}")
        print(build(family, Path(arguments[0])))


if __name__ == "__main__":
    main(sys.argv[1:])
