"""One model at a time for many runs: cells that share it load it once."""

from __future__ import annotations

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from lalm_bench.identity import canonical
from lalm_bench.types import Model

# What decides how a network is loaded.
_PARTS = ("model", "runtime")


class OneModel:
    """The model of the last run; another one replaces it, so that two never share a device."""

    def __init__(self) -> None:
        self._key = b""
        self._model: Model | None = None

    def of(self, config: DictConfig) -> Model:
        """The model that `config` asks for: the one that is here, or a new one."""
        key = model_key(config)
        if self._model is None or key != self._key:
            self.drop()  # its memory is free before the next one asks for some
            model: Model = instantiate(config.model, _convert_="all")
            self._model, self._key = model, key
        return self._model

    def drop(self) -> None:
        """Forget it: the next run loads its model anew."""
        self._model, self._key = None, b""


def model_key(config: DictConfig) -> bytes:
    """Equal where one loaded model serves both."""
    return canonical([OmegaConf.to_container(config[name], resolve=True) for name in _PARTS])
