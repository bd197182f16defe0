"""What reasoning and second readings did to a multiple-choice run, as counts of answers.

`n_null` are answers without a label that neither decline (`n_refusal`) nor name a letter that the
item has not (`n_out_of_range`); all three are wrong in every accuracy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lalm_bench.parsing.recovery_rules import OUT_OF_RANGE
from lalm_bench.types import Metrics

if TYPE_CHECKING:
    import pandas as pd

FLAGS = ("recovered", "changed", "lost", "missed_reasoning")
_NO_NULL = {"refusal": "n_refusal", OUT_OF_RANGE: "n_out_of_range"}


def add(metrics: Metrics, decisions: pd.DataFrame) -> tuple[str, ...]:
    """Add the counts to `metrics`; returns the names that belong in the headline.

    Parameters
    ----------
    metrics : Metrics
    decisions : DataFrame
        Columns `label` (None when there is none), `stage`, and of `FLAGS` (0/1, NaN where a flag
        says nothing) those that the run knows.
    """
    without = decisions[decisions["label"].isna()]
    stages = without["stage"]
    for stage, name in _NO_NULL.items():
        metrics.values[name] = int((stages == stage).sum())
    metrics.values["n_null"] = int((~stages.isin(list(_NO_NULL))).sum())
    found = [flag for flag in FLAGS if flag in decisions]
    for flag in found:
        metrics.values[f"n_{flag}"] = int(decisions[flag].sum())
    first = ("accuracy[first pass]",) if "recovered" in found else ()
    return (*first, "n_null", *[f"n_{flag}" for flag in found])
