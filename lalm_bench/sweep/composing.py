"""Configurations of many cells: what they share is composed once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lalm_bench.cli import home

RUN = "run"
Composed = Callable[[Sequence[str]], DictConfig]


@contextmanager
def composing(config_name: str = "config", hydra_words: Sequence[str] = ()) -> Iterator[Composed]:
    """`with composing() as composed: composed(overrides)` is what the command line would compose.

    What Hydra had been doing before goes on afterwards.

    Parameters
    ----------
    config_name : str
    hydra_words : sequence of str
        Overrides that every cell gets besides its own.

    Notes
    -----
    Composing a cell takes Hydra 0.1 s, mostly to read the same files. Values (`seed=2`, not
    `model=x`) change nothing of which files these are; they are set on a copy, in their order, as
    Hydra itself does.
    """
    everything, own = GlobalHydra.instance(), HydraConfig.instance()
    before = everything.hydra, own.cfg
    everything.clear()
    try:
        with initialize_config_dir(home("conf"), version_base="1.3", job_name="lalm_bench"):
            yield _Composer(config_name, hydra_words)
    finally:
        everything.hydra, own.cfg = before


class _Composer:
    def __init__(self, config_name: str, hydra_words: Sequence[str]) -> None:
        self._config_name = config_name
        self._always = list(hydra_words)
        self._bases: dict[tuple[str, ...], DictConfig] = {}
        self._groups: dict[str, bool] = {}

    def __call__(self, words: Sequence[str]) -> DictConfig:
        parsed = OverridesParser.create().parse_overrides(list(words))
        values = [o for o in parsed if self._is_value(o)]
        files = tuple(str(o.input_line) for o in parsed if not self._is_value(o))
        if files not in self._bases:
            self._bases[files] = self._whole(files)
        config = deepcopy(self._bases[files])
        try:
            for override in values:
                added = override.type == OverrideType.FORCE_ADD
                name = override.get_key_element().lstrip("+")
                OmegaConf.update(config, name, override.value(), merge=True, force_add=added)
        except OmegaConfBaseException:
            return self._whole(words)  # Hydra says what is wrong
        return config if config.stage == RUN else self._whole(words)

    def _whole(self, words: Sequence[str]) -> DictConfig:
        """By Hydra alone; its own part becomes this process's, for stages that ask for it."""
        whole = compose(self._config_name, [*self._always, *words], return_hydra_config=True)
        HydraConfig.instance().set_config(whole)
        config = OmegaConf.masked_copy(whole, [str(key) for key in whole if key != "hydra"])
        OmegaConf.set_struct(config, True)  # a copy forgets that there are no other settings
        return config

    def _is_value(self, override: Override) -> bool:
        if override.type not in (OverrideType.CHANGE, OverrideType.FORCE_ADD):
            return False
        name = str(override.key_or_group)
        if override.package is not None or name.startswith("hydra"):
            return False
        if name not in self._groups:
            options = GlobalHydra.instance().config_loader().get_group_options(name)
            self._groups[name] = bool(options)
        return not self._groups[name]
