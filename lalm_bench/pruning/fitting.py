"""What a model must be to be pruned, and how a pruner reaches it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lalm_bench.errors import ConfigError
from lalm_bench.types import Model

if TYPE_CHECKING:
    from lalm_bench.engine.prefill import Pruner
    from lalm_bench.models.families import Family


@dataclass(frozen=True)
class Facts:
    """What a checkpoint says about its layers; None where it does not say.

    Parameters
    ----------
    layers : int, optional
    shared_from : int, optional
        First layer whose keys and values later layers use in place of their own.
    """

    layers: int | None = None
    shared_from: int | None = None

    @classmethod
    def of(cls, config: Any) -> Facts:
        """From the configuration of a language model, loaded or as a mapping."""

        def get(name: str) -> Any:
            return config.get(name) if isinstance(config, Mapping) else getattr(config, name, None)

        layers, shared = get("num_hidden_layers"), get("num_kv_shared_layers")
        kinds = get("layer_types")
        if layers is None or not shared or not kinds:
            return cls(layers)
        own = list(kinds)[: layers - shared]
        return cls(layers, min(len(own) - 1 - own[::-1].index(kind) for kind in set(own)))


def demand_ratio(name: str, ratio: float) -> None:
    """ConfigError unless 0 <= ratio < 1."""
    if isinstance(ratio, bool) or not isinstance(ratio, (int, float)) or not 0 <= ratio < 1:
        raise ConfigError(
            f"pruning.ratio={ratio}: {name} drops this fraction of the audio; give 0 or more and "
            "less than 1"
        )


def demand_prunable(name: str, model: Model) -> Facts:
    """Facts about the layers of `model`.

    Raises
    ------
    ConfigError
        It is none whose layers this process runs, or it attends in a way that masks are not made
        for.
    """
    from lalm_bench.models.hf import HFModel

    if not isinstance(model, HFModel):
        raise ConfigError(
            f"pruning={name}: model {model.name} shows no layers that read audio tokens; take a "
            "model that transformers runs in this process, or pruning=none"
        )
    used = model.attn_implementation
    if model.network is None:
        facts = Facts.of(_language(model.checkpoint.config()))
    else:
        config = model.network.config.get_text_config()
        used, facts = config._attn_implementation, Facts.of(config)
    if used not in (None, "sdpa"):
        raise ConfigError(
            f"model.attn_implementation={used}: pruning={name} rebuilds the masks of sdpa only, "
            "and eager would hold all weights of a long clip; leave it out"
        )
    return facts


def loaded(model: Model) -> tuple[Any, Family]:
    """Network and family of a model that `demand_prunable` let pass; ConfigError before loading."""
    network = getattr(model, "network", None)
    if network is None:
        raise ConfigError(f"model {model.name} is not loaded: call load() before pruning it")
    settings: Family = model.settings()  # type: ignore[attr-defined]
    return network, settings


@contextmanager
def pruned_by(model: Any, pruner: Pruner) -> Iterator[None]:
    """Inside, a loaded model reads through `pruner`; restored on any exit."""
    reader = model.resident.reader
    if reader.pruner is not None:
        raise ConfigError(f"model {model.name} is pruned already; leave that first")
    reader.pruner = pruner
    try:
        yield
    finally:
        reader.pruner = None


def _language(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The language model's part of a checkpoint's configuration."""
    for part in ("thinker_config", "text_config"):
        inner = config.get(part)
        if isinstance(inner, Mapping):
            config = inner
    return config
