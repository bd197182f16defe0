"""What the tiny checkpoints share: sizes, a tokenizer trained on the spot, chat templates."""

from __future__ import annotations

from collections.abc import Sequence
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
# Encoders descended from Whisper, in the two vocabularies that configurations use for them. Give
# each configuration a copy: some write into it.
WHISPER = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "initializer_range": SPREAD,
}
WHISPER_FIRST = {
    "d_model": 64,
    "encoder_layers": 2,
    "encoder_attention_heads": 4,
    "encoder_ffn_dim": 96,
    "num_mel_bins": 128,
    "initializer_range": SPREAD,
}


def byte_pairs(*special: str, last: Sequence[str] = (), **named: str) -> Any:
    """A byte-level BPE tokenizer trained on the corpus; it spells any text.

    Parameters
    ----------
    special : str
        Further control tokens.
    last : sequence of str
        Control tokens that take the highest ids, in this order.
    named : str
        Control tokens that the tokenizer also has as attributes (`audio_token="<|AUDIO|>"`).
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    first = ["<|pad|>", "<|im_start|>", "<|im_end|>", *special, *named.values()]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[token for token in dict.fromkeys(first) if token not in last],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.add_special_tokens(list(last))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<|pad|>",
        padding_side="left",
        extra_special_tokens=named,
    )


def token_ids(tokenizer: Any, **tokens: str) -> dict[str, int]:
    """Configuration names with the ids of the tokens they stand for."""
    return {name: tokenizer.convert_tokens_to_ids(token) for name, token in tokens.items()}


def chatml(audio: str) -> str:
    """A ChatML template that writes `audio` for each audio part."""
    return (
        "{% for turn in messages %}<|im_start|>{{ turn.role }}\n"
        "{% if turn.content is string %}{{ turn.content }}{% else %}{% for part in turn.content %}"
        "{% if part.type == 'audio' %}" + audio + "{% else %}{{ part.text }}{% endif %}"
        "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )


def whisper_features(window: int = 30) -> Any:
    """The feature extractor of Whisper large: 128 mel bands, windows of 30 s unless told."""
    import transformers as tf

    return tf.WhisperFeatureExtractor(feature_size=128, chunk_length=window)
