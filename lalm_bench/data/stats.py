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
_PLACE = "items by place of the right option, mark: equal shares"


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
    """The panels for which there is something to show, as `<stem>.png` and `<stem>.svg`."""
    from lalm_bench.report.figures import BLUE, ORANGE

    figure = _figure()
    panels = _panels(facts)
    grid = list(figure.subplots((len(panels) + 1) // 2 or 1, 2, squeeze=False).flat)
    for axes, (name, values) in zip(grid, panels.items(), strict=False):
        _bars(axes, values, name, BLUE)
        if name.startswith(_PLACE):
            equal = facts["positions"]["expected"]
            axes.plot(equal, range(len(equal)), "|", color=ORANGE, ms=14, mew=2.2)
    for axes in grid[len(panels) :]:
        axes.remove()
    figure.suptitle(_plain(f"{title}: {facts['items']} items, {facts['clips']} clips"), fontsize=11)
    stem.parent.mkdir(parents=True, exist_ok=True)
    files = [stem.with_suffix(".png"), stem.with_suffix(".svg")]
    figure.savefig(files[0], dpi=150, metadata={"Software": None})
    figure.savefig(files[1], metadata={"Date": None, "Creator": None})
    return files


def _panels(facts: dict[str, Any]) -> dict[str, list[tuple[str, float]]]:
    """Bars by title, only where there are any."""
    bins = [b for b in facts["durations"]["histogram"] if b["count"]]
    targets, places, text = facts["targets"], facts["positions"], facts["text"]
    cut = targets["distinct"] - _MOST
    p = places["chi_square_p"]
    kinds = ("question", "option", "right_option")
    means = [(k.replace("_", " "), text[f"{k}_words"].get("mean")) for k in kinds]
    panels = {
        "clips by duration, s": [
            (f"{b['from']}+" if b["to"] is None else f"{b['from']}-{b['to']}", b["count"])
            for b in bins
        ],
        "items by right option" + (f", {cut} more not shown" if cut > 0 else ""): [
            *targets["counts"].items()
        ][:_MOST],
        _PLACE + ("" if p is None else f", p = {p:.2g}"): [
            (str(place), n) for place, n in enumerate(places["observed"], 1)
        ],
        "mean number of words": [(name, mean) for name, mean in means if mean is not None],
    }
    return {title: bars for title, bars in panels.items() if bars}


def _figure() -> Figure:
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "lalm_bench"
    from matplotlib.figure import Figure

    return Figure(figsize=(11, 7.5), layout="constrained")


def _bars(axes: Any, values: Sequence[tuple[str, float]], title: str, colour: str) -> None:
    # By place and not by name: two long names may be cut to one.
    places = range(len(values))
    axes.barh(places, [value for _, value in values], height=0.62, color=colour)
    names = [name if len(name) < 28 else name[:26] + "…" for name, _ in values]
    told = [f"{_plain(n)}  ({value:.4g})" for n, (_, value) in zip(names, values, strict=True)]
    axes.set_yticks(places, told, fontsize=8)
    axes.set_ylim(max(len(values), 4) - 0.4, -0.6)
    axes.set_xticks([])
    axes.set_title(title, fontsize=9, loc="left")
    axes.spines[["top", "right", "bottom"]].set_visible(False)


def _plain(text: str) -> str:
    """As it stands, where matplotlib would read formulas between dollar signs."""
    return text.replace("$", r"\$")
