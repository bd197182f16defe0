"""Fuse a language model's small operations: norms, rotary embeddings, gated activations.

On a large GPU they cost half as much as the matrix products between them, because each reads and
writes whole activations. The family's own code is compiled piece by piece, so nothing about it is
assumed but the names of its pieces.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

# Layers of Whisper-like encoders hold no cache and are compiled whole.
_WHOLE = ("Qwen2AudioEncoderLayer", "VoxtralEncoderLayer", "AudioFlamingo3EncoderLayer")
_MODULES = ("RMSNorm", "MLP", *_WHOLE)
_FUNCTION = "apply_rotary_pos_emb"


def fuse(network: nn.Module) -> None:
    """Compile the pieces of `network`; on the first call of each, for all sizes at once.

    Parameters
    ----------
    network : Module
        With its encoders; what never runs is never compiled.
    """
    # A batch of one row and a step of one token are compiled apart; layers differ in width.
    torch._dynamo.config.cache_size_limit = max(torch._dynamo.config.cache_size_limit, 64)
    compiled: dict[type, Callable[..., Any]] = {}
    for module in _pieces(network):
        kind = type(module)
        if kind not in compiled:
            compiled[kind] = torch.compile(kind.forward, dynamic=True)
        module.forward = compiled[kind].__get__(module)
    for name in {type(layer).__module__ for layer in network.modules()}:
        source = sys.modules.get(name)
        rotary = getattr(source, _FUNCTION, None)
        if rotary is not None and not hasattr(rotary, "_torchdynamo_orig_callable"):
            setattr(source, _FUNCTION, torch.compile(rotary, dynamic=True))


def unfuse(network: nn.Module) -> None:
    """Undo `fuse`."""
    for module in _pieces(network):
        vars(module).pop("forward", None)
    for name in {type(layer).__module__ for layer in network.modules()}:
        source = sys.modules.get(name)
        rotary = getattr(source, _FUNCTION, None)
        plain = getattr(rotary, "_torchdynamo_orig_callable", None)
        if plain is not None:
            setattr(source, _FUNCTION, plain)


def _pieces(network: nn.Module) -> Iterator[nn.Module]:
    for module in network.modules():
        if type(module).__name__.endswith(_MODULES):
            yield module
