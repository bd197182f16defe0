"""`stats`: what a data set is made of, before any model hears it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lalm_bench.data.recordings import span
from lalm_bench.stats import entropy_bits
from lalm_bench.types import AudioRef, Json, Sample

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Seconds; the edges of AudioMarathon's own duration analysis.
EDGES = (0, 2, 5, 10, 15, 20, 25, 30, 35, 45, 60, 90, 120, 180, 300, 600, float("inf"))
_PERCENTILES = (25, 75, 90, 95, 99)
_MOST = 20


def describe(samples: Sequence[Sample], groups: Sequence[str] = ()) -> dict[str, Json]:
    """Durations, balance of answers and their places, lengths of texts.

    Parameters
    ----------
    samples : sequence of Sample
    groups : sequence of str
        Keys of `meta` whose values are counted.

    Returns
    -------
    dict
        `durations` (seconds, over distinct clips), `targets`, `positions` (with the p value of a
        chi-square test against equal shares of an item's places), `text`, `groups`.
    """
    clips = list(dict.fromkeys(clip for s in samples for clip in s.audio))
    known = [span(c) if isinstance(c, AudioRef) else c.seconds() for c in clips]
    asked = [s for s in samples if s.choices]
    per_cluster = np.array([*Counter(s.cluster for s in samples).values()], dtype=float)
    return {
        "items": len(samples),
        "clusters": len(per_cluster),
        "items_per_cluster": _spread(per_cluster),
        "durations": _durations(np.array([s for s in known if s is not None], dtype=float)),
        "clips": len(clips),
        "unreadable_clips": sum(s is None for s in known),
        "options": dict(sorted(Counter(str(len(s.choices)) for s in samples).items())),
        "targets": _balance([_right(s) for s in asked]),
        "positions": _positions(asked),
        "text": {
            "question_words": _spread(_words(s.question for s in samples if s.question)),
            "option_words": _spread(_words(c.text for s in asked for c in s.choices)),
            "right_option_words": _spread(_words(_right(s) for s in asked)),
            "right_is_longest": _longest(asked),
        },
        "groups": {name: _balance([str(s.meta.get(name)) for s in samples]) for name in groups},
    }


def _right(sample: Sample) -> str:
    return next((c.text for c in sample.choices if c.label == sample.target), str(sample.target))


def _durations(seconds: np.ndarray) -> dict[str, Json]:
    counts, _ = np.histogram(seconds, np.array(EDGES))
    return {
        **_spread(seconds),
        "total_hours": float(seconds.sum() / 3600),
        "histogram": [
            {"from": low, "to": None if high == float("inf") else high, "count": int(n)}
            for low, high, n in zip(EDGES, EDGES[1:], counts, strict=False)
        ],
    }


def _spread(values: np.ndarray) -> dict[str, Json]:
    if not len(values):
        return {"n": 0}
    percentiles = np.percentile(values, _PERCENTILES)
    return {
        "n": len(values),
        "min": float(values.min()),
        "max": float(values.max()),
        "mean": float(values.mean()),
        "median": float(np.median(values)),
        "std": float(values.std()),
        **{f"p{p}": float(v) for p, v in zip(_PERCENTILES, percentiles, strict=True)},
    }


def _words(texts: Any) -> np.ndarray:
    return np.array([len(text.split()) for text in texts], dtype=float)


def _balance(values: Sequence[str]) -> dict[str, Json]:
    counts = Counter(values)
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return {
        "distinct": len(counts),
        "entropy_bits": entropy_bits(list(counts.values())),
        "largest_share": ordered[0][1] / len(values) if ordered else None,
        "counts": dict(ordered),
    }


def _positions(asked: Sequence[Sample]) -> dict[str, Json]:
    """How often the right option stands at each place, and what equal shares would give."""
    from scipy.stats import chisquare

    size = max((len(s.choices) for s in asked), default=0)
    observed, expected = np.zeros(size), np.zeros(size)
    for s in asked:
        labels = [c.label for c in s.choices]
        if s.target in labels:
            observed[labels.index(s.target)] += 1
            expected[: len(labels)] += 1 / len(labels)
    p = float(chisquare(observed, expected).pvalue) if size > 1 and observed.sum() else None
    return {"observed": observed.tolist(), "expected": expected.tolist(), "chi_square_p": p}


def _longest(asked: Sequence[Sample]) -> dict[str, Json]:
    """Share of items whose right option has most characters, and what chance would give."""
    hits, chance, n = 0.0, 0.0, 0
    for s in asked:
        lengths = [len(c.text) for c in s.choices]
        longest = max(lengths)
        ties = lengths.count(longest)
        hits += (len(_right(s)) == longest) / ties
        chance += 1 / len(lengths)
        n += 1
    return {"share": hits / n, "chance": chance / n} if n else {"share": None, "chance": None}


def draw(facts: dict[str, Any], title: str, stem: Path) -> list[Path]:
    """The four panels as `<stem>.png` and `<stem>.svg`."""
    from lalm_bench.report.figures import BLUE, ORANGE

    figure = _figure()
    axes = figure.subplots(2, 2)
    bins = [b for b in facts["durations"]["histogram"] if b["count"]]
    names = [f"{b['from']}+" if b["to"] is None else f"{b['from']}-{b['to']}" for b in bins]
    _bars(axes[0][0], names, [b["count"] for b in bins], "duration, s (distinct clips)", BLUE)
    counts = list(facts["targets"]["counts"].items())[:_MOST]
    cut = facts["targets"]["distinct"] - len(counts)
    more = f", {cut} more not shown" if cut > 0 else ""
    names = [name if len(name) < 28 else name[:26] + "…" for name, _ in counts]
    _bars(axes[0][1], names, [n for _, n in counts], f"right option{more}", BLUE)
    places = facts["positions"]
    names = [str(i + 1) for i in range(len(places["observed"]))]
    p = places["chi_square_p"]
    label = "place of the right option" + ("" if p is None else f" (chi-square p = {p:.3g})")
    _bars(axes[1][0], names, places["observed"], label, BLUE)
    middle = list(range(len(names)))[::-1]
    axes[1][0].plot(places["expected"], middle, "|", color=ORANGE, ms=14, mew=2.2)
    text = facts["text"]
    kinds = [k for k in ("question_words", "option_words", "right_option_words") if text[k]["n"]]
    means = [text[k]["mean"] for k in kinds]
    _bars(axes[1][1], [k.replace("_", " ") for k in kinds], means, "mean length, words", BLUE)
    figure.suptitle(f"{title}: {facts['items']} items, {facts['clips']} clips", fontsize=11)
    stem.parent.mkdir(parents=True, exist_ok=True)
    files = [stem.with_suffix(".png"), stem.with_suffix(".svg")]
    figure.savefig(files[0], dpi=150, metadata={"Software": None})
    figure.savefig(files[1], metadata={"Date": None, "Creator": None})
    return files


def _figure() -> Figure:
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "lalm_bench"
    from matplotlib.figure import Figure

    return Figure(figsize=(11, 7.5), layout="constrained")


def _bars(axes: Any, names: list[str], values: list[float], title: str, colour: str) -> None:
    places = list(range(len(names)))[::-1]
    axes.barh(places, values, height=0.62, color=colour)
    axes.set_yticks(places, [name.replace("$", r"\$") for name in names], fontsize=8)
    axes.set_title(title, fontsize=9, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
