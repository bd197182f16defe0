"""What a pruning method is given, and what it must give back.

Methods are pure functions of one row's tensors; where the tensors come from, and what becomes of
the answer in a padded batch, is the engine's part.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

# What a method may ask for in `needs`; everything else of `Seen` it always gets.
HIDDEN, NORMED, KEYS, VALUES, QUERIES = "hidden", "normed", "keys", "values", "queries"
ROTARY = "rotary"
# How many tokens a ratio keeps: as the method was published, or the same for every method.
COUNTS = ("floor", "match")
# What eviction may drop: audio tokens, or text too.
SCOPES = ("audio", "all")


@dataclass(frozen=True)
class Seen:
    """One row without its padding, as the network has it when audio is pruned.

    Prefill pruning at layer K sees the input of layer K and the attention of layer K - 1; eviction
    sees one layer's attention. Fields that the method did not ask for in `needs` are None.

    Parameters
    ----------
    tokens : int
        Of the row: text and audio.
    seed : int
        Derived from (pruning seed, item): the same in every batch.
    device : torch.device
        Where the answer is expected; a result on the CPU is moved.
    hidden : Tensor, optional
        (tokens, size): input of layer K. A network with several streams has them side by side.
    normed : Tensor, optional
        (tokens, size): the same after the language model's last norm (of its first stream).
    keys, values : Tensor, optional
        (key heads, tokens, head size); keys after rotation.
    queries : Tensor, optional
        (heads, window, head size): the last `window` queries of the row after rotation, fewer if
        the row is shorter; all of them where the method's window is 0. Query heads of one key head
        stand together: key head = head // (heads // key heads).
    rotary : pair of Tensor, optional
        Cosines and sines (tokens, turned) by which the row's queries and keys were turned.
    scaling : float
        Factor of query times key.
    reach : int, optional
        A query sees this many tokens back, itself included; None for all.
    """

    tokens: int
    seed: int = 0
    device: torch.device | str = "cpu"
    hidden: Tensor | None = None
    normed: Tensor | None = None
    keys: Tensor | None = None
    values: Tensor | None = None
    queries: Tensor | None = None
    rotary: tuple[Tensor, Tensor] | None = None
    scaling: float = 1.0
    reach: int | None = None

    def attention(self) -> Tensor:
        """Causal attention weights (heads, window, tokens) of `queries`, float32.

        Costs window x tokens for each head; meant for windows, not for whole prompts.
        """
        assert self.queries is not None  # noqa: S101 - the method asked for both
        assert self.keys is not None  # noqa: S101
        heads, window, size = self.queries.shape
        groups = heads // len(self.keys)
        queries = self.queries.float().reshape(len(self.keys), groups * window, size)
        logits = (queries @ self.keys.float().transpose(1, 2)) * self.scaling
        logits = logits.reshape(heads, window, self.tokens)
        places = torch.arange(self.tokens, device=logits.device)
        asking = places[-window:, None]
        hidden = places > asking
        if self.reach is not None:
            hidden = hidden | (places <= asking - self.reach)
        return logits.masked_fill(hidden, -torch.inf).softmax(-1)


class Method(Protocol):
    """Chooses the audio tokens that stay in the prefill from layer K on.

    `needs` names fields of `Seen`. `window` is the number of last queries wanted (0: all; read only
    with QUERIES in `needs`). Layers K of which it can work: `first_layer <= K`, and
    `K <= last_layer` where that is not None.
    """

    needs: frozenset[str]
    window: int
    first_layer: int
    last_layer: int | None

    def count(self, tokens: int, ratio: float, rule: str) -> int:
        """How many of `tokens` audio tokens stay at `ratio` dropped, 0 < ratio < 1.

        `rule` is one of COUNTS. Known without tensors; 1 to `tokens` (a legacy switch may allow 0).
        """

    def select(self, seen: Seen, audio: Tensor, keep: int) -> Tensor:
        """Sorted indices (keep,) into `audio`, of those that stay.

        Parameters
        ----------
        audio : Tensor
            (n,) sorted columns of the audio tokens in `seen`, on its device; several clips stand
            in one list, text may stand between them.
        keep : int
            What `count` gave; `keep < n`.
        """


class Merging(Method, Protocol):
    """A method whose kept tokens get new values; at K = 0."""

    def replace(self, seen: Seen, audio: Tensor, keep: int) -> tuple[Tensor, Tensor]:
        """What `select` gives, and the values (keep, size) that stand there instead of `hidden`."""


class Scorer(Protocol):
    """Scores keys and values after the prefill of a layer; the lowest are evicted.

    `needs` may name KEYS, VALUES, QUERIES and ROTARY; `window` as for `Method`.
    """

    needs: frozenset[str]
    window: int

    def score(self, seen: Seen) -> Tensor:
        """(key heads, tokens), finite or +inf; float32; equal scores: the later token goes."""


def matched(tokens: int, ratio: float) -> int:
    """Tokens kept under the rule that is the same for every method: max(1, int(n (1 - ratio)))."""
    return max(1, kept_floor(tokens, ratio))


def kept_floor(tokens: int, ratio: float) -> int:
    """int(tokens (1 - ratio)), unharmed by binary fractions: 10 tokens at 0.9 keep 1, not 0."""
    return min(tokens, int(tokens * (1 - ratio) + 1e-9))


def evicted(tokens: int, ratio: float) -> int:
    """Tokens of `tokens` that eviction drops: all but what `matched` keeps."""
    return tokens - matched(tokens, ratio) if tokens else 0
