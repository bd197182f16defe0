"""Log-probabilities of given continuations under a causal language model, batched."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch

from lalm_bench.engine.collate import collate

Tokens = tuple[int, ...]


def continuation_logprobs(
    network: Any, pairs: Sequence[tuple[Tokens, Tokens]], pad_id: int, batch_size: int
) -> list[float]:
    """Log p(continuation | prompt), nats, of every pair.

    Continuations of one token after the same prompt share one row of the network, so that the
    labels of an item cost one forward pass.

    Parameters
    ----------
    network : torch.nn.Module
        A causal language model.
    pairs : sequence of (prompt, continuation)
        Token ids, neither of them empty.
    pad_id : int
        Fills the left of shorter rows; masked.
    batch_size : int
        Most rows in one forward pass.
    """
    # The last token of a continuation is only predicted, never read.
    rows = sorted({prompt + answer[:-1] for prompt, answer in pairs}, key=lambda r: (-len(r), r))
    wanted: dict[Tokens, list[int]] = {row: [] for row in rows}
    for i, (prompt, answer) in enumerate(pairs):
        wanted[prompt + answer[:-1]].append(i)
    scores = [0.0] * len(pairs)
    for first in range(0, len(rows), batch_size):
        batch = rows[first : first + batch_size]
        longest = max(len(pairs[i][1]) for row in batch for i in wanted[row])
        logprobs = _last_logprobs(network, batch, pad_id, longest)
        for row, table in zip(batch, logprobs, strict=True):
            for i in wanted[row]:
                target = torch.tensor(pairs[i][1], device=table.device)
                picked = table[-len(target) :].gather(1, target[:, None])
                scores[i] = float(picked.sum())
    return scores


@torch.inference_mode()
def _last_logprobs(network: Any, rows: Sequence[Tokens], pad_id: int, last: int) -> torch.Tensor:
    """float32 log-probabilities after each of the `last` last tokens: (rows, last, vocabulary)."""
    ids = [torch.tensor([row]) for row in rows]
    items = [{"input_ids": i, "attention_mask": torch.ones_like(i)} for i in ids]
    batch = collate(items, pad_id, network.device, network.dtype)
    accepted = inspect.signature(network.forward).parameters
    if "position_ids" in accepted:
        # Outside `generate` nobody derives positions from the mask.
        batch["position_ids"] = (batch["attention_mask"].cumsum(-1) - 1).clamp(min=0)
    if "logits_to_keep" in accepted:
        batch["logits_to_keep"] = last  # type: ignore[assignment]
    logits = network(**batch, use_cache=False).logits
    return torch.log_softmax(logits[:, -last:].float(), dim=-1)
