"""A sound tagger as a listener: which of the options does the clip sound like."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lalm_bench.digests import file_digest
from lalm_bench.errors import ConfigError
from lalm_bench.models import yamnet
from lalm_bench.models.listener import Listener
from lalm_bench.types import Json, Runtime

# Of the rule that turns class scores into an answer.
VERSION = 1


@dataclass(kw_only=True)
class Tagger(Listener):
    """YAMNet and a written map from option words to its classes.

    An option scores what the strongest of its classes scores, as the mean over the clip of its
    probability.

    Parameters
    ----------
    path : str
        YAMNet as ONNX over log-mel patches; other tensors that the file refers to lie beside it.
    words : mapping
        Word -> indices of classes.
    """

    words: Mapping[str, Sequence[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._session: Any = None
        for word, classes in self.words.items():
            if not classes or not all(
                isinstance(c, int) and 0 <= c < yamnet.CLASSES for c in classes
            ):
                raise ConfigError(
                    f"model.words.{word}={classes!r} must list classes from 0 to "
                    f"{yamnet.CLASSES - 1}"
                )

    def identity(self) -> dict[str, Json]:
        """Weights, map and rule."""
        files = self._files()
        digests: list[Json] = [file_digest(file) for file in files]
        words: dict[str, Json] = {word: list(classes) for word, classes in self.words.items()}
        return {"model": "Tagger", "rules": VERSION, "weights": digests, "words": words}

    def missing(self) -> list[str]:
        """What to install and where the weights are to be named."""
        lacking = [n for n in ("onnx", "onnxruntime") if importlib.util.find_spec(n) is None]
        wanted = []
        if lacking:
            wanted.append(
                f"model=tagger needs {' and '.join(lacking)}: pip install 'lalm_bench[listeners]'"
            )
        if self.path is None:
            wanted.append("model=tagger needs weights: add model.path=YAMNET.onnx")
        elif not Path(self.path).is_file():
            wanted.append(f"model.path={self.path} is not there; name a YAMNet ONNX file")
        return wanted

    def _files(self) -> list[Path]:
        """The network and the tensors beside it."""
        if self.path is None or not Path(self.path).is_file():
            return []
        network = Path(self.path)
        return [network, *sorted(network.parent.glob("*.data"))]

    def _load(self, runtime: Runtime) -> None:
        if self._session is None:
            self._session = yamnet.session(Path(str(self.path)))

    def _understand(self, option: str) -> Sequence[int] | None:
        return self.words.get(option)

    def _score(self, wave: np.ndarray, sought: Sequence[Any]) -> np.ndarray:
        heard = yamnet.probabilities(self._session, wave)
        return np.array([heard[list(classes)].max() for classes in sought])
