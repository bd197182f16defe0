"""ExpectedAttention: keep what coming queries will attend to, weighted by the size of its value.

Devoto, Jeblick and Jégou 2025, "Expected Attention: KV Cache Compression by Estimating Attention
from Future Queries Distribution" (arXiv:2510.00636). Queries of a head before rotary embedding are
taken to be normal, N(m, C). With R the mean rotation of the next positions, the exponential of a
coming query's scaled product with key k is log-normal, and its mean is

    z = exp(s k'Rm + s^2 k'RCR'k / 2)                            (s: scaling of the products)

which is normalised over keys and multiplied by the norm of the value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from lalm_bench.errors import ConfigError
from lalm_bench.pruning.contracts import KEYS, QUERIES, ROTARY, VALUES, Seen
from lalm_bench.pruning.methods.settings import demand_whole


@dataclass(frozen=True)
class ExpectedAttention:
    """Score: (mean over the query heads of a group of z normalised over keys, + epsilon) * |v|.

    Parameters
    ----------
    positions : int
        Next positions over which rotations are averaged, cut to the length of the row.
    sinks : int
        First tokens of the row: never evicted before others, and outliers, so that neither their
        queries nor their keys count.
    covariance : bool
        False leaves out the term with C.
    value_norm : bool
        False leaves out |v|.
    epsilon : float
        Raises the weight of values beside that of attention.
    """

    positions: int = 512
    sinks: int = 4
    covariance: bool = True
    value_norm: bool = True
    epsilon: float = 0.0
    needs: ClassVar[frozenset[str]] = frozenset({KEYS, VALUES, QUERIES, ROTARY})
    window: ClassVar[int] = 0

    def __post_init__(self) -> None:
        demand_whole("positions", self.positions, 1)
        demand_whole("sinks", self.sinks, 0)
        if isinstance(self.epsilon, bool) or not isinstance(self.epsilon, int | float):
            raise ConfigError(f"pruning.method.epsilon={self.epsilon!r} must be a number")
        if not 0 <= self.epsilon < torch.inf:
            raise ConfigError(f"pruning.method.epsilon={self.epsilon!r} must be 0 or more")

    def score(self, seen: Seen) -> Tensor:
        """(key heads, tokens), +inf for sinks."""
        assert seen.keys is not None  # noqa: S101 - asked for in `needs`
        assert seen.values is not None  # noqa: S101
        assert seen.queries is not None  # noqa: S101
        assert seen.rotary is not None  # noqa: S101
        groups, sinks = len(seen.keys), min(self.sinks, seen.tokens)
        never = torch.full((groups, sinks), torch.inf, device=seen.keys.device)
        if sinks == seen.tokens:
            return never
        queries = coming(seen.queries, *seen.rotary, self.positions)[:, sinks:]
        queries = queries.reshape(groups, -1, *queries.shape[1:])
        keys = seen.keys[:, None, sinks:].float() * seen.scaling
        mean = queries.mean(2, keepdim=True)
        logits = (keys @ mean.transpose(2, 3)).squeeze(-1)
        if self.covariance:
            spread = queries - mean
            covariance = spread.transpose(2, 3) @ spread / queries.shape[2]
            logits = logits + ((keys @ covariance) * keys).sum(-1) / 2
        scores = logits.softmax(-1).mean(1)
        if self.value_norm:
            scores = (scores + self.epsilon) * seen.values[:, sinks:].float().norm(dim=-1)
        return torch.cat([never, scores], dim=1)


def coming(queries: Tensor, cosines: Tensor, sines: Tensor, positions: int) -> Tensor:
    """Queries of a row as if each came next: turned back, then by the next ones' mean rotation.

    Position n + j is turned by as much as n - 1, then 1, then j, so that the rotations of the row
    say all that is needed, whatever their frequencies are.

    Parameters
    ----------
    queries : Tensor
        (heads, n, size), after rotation.
    cosines, sines : Tensor
        (n, turned), of positions 0 to n - 1. Dimension i turns with dimension i + turned / 2; those
        from `turned` on do not turn. Some models scale both, and their scores with it: the scale
        stays in the queries.
    """
    pairs = cosines.shape[-1] // 2
    turns = torch.complex(cosines[:, :pairs].float(), sines[:, :pairs].float())
    turns = turns / turns.abs()
    one = turns[min(1, len(turns) - 1)]
    to_next = turns[-1] * one * turns[:positions].mean(0)
    given = queries.float()
    turned = torch.complex(given[..., :pairs], given[..., pairs : 2 * pairs])
    turned = turned * (turns.conj() * to_next)
    return torch.cat([turned.real, turned.imag, given[..., 2 * pairs :]], dim=-1)
