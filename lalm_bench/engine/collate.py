"""Join the features of single items into one batch.

Items are featurised one by one, so that a short item never meets the padding of a longer one inside
a spectrogram, and are padded here, where the model's masks cover the padding.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import torch
from torch import Tensor

# Token-aligned tensors grow on the left, so that every prompt ends where generation starts.
TOKEN_KEYS = frozenset({"input_ids", "attention_mask", "token_type_ids", "mm_token_type_ids"})


def collate(
    rows: Sequence[dict[str, Tensor]], pad_id: int, device: torch.device, dtype: torch.dtype
) -> dict[str, Tensor]:
    """One batch on `device`.

    Parameters
    ----------
    rows : sequence of dict
        Features of one item each. Token tensors have shape (1, tokens); audio tensors (clips or
        windows, ...). An item without audio lacks the audio keys.
    pad_id : int
        Fills `input_ids`; every other tensor is filled with 0.
    device : torch.device
    dtype : torch.dtype
        Floating-point features are cast to it.

    Returns
    -------
    dict
        Token tensors (items, longest); audio tensors concatenated on axis 0 over the items that
        have them, every other axis as long as the longest.
    """
    keys = dict.fromkeys(key for row in rows for key in row)
    batch = {}
    for key in keys:
        tensors = [row[key] for row in rows if key in row]
        fill = pad_id if key == "input_ids" else 0
        joined = torch.cat(_even(tensors, fill, left=key in TOKEN_KEYS))
        joined = joined.to(dtype if joined.is_floating_point() else joined.dtype)
        if device.type == "cuda":
            # From other memory, a copy would wait for everything the device has yet to do.
            joined = joined.pin_memory()
        batch[key] = joined.to(device, non_blocking=True)
    return batch


def audio_shape(row: dict[str, Tensor]) -> Hashable:
    """Shapes of everything that is not a token: equal for items whose audio needs no padding."""
    return tuple(sorted((k, tuple(v.shape)) for k, v in row.items() if k not in TOKEN_KEYS))


def _even(tensors: Sequence[Tensor], fill: int, *, left: bool) -> list[Tensor]:
    longest = [max(sizes) for sizes in zip(*(t.shape[1:] for t in tensors), strict=True)]
    evened = []
    for tensor in tensors:
        padding: list[int] = []  # last axis first, as torch wants it
        for want, have in zip(reversed(longest), reversed(tensor.shape[1:]), strict=True):
            padding += [want - have, 0] if left else [0, want - have]
        evened.append(
            torch.nn.functional.pad(tensor, padding, value=fill) if any(padding) else tensor
        )
    return evened
