"""Sentence similarity and FENSE on tiny random networks in the published layout."""

import hashlib
import json

import numpy as np
import pytest

from lalm_bench.errors import ModelError
from lalm_bench.metrics.captions import encoder, fense
from lalm_bench.metrics.captions.encoder import SentenceEncoder

WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    *["a", "dog", "barks", "rain", "falls", "on", "roof"],
]
TEXTS = ["a dog barks", "rain falls on a roof", "a dog barks", "roof"]


def bert(folder, seed=0):
    """A tiny BERT with its tokenizer, saved as on the hub."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    torch.manual_seed(seed)
    shape = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    config = BertConfig(vocab_size=len(WORDS), hidden_size=16, max_position_embeddings=80, **shape)
    network = BertModel(config).eval()
    network.save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    BertTokenizerFast(vocab={w: i for i, w in enumerate(WORDS)}).save_pretrained(folder)
    return network


def sentence_encoder(folder, pooling="mean_tokens"):
    network = bert(folder)
    kinds = ("Transformer", "Pooling", "Normalize")
    modules = [{"type": f"sentence_transformers.models.{kind}"} for kind in kinds]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    modes = {f"pooling_mode_{m}": m == pooling for m in ("mean_tokens", "cls_token", "max_tokens")}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(modes))
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 16}')
    return network


@pytest.mark.parametrize("pooling", ["mean_tokens", "cls_token"])
def test_vectors_are_pooled_states_whatever_shares_the_batch(tmp_path, pooling):
    import torch

    network = sentence_encoder(tmp_path, pooling)
    vectors = SentenceEncoder(tmp_path).encode(TEXTS)
    for text, vector in zip(TEXTS, vectors, strict=True):
        ids = [2, *[WORDS.index(w) for w in text.split()], 3]
        with torch.inference_mode():
            states = network(torch.tensor([ids])).last_hidden_state[0].numpy()
        pooled = states.mean(0) if pooling == "mean_tokens" else states[0]
        assert vector == pytest.approx(pooled / np.linalg.norm(pooled), abs=1e-5)


def test_similarity_is_the_mean_over_references(tmp_path):
    sentence_encoder(tmp_path)
    network = SentenceEncoder(tmp_path)
    one, other, _, third = network.encode(TEXTS)
    found = network.similarity(
        ["a dog barks", "roof"], [["a dog barks", "rain falls on a roof"], ["roof"]]
    )
    assert found == pytest.approx([(one @ one + one @ other) / 2, third @ third], abs=1e-6)


def test_a_folder_that_is_no_encoder_is_named(tmp_path):
    assert "is no folder" in encoder.lacking(tmp_path / "nowhere")
    sentence_encoder(tmp_path)
    assert encoder.lacking(tmp_path) is None
    (tmp_path / "1_Pooling" / "config.json").write_text('{"pooling_mode_max_tokens": true}')
    assert "neither by mean nor by CLS" in encoder.lacking(tmp_path)
    (tmp_path / "modules.json").write_text('[{"type": "sentence_transformers.models.Dense"}]')
    with pytest.raises(ModelError, match="Dense"):
        SentenceEncoder(tmp_path)


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """All of FENSE's folder, tiny; returns it with the digest and networks it was made from."""
    import torch

    sentence_encoder(tmp_path / fense.ENCODER)
    base = bert(tmp_path / "bert-tiny", seed=1)
    (tmp_path / "bert-tiny" / "model.safetensors").unlink()
    torch.manual_seed(2)
    head = torch.nn.Linear(16, 6)
    state = {f"encoder.{k}": v for k, v in base.state_dict().items()}
    state["encoder.embeddings.position_ids"] = torch.arange(80)[None]
    state |= {"clf.weight": head.weight.detach(), "clf.bias": head.bias.detach()}
    content = {"model_type": "someone/bert-tiny", "num_classes": 6, "state_dict": state}
    torch.save(content, tmp_path / fense.DETECTOR)
    shape = {"hidden_size": 16, "num_hidden_layers": 2, "vocab_size": len(WORDS)}
    monkeypatch.setattr(fense, "_ENCODER_SHAPE", shape)
    digest = hashlib.sha256((tmp_path / fense.DETECTOR).read_bytes()).hexdigest()
    return tmp_path, digest, base, head


def test_the_detector_reads_cls_of_64_tokens(weights):
    import torch

    root, _, base, head = weights
    detector = fense.ErrorDetector(root / fense.DETECTOR, root)
    found = detector.probabilities(["A dog, barks!", "roof " * 90])
    for probability, words in zip(found, (["a", "dog", "barks"], ["roof"] * 62), strict=True):
        ids = [2, *[WORDS.index(w) for w in words], 3]
        with torch.inference_mode():
            logits = head(base(torch.tensor([ids])).last_hidden_state[:, 0])
        assert probability == pytest.approx(float(logits[0, 5].sigmoid()), abs=1e-5)


def test_fense_joins_both(weights):
    root, digest, *_ = weights
    metric = fense.Fense(root, digest)
    references = [["a dog barks", "roof"], ["rain falls"]]
    captions = ["a dog", "rain"]
    similarity = SentenceEncoder(root / fense.ENCODER).similarity(captions, references)
    error = fense.ErrorDetector(root / fense.DETECTOR, root).probabilities(captions)
    expected = [s * (0.1 if e > 0.9 else 1.0) for s, e in zip(similarity, error, strict=True)]
    assert metric.scores(captions, references) == pytest.approx(expected)


def test_a_caption_that_is_not_fluent_keeps_a_tenth():
    found = fense.combine(np.array([0.5, 0.5, -0.2]), np.array([0.9, 0.901, 0.95]))
    assert found == pytest.approx([0.5, 0.05, -0.02])


def test_other_weights_are_never_called_fense(weights, monkeypatch):
    root, digest, *_ = weights
    assert fense.missing(root, digest) == []
    assert "not the published file" in fense.missing(root)[0]
    monkeypatch.setattr(fense, "_ENCODER_SHAPE", {"hidden_size": 768})
    assert "hidden_size=16" in fense.missing(root, digest)[0]
    (root / fense.DETECTOR).unlink()
    with pytest.raises(ModelError, match="echecker"):
        fense.Fense(root, digest)


def test_a_detector_that_does_not_fit_its_base_is_refused(weights):
    root, *_ = weights
    config = json.loads((root / "bert-tiny" / "config.json").read_text())
    (root / "bert-tiny" / "config.json").write_text(json.dumps(config | {"hidden_size": 32}))
    with pytest.raises(ModelError, match="does not fit"):
        fense.ErrorDetector(root / fense.DETECTOR, root)
