"""One query a row against grouped keys, without copying the keys for every query head."""

from __future__ import annotations

from typing import Any

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
