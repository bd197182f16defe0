"""Attention where transformers' own way wastes most of a GPU.

Two cases: one query a row against grouped keys, and encoders that attend within short chunks.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers.integrations import sdpa_attention
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS


def attend_in_groups() -> None:
    """Let `sdpa` of older transformers read grouped keys once while decoding.

    Newer ones do it themselves. Earlier, a mask made it repeat keys and values for each query head:
    seven times the bytes for Qwen2.5-7B, at each step.
    """
    if hasattr(sdpa_attention, "pack_gqa"):
        return
    ALL_ATTENTION_FUNCTIONS.register("sdpa", _grouped)


def _grouped(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **options: Any,
) -> tuple[Tensor, None]:
    """`sdpa_attention_forward`, one query token's heads standing as tokens beside their keys.

    Parameters
    ----------
    query : Tensor
        (rows, heads, tokens, size).
    key, value : Tensor
        (rows, key heads, seen tokens, size).
    """
    rows, heads, tokens, size = query.shape
    groups = heads // key.shape[1]
    shared_mask = attention_mask is None or attention_mask.shape[1] == 1
    if tokens > 1 or groups == 1 or not shared_mask:
        plain: tuple[Tensor, None] = sdpa_attention.sdpa_attention_forward(
            module, query, key, value, attention_mask, **options
        )
        return plain
    packed = query.reshape(rows, key.shape[1], groups, size)
    # Every query may see all that the mask shows: they are one token.
    attended, _ = sdpa_attention.sdpa_attention_forward(
        _Ungrouped(), packed, key, value, attention_mask, **{**options, "is_causal": False}
    )
    return attended.transpose(1, 2).reshape(rows, 1, heads, size), None


class _Ungrouped(nn.Module):
    """Tells `sdpa_attention_forward` that keys match queries already."""

    is_causal = False


# Encoders look for "flash" in the name before they hand over the bounds of their chunks.
CHUNKED = "lalm_bench_flash_chunks"


def attend_in_chunks(network: nn.Module, implementation: str = CHUNKED) -> None:
    """Let audio encoders attend within all their chunks at once (or, with `sdpa`, one by one).

    Without the package flash_attn they call attention chunk by chunk, in each layer: a hundred
    calls for twenty clips, each waiting for the host.
    """
    ALL_ATTENTION_FUNCTIONS.register(CHUNKED, _within_chunks)
    for module in network.modules():
        config: Any = getattr(module, "config", None)
        if hasattr(config, "n_window"):
            config._attn_implementation = implementation


def _within_chunks(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    cu_seq_lens_q: Tensor,
    max_length_q: int,
    scaling: float,
    **options: Any,
) -> tuple[Tensor, None]:
    """Every token sees its own chunk, both ways.

    Parameters
    ----------
    query, key, value : Tensor
        (1, heads, tokens of all chunks, size).
    cu_seq_lens_q : Tensor
        (chunks + 1,): where chunks begin, and the end of the last.

    Returns
    -------
    Tensor
        (1, tokens, heads, size).
    """
    total = query.shape[2]
    begins, lengths = cu_seq_lens_q[:-1], cu_seq_lens_q.diff()
    offsets = torch.arange(max_length_q, device=query.device)
    columns = (begins[:, None] + offsets).clamp(max=total - 1)
    q, k, v = (t[0].transpose(0, 1)[columns].transpose(1, 2) for t in (query, key, value))
    seen = (offsets < lengths[:, None])[:, None, None, :]
    attended = nn.functional.scaled_dot_product_attention(q, k, v, seen, scale=scaling)
    tokens = torch.arange(total, device=query.device)
    chunk = torch.searchsorted(cu_seq_lens_q, tokens.to(cu_seq_lens_q.dtype), right=True) - 1
    return attended[chunk, :, tokens - begins[chunk]][None], None
