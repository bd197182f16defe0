"""Metrics of a captioning run, from the table of its decisions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from lalm_bench.metrics.captions.cider import CiderD
from lalm_bench.metrics.captions.overlap import bleu
from lalm_bench.metrics.captions.tokens import TOKENISER, tokenise
from lalm_bench.randomness import derive
from lalm_bench.stats import cluster_mean
from lalm_bench.types import Json, Metrics

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

#: (captions, references of each) -> one score a caption
Scorer = Callable[[Sequence[str], Sequence[Sequence[str]]], "np.ndarray"]
_BARS = 25

# Each caption is met three times: in the statistics, by its score, by the summary.
words = lru_cache(maxsize=1 << 20)(tokenise)


def summarise(
    decisions: pd.DataFrame,
    cider: CiderD,
    scorers: Mapping[str, Scorer | str],
    groups: Sequence[str] = (),
) -> Metrics:
    """Corpus values, and what they would be for a person and for another clip's caption.

    Parameters
    ----------
    decisions : DataFrame
        Columns `id`, `label` (the caption; None when empty), `target` (the references),
        `cluster`, `cider_d`, `rouge_l`, `words`, and the groups.
    cider : CiderD
        With the n-gram statistics of the whole split.
    scorers : mapping
        Name of a further metric -> what computes it, or the reason why it is not computed.
    groups : sequence of str
        Columns to break CIDEr-D and ROUGE-L down by.
    """
    table = decisions
    headline = ("cider_d", "cider_d_human", "cider_d_other_clip", "rouge_l", "bleu_4", *scorers)
    if not len(table):
        return Metrics({"n": 0, **dict.fromkeys(headline)}, {}, headline)
    captions = [c if isinstance(c, str) else "" for c in table["label"]]
    references = [list(r) for r in table["target"]]
    tokens = [words(c) for c in captions]
    theirs = [[words(r) for r in captions] for captions in references]
    n = len(table)
    values: dict[str, float | int | None] = {
        "n": n,
        "n_clusters": int(table["cluster"].nunique()),
        **dict.fromkeys(headline),
    }
    # Under one item's statistics every n-gram weighs nothing.
    defined = cider.items > 1
    if defined:
        values |= _estimate("cider_d", table["cider_d"].to_numpy(), table["cluster"])
        values |= _yardsticks(table["id"].tolist(), theirs, cider)
    values |= _estimate("rouge_l", table["rouge_l"].to_numpy(), table["cluster"])
    values |= {f"bleu_{i}": v for i, v in enumerate(bleu(zip(tokens, theirs, strict=True)), 1)}
    if n < cider.items:
        own = CiderD(theirs)
        alone = own.scores([*zip(tokens, theirs, strict=True)])
        values["cider_d_own_idf"] = float(alone.mean()) if n > 1 else None
    analysis: dict[str, Json] = {
        "tokeniser": TOKENISER,
        "cider_d": {"document_frequency_items": cider.items, "evaluated_items": n},
        "not_computed": {k: v for k, v in scorers.items() if isinstance(v, str)},
    }
    items: dict[str, Json] = {}
    for name, scorer in scorers.items():
        if isinstance(scorer, str):
            values[name] = None
            continue
        scores = scorer(captions, references)
        # Nothing was said, so nothing agrees; networks have an opinion even on an empty text.
        scores[[not caption for caption in captions]] = 0.0
        values |= _estimate(name, scores, table["cluster"])
        items[name] = dict(zip(table["id"].tolist(), scores.tolist(), strict=True))
    values |= {
        "words_mean": float(table["words"].mean()),
        "reference_words_mean": sum(len(t) for r in theirs for t in r) / sum(map(len, theirs)),
        "vocabulary": len({w for caption in tokens for w in caption}),
        "distinct_captions": len(set(captions)) / n,
        "invalid_rate": sum(not c for c in captions) / n,
    }
    if items:
        analysis["items"] = items
    analysis["histograms"] = {
        name: _histogram(table[name].to_numpy()) for name in ("cider_d", "rouge_l", "words")
    }
    for group in groups:
        if group in table.columns:
            analysis[f"by_{group}"] = _breakdown(table, group)
    return Metrics(values, analysis, headline)


def _estimate(name: str, scores: Any, clusters: Any) -> dict[str, float | int | None]:
    found = cluster_mean(scores, list(clusters))
    return {
        name: found.value,
        f"{name}_cluster_low": found.low,
        f"{name}_cluster_high": found.high,
        f"{name}_cluster_stderr": found.stderr,
    }


def _yardsticks(
    ids: Sequence[str], references: Sequence[Sequence[Sequence[str]]], cider: CiderD
) -> dict[str, float | int | None]:
    """CIDEr-D of a person (one reference against the others) and of another clip's caption."""
    import numpy as np

    drawn = [
        derive(0, name, "reference") % len(own) for name, own in zip(ids, references, strict=True)
    ]
    # Neighbours in the order of these draws have nothing in common but the draw.
    order = sorted(range(len(ids)), key=lambda i: derive(0, ids[i], "other clip"))
    pairs: list[tuple[Sequence[str], Sequence[Sequence[str]]]] = []
    human: list[bool] = []
    for place, i in enumerate(order):
        own, pick = references[i], drawn[i]
        if len(own) > 1:
            pairs.append((own[pick], [r for k, r in enumerate(own) if k != pick]))
            human.append(True)
        j = order[place - 1]
        if j != i:
            pairs.append((references[j][drawn[j]], own))
            human.append(False)
    # One clip's pairs stand together, so that its captions are counted once.
    scores, of_human = cider.scores(pairs), np.array(human, dtype=bool)
    return {
        "cider_d_human": float(scores[of_human].mean()) if of_human.any() else None,
        "cider_d_other_clip": None if of_human.all() else float(scores[~of_human].mean()),
    }


def _histogram(scores: Any) -> Json:
    import numpy as np

    counts, edges = np.histogram(scores, bins=_BARS)
    return {"counts": counts.tolist(), "edges": edges.tolist()}


def _breakdown(table: pd.DataFrame, group: str) -> list[Json]:
    rows: list[Json] = []
    for value, part in table.groupby(group, observed=True, sort=True):
        row: dict[str, Any] = {"value": value, "n": len(part)}
        for name in ("cider_d", "rouge_l"):
            found = cluster_mean(part[name].to_numpy(), list(part["cluster"]))
            row |= {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
        row["invalid_rate"] = float(part["label"].isna().mean())
        rows.append(row)
    return rows
