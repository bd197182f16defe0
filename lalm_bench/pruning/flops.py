"""How many operations a prefill needs, with and without pruning; the encoder's stand apart.

The language model's are counted from its own weights: every matrix meets every token once, an
expert's only the tokens that are sent to it. That holds for grouped heads, gated layers, experts,
low-rank additions and per-layer inputs alike, and needs no formula for each family.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

# A multiplication and an addition.
_FLOP = 2
# Keys and values of two layers that Whisper's descendants begin with.
_KERNEL = 3


@dataclass(frozen=True)
class Prefill:
    """Cost of reading a prompt, in floating-point operations (FLOP).

    Parameters
    ----------
    token : tuple of float
        FLOP a token, by layer.
    pair : tuple of float
        FLOP a pair of a query and a key that it sees, by layer and over all heads.
    window : tuple of (int or None)
        Keys that a query sees at most, by layer; None for all before it.
    entrance : float
        FLOP a token outside of the layers.
    head : float
        FLOP of the logits of one token; a prefill needs those of the last one alone.
    """

    token: tuple[float, ...]
    pair: tuple[float, ...]
    window: tuple[int | None, ...]
    entrance: float
    head: float

    @classmethod
    def of(cls, network: Any) -> Prefill:
        """Counts from a network's weights; one on the meta device will do.

        Parameters
        ----------
        network : PreTrainedModel
            With a decoder (`get_decoder()`) that has `layers`.
        """
        decoder, config = network.get_decoder(), network.config.get_text_config()
        layers = list(decoder.layers)
        active = _active_experts(config)
        width = getattr(config, "head_dim", None)
        width = width or config.hidden_size // config.num_attention_heads
        kinds = getattr(config, "layer_types", None) or ["full_attention"] * len(layers)
        return cls(
            tuple(_FLOP * _size(_matrices(layer), active) for layer in layers),
            (2 * _FLOP * config.num_attention_heads * width,) * len(layers),
            tuple(
                config.sliding_window if kind == "sliding_attention" else None
                for kind in kinds[: len(layers)]
            ),
            _FLOP * sum(map(_size, map(_matrices, _projections(decoder)))),
            _FLOP * network.get_output_embeddings().weight.numel(),
        )

    def flops(self, tokens: int, dropped: int = 0, layer: int = 0) -> float:
        """FLOP of one prompt of `tokens`, of which the layers from `layer` on lack `dropped`.

        Attention is causal: a query meets the keys before it and its own, which is half of the
        square, and kernels skip the other half.
        """
        found = self.entrance * tokens + self.head
        costs = zip(self.token, self.pair, self.window, strict=True)
        for number, (each, pair, window) in enumerate(costs):
            left = tokens - dropped if number >= layer else tokens
            found += each * left + pair * _pairs(left, window)
        return found

    def speedup(self, tokens: int, audio: int, kept: int, layer: int) -> float:
        """FLOP without pruning over FLOP with it.

        Parameters
        ----------
        tokens : int
            Of the prompt, audio included.
        audio, kept : int
            Audio tokens, and those that the layers from `layer` on see.
        """
        return self.flops(tokens) / self.flops(tokens, audio - kept, layer)


def encoder_flops(config: Any, frames: int, window: int | None = None) -> float:
    """FLOP of an encoder of Whisper's kind.

    Parameters
    ----------
    config : PreTrainedConfig
        `audio_config` of a family whose encoder has two convolutions and plain layers.
    frames : int
        Frames after the convolutions, padding included.
    window : int, optional
        Frames that attention sees at a time; None for all.
    """
    layers = getattr(config, "encoder_layers", None) or config.num_hidden_layers
    width = getattr(config, "d_model", None) or config.hidden_size
    wide = getattr(config, "encoder_ffn_dim", None) or config.intermediate_size
    stem = _KERNEL * width * (2 * config.num_mel_bins + width)
    matrices = stem + layers * (4 * width**2 + 2 * width * wide)
    attention = 2 * layers * width * min(frames, window or frames)
    return float(_FLOP * frames * (matrices + attention))


def _pairs(tokens: int, window: int | None) -> float:
    """Pairs of a query and a key that it sees."""
    near = tokens if window is None else min(tokens, window)
    return near * (near + 1) / 2 + (tokens - near) * near


def _active_experts(config: Any) -> float:
    """Share of a layer's experts that a token meets."""
    experts = getattr(config, "num_experts", None) or getattr(config, "num_local_experts", None)
    return config.num_experts_per_tok / experts if experts else 1.0


def _projections(decoder: Any) -> Iterator[Any]:
    """What a decoder multiplies tokens with outside of its layers; encoders may live there too."""
    from torch import nn

    for child in decoder.children():
        several = child if isinstance(child, nn.ModuleList) else [child]
        yield from (module for module in several if isinstance(module, nn.Linear))


def _matrices(module: Any) -> Iterator[Any]:
    """Weights that are multiplied with tokens: neither vectors nor tables that are looked up."""
    from torch import nn

    tables = {id(m.weight) for m in module.modules() if isinstance(m, nn.Embedding)}
    return (p for p in module.parameters() if p.ndim > 1 and id(p) not in tables)


def _size(weights: Iterable[Any], active: float = 1.0) -> float:
    # Experts of a layer lie in one tensor, the first axis of which counts them.
    return float(sum(p.numel() * (active if p.ndim == 3 else 1.0) for p in weights))
