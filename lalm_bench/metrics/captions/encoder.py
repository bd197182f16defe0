"""Sentence embeddings from a folder in the layout of sentence-transformers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lalm_bench.errors import ModelError, one_line

if TYPE_CHECKING:
    import numpy as np

_BATCH = 64
_POOLING = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}
_KNOWN = ("Transformer", "Pooling", "Normalize")


def lacking(root: Path) -> str | None:
    """What keeps the folder from being a sentence encoder, in a few words; None when nothing."""
    if not root.is_dir():
        return f"{root} is no folder"
    for name in ("config.json", "modules.json", "1_Pooling/config.json"):
        if not (root / name).is_file():
            return f"{root} has no {name}: it must be a whole sentence-transformers folder"
    kinds = [str(m.get("type")).rpartition(".")[2] for m in _json(root / "modules.json")]
    if strange := [kind for kind in kinds if kind not in _KNOWN]:
        return f"{root} has a layer {strange[0]}; known are {', '.join(_KNOWN)}"
    if _pooling(root) is None:
        return f"{root} pools neither by mean nor by CLS alone"
    return None


class SentenceEncoder:
    """A transformer whose token states are pooled to one unit vector a text.

    Parameters
    ----------
    root : Path
        Holds `config.json`, weights, tokenizer, `modules.json` and `1_Pooling/config.json`.

    Raises
    ------
    ModelError
        The folder lacks something, or its weights cannot be read.
    """

    def __init__(self, root: Path) -> None:
        if reason := lacking(root):
            raise ModelError(f"{reason}; mend the path")
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils import logging

        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        self._mean = _pooling(root) == "mean"
        settings = root / "sentence_bert_config.json"
        found = _json(settings) if settings.is_file() else {}
        self._most_tokens = int(found.get("max_seq_length") or 512)
        self._lower = bool(found.get("do_lower_case"))
        self._device = device()
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(root, local_files_only=True)
            network = AutoModel.from_pretrained(root, local_files_only=True)
        except (OSError, ValueError, RuntimeError) as error:
            raise ModelError(f"{root}: cannot be loaded ({one_line(error)})") from error
        self._network = network.float().eval().to(self._device)

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors, float32 of shape (texts, dimensions).

        Each distinct text is encoded once; texts of like length share a batch.
        """
        import numpy as np
        import torch

        distinct = sorted(set(texts), key=lambda text: (len(text), text))
        parts = []
        for start in range(0, len(distinct), _BATCH):
            batch = distinct[start : start + _BATCH]
            inputs = self._tokenizer(
                [text.lower() for text in batch] if self._lower else batch,
                padding=True,
                truncation=True,
                max_length=self._most_tokens,
                return_tensors="pt",
            ).to(self._device)
            with torch.inference_mode():
                states = self._network(**inputs).last_hidden_state
                if self._mean:
                    mask = inputs["attention_mask"].unsqueeze(-1).to(states.dtype)
                    pooled = (states * mask).sum(1) / mask.sum(1)
                else:
                    pooled = states[:, 0]
                parts.append(torch.nn.functional.normalize(pooled, dim=1).cpu().numpy())
        vectors = np.concatenate(parts)
        place = {text: i for i, text in enumerate(distinct)}
        chosen: np.ndarray = vectors[[place[text] for text in texts]]
        return chosen

    def similarity(
        self, candidates: Sequence[str], references: Sequence[Sequence[str]]
    ) -> np.ndarray:
        """Mean cosine of each caption with its references, -1 to 1, shape (items,)."""
        import numpy as np

        counts = [len(captions) for captions in references]
        flat = [caption for captions in references for caption in captions]
        vectors = self.encode([*candidates, *flat])
        given, theirs = vectors[: len(candidates)], vectors[len(candidates) :]
        owners = np.repeat(np.arange(len(candidates)), counts)
        cosines = np.einsum("ij,ij->i", given[owners], theirs).astype(float)
        sums = np.bincount(owners, weights=cosines, minlength=len(candidates))
        means: np.ndarray = sums / np.asarray(counts)
        return means


def device() -> str:
    """Where metric networks run: the first GPU, or the CPU."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _pooling(root: Path) -> str | None:
    chosen = [k for k, v in _json(root / "1_Pooling" / "config.json").items() if v is True]
    modes = [k for k in chosen if k.startswith("pooling_mode_")]
    return _POOLING.get(modes[0]) if len(modes) == 1 else None


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{path}: not JSON ({one_line(error)}); fetch the folder again") from error
