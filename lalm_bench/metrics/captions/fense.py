"""FENSE: similarity of sentences, cut to a tenth where a detector finds the caption not fluent.

Zhou et al. (2022), arXiv 2110.04684. FENSE is these weights and no others: another encoder's
number is another metric, so the detector is known by its digest and the encoder by its shape.
"""

from __future__ import annotations

import hashlib
import json
import string
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lalm_bench.errors import ModelError, one_line
from lalm_bench.metrics.captions.encoder import SentenceEncoder, device, lacking

if TYPE_CHECKING:
    import numpy as np

ENCODER = "paraphrase-TinyBERT-L6-v2"
DETECTOR = "echecker_clotho_audiocaps_base.ckpt"
DETECTOR_SHA256 = "1a719f090af70614bbdb9f9437530b7e133c48cfa4a58d964de0d47fc974a2fa"
_ENCODER_SHAPE = {"hidden_size": 768, "num_hidden_layers": 6, "vocab_size": 30522}
_THRESHOLD, _PENALTY = 0.9, 0.9
_TOKENS, _BATCH = 64, 64
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def missing(root: Path, digest: str = DETECTOR_SHA256) -> list[str]:
    """What keeps FENSE from being computed with the weights under `root`, one reason each."""
    encoder, detector = root / ENCODER, root / DETECTOR
    reason = lacking(encoder)
    if reason is None and (strange := _other_shape(encoder)):
        reason = f"{encoder} has {strange}: it is not {ENCODER}"
    reasons = [reason] if reason else []
    if not detector.is_file():
        reasons.append(f"{detector} is not there")
    elif _sha256(detector) != digest:
        reasons.append(f"{detector} is not the published file (sha256 {digest[:12]}...)")
    elif not (base := root / _base_name(detector)).is_dir():
        reasons.append(f"{base} is not there (tokenizer and config.json of the detector's base)")
    return reasons


def combine(similarity: np.ndarray, error: np.ndarray) -> np.ndarray:
    """FENSE of each caption from its similarity (-1 to 1) and its probability of an error."""
    import numpy as np

    kept: np.ndarray = np.where(error > _THRESHOLD, similarity * (1 - _PENALTY), similarity)
    return kept


class Fense:
    """Both networks of the metric.

    Parameters
    ----------
    root : Path
        Folder with `paraphrase-TinyBERT-L6-v2/`, `echecker_clotho_audiocaps_base.ckpt`, and the
        folder of the detector's base model (tokenizer and `config.json`), named as in the file.
    digest : str
        SHA-256 that the detector must have.

    Raises
    ------
    ModelError
        Something is missing, or is not what was published.
    """

    def __init__(self, root: Path, digest: str = DETECTOR_SHA256) -> None:
        if reasons := missing(root, digest):
            raise ModelError(f"FENSE: {'; '.join(reasons)}")
        self._encoder = SentenceEncoder(root / ENCODER)
        self._detector = ErrorDetector(root / DETECTOR, root)

    def scores(self, candidates: Sequence[str], references: Sequence[Sequence[str]]) -> np.ndarray:
        """FENSE of each caption, shape (items,)."""
        similarity = self._encoder.similarity(candidates, references)
        return combine(similarity, self._detector.probabilities(candidates))


class ErrorDetector:
    """A BERT with a linear head on CLS: six sigmoid outputs, the last one says "not fluent"."""

    def __init__(self, checkpoint: Path, root: Path) -> None:
        from transformers import AutoConfig, AutoModel, AutoTokenizer

        content = _read(checkpoint)
        base = root / _base_name(checkpoint)
        state = dict(content["state_dict"])
        encoder = {
            name.removeprefix("encoder."): state.pop(name)
            for name in list(state)
            if name.startswith("encoder.")
        }
        # Older versions of transformers stored the positions 0, 1, 2, ... as a weight.
        encoder.pop("embeddings.position_ids", None)
        heads = {len(weight.shape): weight for weight in state.values()}
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(base, local_files_only=True)
            config = AutoConfig.from_pretrained(base, local_files_only=True)
            network = AutoModel.from_config(config).float()  # type: ignore[no-untyped-call]
            network.load_state_dict(encoder)
            self._weight, self._bias = heads[2].to(device()), heads[1].to(device())
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            raise ModelError(
                f"{checkpoint}: does not fit its base model in {base} ({one_line(error)[:200]})"
            ) from error
        self._network = network.eval().to(device())

    def probabilities(self, captions: Sequence[str]) -> np.ndarray:
        """Probability of a fluency error, shape (captions,)."""
        import numpy as np
        import torch

        found = []
        plain = [caption.translate(_NO_PUNCTUATION).lower() for caption in captions]
        for start in range(0, len(plain), _BATCH):
            inputs = self._tokenizer(
                plain[start : start + _BATCH],
                padding="max_length",
                truncation=True,
                max_length=_TOKENS,
                return_tensors="pt",
            ).to(device())
            with torch.inference_mode():
                first = self._network(**inputs).last_hidden_state[:, 0]
                logits = torch.nn.functional.linear(first, self._weight, self._bias)
            found.append(logits[:, -1].sigmoid().double().cpu().numpy())
        return np.concatenate(found) if found else np.zeros(0)


def _base_name(checkpoint: Path) -> str:
    """Last part of the base model's name, e.g. `bert-base-uncased`."""
    return str(_read(checkpoint)["model_type"]).rpartition("/")[2]


def _read(checkpoint: Path) -> dict[str, Any]:
    import torch

    try:
        # weights_only: a file from elsewhere may hold tensors and plain values, and no code.
        content = torch.load(checkpoint, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError) as error:
        raise ModelError(f"{checkpoint}: cannot be read ({one_line(error)[:200]})") from error
    if not isinstance(content, dict) or not {"model_type", "state_dict"} <= content.keys():
        raise ModelError(f"{checkpoint}: no model_type and state_dict; fetch the published file")
    return content


def _other_shape(encoder: Path) -> str | None:
    config = json.loads((encoder / "config.json").read_text(encoding="utf-8"))
    found = [f"{k}={config.get(k)}" for k, v in _ENCODER_SHAPE.items() if config.get(k) != v]
    return ", ".join(found) or None


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
