"""DART: keep the audio tokens that duplicate a few pivots least.

Wen et al. 2025, "Stop Looking for Important Tokens in Multimodal Language Models: Duplication
Matters More" (arXiv:2502.11494). The paper scores each token by its similarity to the pivots; the
authors' code gives each pivot a quota, one pivot after another, and lets text tokens be pivots.
This is that code's algorithm.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import normalize

from lalm_bench.errors import ConfigError
from lalm_bench.pruning.contracts import KEYS, NORMED, Seen, kept_floor, matched
from lalm_bench.pruning.methods.choosing import Choosing
from lalm_bench.pruning.methods.ranking import lowest
from lalm_bench.pruning.methods.settings import demand_whole

ORDERS = ("rank", "set")


@dataclass(frozen=True)
class Dart(Choosing):
    """Pivots by the L1 norm of their keys; each adds the tokens least like it (cosine).

    Keys are those of layer K - 1, all heads side by side; likeness is that of its outputs after the
    language model's last norm. With a quota of t = floor((keep - audio pivots) / pivots) tokens a
    pivot, what is left of `keep` goes to the tokens whose greatest similarity to any pivot is
    lowest; under the rule `floor` nothing is left.

    Parameters
    ----------
    audio_pivots : int
        Always kept.
    text_pivots : int
        From the text after the last audio token. Where it is shorter, its strongest token stands in
        for the missing ones, or the strongest audio pivot where there is none at all.
    pivot_order : str
        rank: audio pivots, then text pivots, by falling norm. set: the order in which CPython walks
        the set of their columns, as published; waits for the device once a row.
    """

    audio_pivots: int = 4
    text_pivots: int = 4
    pivot_order: str = ORDERS[0]
    needs: ClassVar[frozenset[str]] = frozenset({KEYS, NORMED})
    first_layer: ClassVar[int] = 1

    def __post_init__(self) -> None:
        demand_whole("audio_pivots", self.audio_pivots, 1)
        demand_whole("text_pivots", self.text_pivots, 0)
        if self.pivot_order not in ORDERS:
            raise ConfigError(
                f"pruning.method.pivot_order={self.pivot_order!r} must be {' or '.join(ORDERS)}"
            )

    def count(self, tokens: int, ratio: float, rule: str) -> int:
        """As published 4 + 8 * floor(tokens (1 - ratio) / 8), with 4 + 4 pivots."""
        if rule == "match":
            return matched(tokens, ratio)
        pivots = self.audio_pivots + self.text_pivots
        quota = kept_floor(tokens, ratio) // pivots
        # The published code fails where this is more than there are.
        return min(tokens, self.audio_pivots + pivots * quota)

    def select(self, seen: Seen, audio: Tensor, keep: int) -> Tensor:
        """Audio pivots, then each pivot's quota, then the rest of `keep`."""
        assert seen.keys is not None  # noqa: S101 - asked for in `needs`
        assert seen.normed is not None  # noqa: S101
        norms = seen.keys.float().abs().sum((0, 2))
        strongest = lowest(-norms[audio], min(self.audio_pivots, keep))
        pivots = self._pivots(norms, audio, audio[strongest])
        vectors = normalize(seen.normed[torch.cat([pivots, audio])].float(), dim=-1)
        similarity = vectors[: len(pivots)] @ vectors[len(pivots) :].T
        quota = (keep - len(strongest)) // (self.audio_pivots + self.text_pivots)
        chosen = [strongest]
        taken = torch.zeros_like(audio, dtype=torch.bool).index_fill(0, strongest, True)
        for row in similarity.unbind() if quota else ():
            chosen.append(lowest(row.masked_fill(taken, torch.inf), quota))
            taken = taken.index_fill(0, chosen[-1], True)
        left = keep - sum(map(len, chosen))
        if left:
            duplication = similarity.amax(0).masked_fill(taken, torch.inf)
            chosen.append(lowest(duplication, left))
        return torch.cat(chosen).sort().values

    def _pivots(self, norms: Tensor, audio: Tensor, strongest: Tensor) -> Tensor:
        """Columns of all pivots in the order of their turns."""
        columns = torch.arange(len(norms), device=norms.device)
        after = columns > audio[-1]
        text = lowest(-norms.masked_fill(~after, -torch.inf), self.text_pivots)
        # How much text follows is known on the device only; shapes must not depend on it.
        there = after[text]
        best = torch.where(there[:1], text[:1], strongest[:1])
        pivots = torch.cat([strongest, torch.where(there, text, best)])
        if self.pivot_order == "set":
            walked = list(set(pivots.tolist()))
            return torch.tensor(walked, dtype=pivots.dtype, device=pivots.device)
        return pivots
