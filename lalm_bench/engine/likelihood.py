"""Log-probabilities of given continuations of prompts that were read once."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from lalm_bench.engine.kv import Prefilled
from lalm_bench.engine.prefill import Reader, Row

Tokens = tuple[int, ...]


@torch.inference_mode()
def continuation_logprobs(
    reader: Reader, prompts: Prefilled, pairs: Sequence[tuple[int, Tokens]], at_once: int
) -> list[float]:
    """Log p(continuation | prompt), nats, of every pair.

    Continuations of one token cost nothing beyond the prompt's own prefill; longer ones read their
    tokens behind the prompt's keys and values.

    Parameters
    ----------
    reader : Reader
    prompts : Prefilled
    pairs : sequence of (row of `prompts`, token ids)
        No continuation is empty.
    at_once : int
        Most continuations in one forward pass.
    """
    first = torch.log_softmax(prompts.logits.float(), dim=-1)
    rows = torch.tensor([row for row, _ in pairs], device=first.device)
    heads = torch.tensor([tokens[0] for _, tokens in pairs], device=first.device)
    scores: list[float] = first[rows, heads].tolist()
    longer = sorted(
        (i for i, (_, tokens) in enumerate(pairs) if len(tokens) > 1),
        key=lambda i: -len(pairs[i][1]),
    )
    for start in range(0, len(longer), at_once):
        batch = longer[start : start + at_once]
        # The last token of a continuation is only predicted, never read. Short ones are filled up
        # behind, which no earlier token sees: padding in front would shift sliding windows.
        longest = len(pairs[batch[0]][1]) - 1
        ends = [_row((*pairs[i][1][:-1], *pairs[i][1][:1] * longest)[:longest]) for i in batch]
        which = torch.tensor([pairs[i][0] for i in batch])
        read = reader.extend(prompts, which, ends, keep=longest)
        logits = read.logits if longest > 1 else read.logits[:, None]
        table = torch.log_softmax(logits.float(), dim=-1)
        for i, row in zip(batch, table, strict=True):
            targets = torch.tensor(pairs[i][1][1:], device=row.device)
            scores[i] += float(row[: len(targets)].gather(1, targets[:, None]).sum())
    return scores


def _row(tokens: Tokens) -> Row:
    ids = torch.tensor([tokens])
    return Row({"input_ids": ids, "attention_mask": torch.ones_like(ids)})
