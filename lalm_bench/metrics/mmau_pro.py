"""MMAU-Pro's numbers: closed accuracy, instructions followed, judged open answers, and all three.

`overall` is the published mean of the three, weighted by their items, with open scores divided by
five (so that they begin at 0.2). It is known only where all kinds that were asked have a number.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from lalm_bench.metrics.closed_match import STAGES
from lalm_bench.metrics.multiple_choice import summarise as summarise_closed
from lalm_bench.parsing.open_verdict import CRITERIA
from lalm_bench.stats import wilson
from lalm_bench.types import Json, Metrics

if TYPE_CHECKING:
    import pandas as pd

CLOSED, OPEN, INSTRUCTION = KINDS = ("closed", "open", "instruction_following")
HEADLINE = ("accuracy", "if_success_rate", "open_mean", "overall")


def summarise(decisions: pd.DataFrame, groups: Sequence[str], encoder: str | None) -> Metrics:
    """Numbers of each kind and over all.

    Parameters
    ----------
    decisions : DataFrame
        Columns of `metrics.multiple_choice.summarise` and `id`, `kind`; for closed items
        `correct[exact_or_string]`, `closed_stage` (index into `closed_match.STAGES`, NaN when
        open) and maybe `correct[closed_match:<encoder>]`; for instructions `followed` and `rule`;
        for open items the five criteria and `open_published`, NaN when unjudged.
    groups : sequence of str
        Columns to break the closed accuracy down by.
    encoder : str, optional
        Name of the encoder; None: the closed match has no number, and the analysis says why.
    """
    if not len(decisions):
        return Metrics({"n": 0, **dict.fromkeys(HEADLINE)}, {}, HEADLINE)
    parts = {kind: decisions[decisions["kind"] == kind] for kind in KINDS}
    counts = {kind: part["id"].nunique() for kind, part in parts.items()}
    metrics = summarise_closed(parts[CLOSED], groups)
    values = metrics.values
    values |= {
        "n": sum(counts.values()),
        "n_clusters": int(decisions["cluster"].nunique()),
        **{f"n_{kind}": n for kind, n in counts.items()},
    }
    reasons: dict[str, Json] = {}
    _closed(metrics, reasons, parts[CLOSED], encoder)
    _instructions(metrics, parts[INSTRUCTION])
    _open(metrics, reasons, parts[OPEN])
    open_mean = values["open_mean"] if values["open_judged_rate"] == 1 else None
    shares = {
        CLOSED: values["accuracy"],
        INSTRUCTION: values["if_success_rate"],
        OPEN: None if open_mean is None else open_mean / 5,
    }
    asked = [kind for kind in KINDS if counts[kind]]
    known = [(counts[kind], share) for kind in asked if (share := shares[kind]) is not None]
    total = sum(n for n, _ in known)
    complete = bool(asked) and len(known) == len(asked)
    values["overall"] = sum(n * share for n, share in known) / total if complete else None
    if reasons:
        metrics.analysis["not_computed"] = reasons
    return Metrics(values, metrics.analysis, HEADLINE)


def _closed(
    metrics: Metrics, reasons: dict[str, Json], part: pd.DataFrame, encoder: str | None
) -> None:
    if not len(part):
        return
    stage = part["closed_stage"].to_numpy(dtype=float)
    settled = {name: int((stage == i).sum()) for i, name in enumerate(STAGES)}
    matched: dict[str, Json] = {"stages": {**settled, "open": int(np.isnan(stage).sum())}}
    if encoder is None:
        metrics.values["accuracy[closed_match]"] = None
        reasons["accuracy[closed_match]"] = (
            "needs a sentence encoder in task.encoder; accuracy[exact_or_string] counts what is "
            "settled without one"
        )
    else:
        matched["encoder"] = encoder
    metrics.analysis["closed_match"] = matched


def _instructions(metrics: Metrics, part: pd.DataFrame) -> None:
    values, n = metrics.values, len(part)
    values["if_success_rate"] = float(part["followed"].mean()) if n else None
    if not n:
        return
    kept = float(part["followed"].sum())
    values["if_success_rate_low"], values["if_success_rate_high"] = wilson(kept, n)
    metrics.analysis["instructions_by_rule"] = [
        {"value": rule, "n": len(rows), "success_rate": float(rows["followed"].mean())}
        for rule, rows in part.groupby("rule", sort=True)
    ]


def _open(metrics: Metrics, reasons: dict[str, Json], part: pd.DataFrame) -> None:
    values = metrics.values
    judged = part[part["open_published"].notna()]
    overall = judged["overall"].dropna()
    values |= {
        "open_mean": float(overall.mean()) if len(overall) else None,
        "open_mean[published]": float(judged["open_published"].mean()) if len(judged) else None,
        "open_share_4_or_more": float((overall >= 4).mean()) if len(overall) else None,
        "open_share_2_or_less": float((overall <= 2).mean()) if len(overall) else None,
        "open_malformed_rate": float(judged["overall"].isna().mean()) if len(judged) else None,
        "open_judged_rate": len(judged) / len(part) if len(part) else None,
    }
    if len(judged):
        metrics.analysis["open_by_criterion"] = [
            {
                "value": name,
                "n": int(judged[name].notna().sum()),
                "mean": _finite(judged[name].mean()),
                "std": _finite(judged[name].std(ddof=0)),
            }
            for name in CRITERIA
        ]
    elif len(part):
        reasons["open_mean"] = reasons["overall"] = "needs a judge's verdicts in task.verdicts"


def _finite(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
