"""What changing the order of options shows: answers that follow the place instead of the text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lalm_bench.stats import wilson
from lalm_bench.types import Json, Metrics

if TYPE_CHECKING:
    import pandas as pd


def add(metrics: Metrics, decisions: pd.DataFrame) -> tuple[str, ...]:
    """Add robustness to the order of options.

    Parameters
    ----------
    metrics : Metrics
        Its `values` get `letter_bias` and, where items were asked in several orders,
        `accuracy_mean` (mean over items of the share of orders answered right, the headline
        accuracy), `accuracy_strict` (right in every order) with its Wilson interval,
        `chance_strict`, and `flip_rate` (share of items whose answer is not the same option in all
        orders; an invalid answer differs from every option). `n_order_kept` counts items that were
        asked in one order only, because an option speaks of others by place. `analysis` gets
        `by_position`.
    decisions : DataFrame
        One row an answer: `id`, `label`, `correct`, `n_options`, `position` (NaN when invalid) and
        `target_position`, places counted from 0.

    Returns
    -------
    tuple of str
        Names of the values that tell most.

    Notes
    -----
    `letter_bias` is the total variation distance between the places that valid answers named and
    equal shares of an item's places, 0 to 1 - 1/options. It takes for granted that right answers
    stand at each place equally often, which circular order makes sure and shuffling approaches.
    """
    values = metrics.values
    values["letter_bias"], metrics.analysis["by_position"] = _places(decisions)
    if decisions["id"].is_unique:
        return ("letter_bias",)
    answers = decisions.assign(
        answer=decisions["label"].astype(object).where(decisions["label"].notna(), ""),
        guess=1 / decisions["n_options"].astype(float),
    )
    items = answers.groupby("id", sort=False)
    asked = items.size().to_numpy()
    right = items["correct"].min().to_numpy()
    low, high = wilson(float(right.sum()), len(right))
    values |= {
        "accuracy_mean": values["accuracy"],
        "accuracy_strict": float(right.mean()),
        "accuracy_strict_low": low,
        "accuracy_strict_high": high,
        "chance_strict": float((items["guess"].first().to_numpy() ** asked).mean()),
        "flip_rate": float((items["answer"].nunique() > 1).mean()),
        "n_order_kept": int((asked == 1).sum()),
    }
    return ("accuracy_strict", "flip_rate", "letter_bias")


def _places(decisions: pd.DataFrame) -> tuple[float | None, list[Json]]:
    named = decisions["position"].to_numpy(dtype=float)
    target = decisions["target_position"].to_numpy(dtype=float)
    correct = decisions["correct"].to_numpy(dtype=float)
    options = decisions["n_options"].to_numpy(dtype=float)
    valid = ~np.isnan(named)
    total = int(valid.sum())
    rows: list[Json] = []
    distance = 0.0
    for place in range(int(options.max())):
        here = target == place
        chosen = float((named[valid] == place).sum())
        expected = float((1 / options[valid & (options > place)]).sum())
        distance += abs(chosen - expected) / 2
        rows.append(
            {
                "value": place + 1,
                "n": int(here.sum()),
                "accuracy": float(correct[here].mean()) if here.any() else None,
                "chosen": chosen / total if total else None,
                "expected": expected / total if total else None,
            }
        )
    return (distance / total if total else None), rows
