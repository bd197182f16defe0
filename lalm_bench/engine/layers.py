"""The language model's layers, and ready masks for those that hold less than the whole prompt."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from lalm_bench.errors import ModelError

FULL, SLIDING = "full_attention", "sliding_attention"


class Stack:
    """The decoder layers of one network.

    Parameters
    ----------
    network : PreTrainedModel

    Attributes
    ----------
    kinds : tuple of str
        Kind of attention of each layer.
    window : int or None
        Tokens that a sliding layer's query sees back, itself included.
    """

    def __init__(self, network: Any) -> None:
        model = network.get_decoder()
        if not hasattr(model, "layers") or not hasattr(model, "norm"):
            raise ModelError(f"{type(network).__name__}: its language model shows no layers")
        config = network.config.get_text_config()
        self.layers: list[Any] = list(model.layers)
        self.norm: nn.Module = model.norm
        named = getattr(config, "layer_types", None)
        self.kinds = tuple(named) if named else (FULL,) * len(self.layers)
        self.window: int | None = config.sliding_window if SLIDING in self.kinds else None
        self.implementation: str = config._attn_implementation

    @property
    def sources(self) -> list[int]:
        """Layers whose keys and values later layers use in place of their own."""
        attentions = [getattr(layer, "self_attn", None) for layer in self.layers]
        if not any(getattr(a, "is_kv_shared_layer", False) for a in attentions):
            return []
        return [i for i, a in enumerate(attentions) if getattr(a, "store_full_length_kv", False)]

    def caches(self, number: int) -> bool:
        """Whether a layer has keys and values of its own."""
        attention = getattr(self.layers[number], "self_attn", None)
        return not getattr(attention, "is_kv_shared_layer", False)

    def ready(self, masks: Mapping[str, Tensor]) -> Any:
        """Masks of each kind in the form that the network takes them in."""
        return masks[FULL] if self.window is None else dict(masks)

    @contextlib.contextmanager
    def masking(self, layers: frozenset[int], mask_of: Callable[[str], Any]) -> Iterator[None]:
        """Inside, `layers` attend under `mask_of(kind)`, asked anew in each pass."""
        hooks = []
        try:
            for number in layers:
                layer = self.layers[number]
                give = _masked(parameters(layer), self.kinds[number], mask_of)
                hooks.append(layer.register_forward_pre_hook(give, with_kwargs=True))
            yield
        finally:
            for hook in hooks:
                hook.remove()


Names = tuple[str, ...]


def parameters(layer: nn.Module) -> Names:
    """Names of a layer's arguments in order."""
    return tuple(inspect.signature(layer.forward).parameters)


def _masked(names: Names, kind: str, mask_of: Callable[[str], Any]) -> Callable[..., Any]:
    def give(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        given = dict(zip(names, args, strict=False)) | kwargs
        return (), given | {"attention_mask": mask_of(kind)}

    return give


@dataclass(frozen=True)
class Columns:
    """What some layers hold of each row, aligned on the right.

    Parameters
    ----------
    layers : frozenset of int
    mask : Tensor
        (rows, columns), 1 where a token is held.
    places : Tensor, optional
        (rows, columns): the tokens' places in their prompts; None where no layer has a window.
    lengths : tuple of int
        Tokens held of each row.
    audio : tuple of int, optional
        Of these, audio; None where heads differ in it.
    """

    layers: frozenset[int]
    mask: Tensor
    places: Tensor | None = None
    lengths: tuple[int, ...] = ()
    audio: tuple[int, ...] | None = None

    def rows(self, indices: Tensor) -> Columns:
        """A copy with the rows `indices`; counts stay behind."""
        places = None if self.places is None else self.places[indices]
        return Columns(self.layers, self.mask[indices], places)

    def extended(self, mask: Tensor, places: Tensor) -> Columns:
        """With further tokens (rows, new) behind."""
        behind = None if self.places is None else torch.cat([self.places, places], dim=1)
        return Columns(self.layers, torch.cat([self.mask, mask.to(self.mask)], dim=1), behind)


def causal(columns: Columns, asking: int, window: int | None = None) -> Tensor:
    """Mask (rows, 1, asking, columns), True where the last `asking` columns see each column.

    Padding sees itself, so that no query is left with nothing.
    """
    held = columns.mask.bool()
    order = torch.arange(held.shape[1], device=held.device)
    queries = order[-asking:, None]
    mask = held[:, None, :] & (order <= queries)
    if window is not None and columns.places is not None:
        here = columns.places
        mask = mask & (here[:, None, :] > here[:, -asking:, None] - window)
    return (mask | (order == queries))[:, None]


def causal_masks(columns: Columns, asking: int, window: int | None) -> dict[str, Tensor]:
    """`causal` for each kind of layer."""
    whole = causal(columns, asking)
    return {FULL: whole, SLIDING: whole if window is None else causal(columns, asking, window)}


def aligned(tensors: list[Tensor], longest: int) -> Tensor:
    """Rows (tokens,) stacked with zeros in front: (rows, longest)."""
    return torch.stack([pad(tensor, (longest - len(tensor), 0)) for tensor in tensors])
