"""The next token: distributions against a computation by hand, draws that know no neighbours."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch

from lalm_bench.engine.choose import Greedy, chooser
from lalm_bench.errors import ConfigError
from lalm_bench.types import Generation

LOGITS = np.array([0.3, 2.1, -1.0, 1.7, 0.9, -3.0, 1.2, -np.inf])


def by_hand(temperature, top_p):
    """Probabilities of LOGITS: scaled, then the smallest set of likely tokens that holds top_p."""
    p = np.exp((LOGITS - LOGITS.max()) / temperature)
    p /= p.sum()
    kept, mass = [], 0.0
    for token in np.argsort(-p):
        kept.append(token)
        mass += p[token]
        if mass >= top_p:
            break
    cut = np.zeros_like(p)
    cut[kept] = p[kept]
    return cut / cut.sum()


def seeded(seeds, temperature=1.0, top_p=1.0):
    return chooser([Generation(temperature=temperature, top_p=top_p, seed=s) for s in seeds])


def test_the_most_likely_token_wins_and_the_first_of_equals():
    choose = chooser([Generation(), Generation()])
    assert isinstance(choose, Greedy)
    logits = torch.tensor([[0.0, 2.0, 2.0], [1.0, -1.0, 0.5]])
    assert choose(logits).tolist() == [1, 0]
    assert choose.rows(torch.tensor([1]))(logits[1:]).tolist() == [0]
    assert choose.replayable


@pytest.mark.parametrize(
    ("temperature", "top_p"),
    [(1.0, 1.0), (0.7, 1.0), (2.5, 1.0), (1.0, 0.8), (0.7, 0.9), (1.5, 0.55), (1.0, 0.05)],
)
def test_draws_follow_temperature_and_top_p(temperature, top_p):
    rows = 6000
    choose = seeded(range(rows), temperature, top_p)
    logits = torch.tensor(LOGITS, dtype=torch.float32).expand(rows, -1)
    counts = np.bincount(choose(logits).numpy(), minlength=len(LOGITS))
    expected = by_hand(temperature, top_p)
    assert not counts[expected == 0].any()
    seen = expected > 0
    if seen.sum() > 1:
        assert scipy.stats.chisquare(counts[seen], rows * expected[seen]).pvalue > 1e-3
    assert not choose.replayable


def test_the_token_that_crosses_top_p_stays_in():
    logits = torch.tensor([[0.5, 0.3, 0.2]]).log()
    for top_p, possible in ((0.45, {0}), (0.55, {0, 1}), (0.75, {0, 1}), (0.85, {0, 1, 2})):
        assert {int(seeded([s], 1.0, top_p)(logits)) for s in range(60)} == possible


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 1, 0, 2], [2], [1, 3]])
def test_a_draw_knows_neither_neighbours_nor_order(order):
    tables = torch.randn(5, 4, 40, generator=torch.Generator().manual_seed(1))
    alone = []
    for row in range(4):
        choose = seeded([100 + row], 1.3, 0.95)
        alone.append([int(choose(logits[row : row + 1])) for logits in tables])
    together = seeded([100 + row for row in order], 1.3, 0.95)
    drawn = torch.stack([together(logits[order]) for logits in tables], dim=1)
    assert drawn.tolist() == [alone[row] for row in order]
    assert len({tuple(tokens) for tokens in alone}) == 4


def test_rows_that_stay_go_on_where_they_were():
    tables = torch.randn(6, 4, 40, generator=torch.Generator().manual_seed(2))
    whole = seeded(range(4))
    expected = torch.stack([whole(logits) for logits in tables])
    choose, kept = seeded(range(4)), torch.tensor([3, 1])
    for logits in tables[:3]:
        choose(logits)
    choose = choose.rows(kept)
    rest = torch.stack([choose(logits[kept]) for logits in tables[3:]])
    assert torch.equal(rest, expected[3:, kept])


def test_drawing_leaves_the_process_alone():
    state = torch.random.get_rng_state()
    seeded([1, 2])(torch.zeros(2, 9))
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("seed", [0, 2**31, 2**63 - 1, 2**63 + 1, 2**64 + 5, 2**128, -3])
def test_seeds_of_any_size_are_taken(seed):
    logits = torch.zeros(1, 10_000)
    assert seeded([seed])(logits).equal(seeded([seed])(logits))
    assert int(seeded([seed])(logits)) != int(seeded([seed + 1])(logits))


def test_sampling_needs_a_seed_for_every_request():
    with pytest.raises(ConfigError, match="needs a seed for every request"):
        seeded([1, None])
    assert isinstance(chooser([Generation(seed=None)]), Greedy)
