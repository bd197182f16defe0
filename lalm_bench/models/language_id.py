"""Whisper as a listener: which of the options is the language that is spoken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from lalm_bench.errors import ModelError
from lalm_bench.models.checkpoint import Checkpoint
from lalm_bench.models.listener import RATE, Listener
from lalm_bench.types import Json, Runtime

WINDOW_S = 30


@dataclass(kw_only=True)
class LanguageId(Listener):
    """The language token that a multilingual Whisper ranks highest (Radford et al., 2022).

    Options are names of languages or their ISO codes. What follows the first 30 s is not heard, and
    counted.

    Parameters
    ----------
    path : str
        Hub id or local folder of a multilingual Whisper checkpoint.
    revision : str, optional
        Branch, tag or commit on the hub.
    """

    path: str = "openai/whisper-base"
    revision: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self._network: Any = None

    @property
    def checkpoint(self) -> Checkpoint:
        """The files behind `path`."""
        return Checkpoint(self.path, self.revision)

    def identity(self) -> dict[str, Json]:
        """The weights."""
        return {"model": "LanguageId", "weights": self.checkpoint.identity()}

    def missing(self) -> list[str]:
        """What to fetch first."""
        return self.checkpoint.missing()

    def fetch(self) -> None:
        """Download the weights when they are not on this machine."""
        self.checkpoint.fetch()

    def _load(self, runtime: Runtime) -> None:
        if self._network is not None:
            return
        from transformers import WhisperFeatureExtractor

        from lalm_bench.models.loading import load_network, pick_device

        folder = self.checkpoint.fetch()
        network = load_network(
            folder,
            "WhisperForConditionalGeneration",
            dtype="float32",
            device=pick_device(runtime.device),
        )
        tokens = getattr(network.generation_config, "lang_to_id", None)
        if not tokens:
            raise ModelError(
                f"model.path={self.path} knows no languages; take a multilingual Whisper "
                "with its generation_config.json"
            )
        self._tokens = {token.strip("<|>"): number for token, number in tokens.items()}
        self._extractor = WhisperFeatureExtractor.from_pretrained(folder)
        self._network = network

    @cached_property
    def _codes(self) -> dict[str, str]:
        from transformers.models.whisper.tokenization_whisper import LANGUAGES, TO_LANGUAGE_CODE

        return {**TO_LANGUAGE_CODE, **{code: code for code in LANGUAGES}}

    def _understand(self, option: str) -> int | None:
        return self._tokens.get(self._codes.get(option, ""))

    def _unheard(self, samples: int) -> int:
        return max(samples - WINDOW_S * RATE, 0)

    def _score(self, wave: np.ndarray, sought: Sequence[Any]) -> np.ndarray:
        import torch

        taken = self._extractor(wave, sampling_rate=RATE, return_tensors="pt")
        start = torch.tensor([[self._network.generation_config.decoder_start_token_id]])
        device = self._network.device
        with torch.inference_mode():
            logits = self._network(
                input_features=taken["input_features"].to(device),
                decoder_input_ids=start.to(device),
            ).logits[0, -1]
        scores: np.ndarray = logits[list(sought)].float().cpu().numpy()
        return scores
