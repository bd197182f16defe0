"""Captions against their references, references against each other, and what falls out of line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lalm_bench import runs
from lalm_bench.analysis import captions_figure, findings, robust, texts
from lalm_bench.analysis.findings import Findings
from lalm_bench.compare.loaded import Run
from lalm_bench.errors import ConfigError, DataError
from lalm_bench.metrics.captions.cider import CiderD
from lalm_bench.metrics.captions.summary import words
from lalm_bench.report import paper
from lalm_bench.stats import Estimate, cluster_mean, paired_difference

CIDER = "cider_d"
ABOUT = (
    "*prediction*: mean similarity with the references of its clip. *people*: the same of each "
    "reference with the others of its clip (leave one out), mean over the references: what a "
    "person who describes the clip reaches. *gap*: prediction minus people, paired by clip. "
    f"{texts.EXPLAINED}*cider_d*: CIDEr-D, 0 to 10, with the n-gram weights of this run's "
    "references alone. Intervals: 95 %, clustered by clip."
)
RULE = (
    "A prediction is an outlier where its gap is negative and lies more than {far:g} robust "
    "standard deviations (1.4826 MAD) below the median gap of all clips; a reference, where its "
    "similarity with the others of its clip lies so far below that of all references (Iglewicz "
    "and Hoaglin 1993). Measured by *{by}*."
)


@dataclass(frozen=True)
class Captioned:
    """The clips of a run that have a prediction, as rows.

    Parameters
    ----------
    ids, clusters, predictions : list of str
    references : list of (list of str)
    """

    ids: list[str]
    clusters: list[str]
    predictions: list[str]
    references: list[list[str]]


@dataclass(frozen=True)
class Reached:
    """One measure of all clips.

    Parameters
    ----------
    prediction : array of float, shape (clips,)
    people : array of float, shape (clips,)
        NaN where a clip has one reference only.
    each : list of array
        Of each clip, what each of its references reaches with the others.
    """

    prediction: np.ndarray
    people: np.ndarray
    each: list[np.ndarray]

    @property
    def gap(self) -> np.ndarray:
        """Prediction minus people, shape (clips,)."""
        gap: np.ndarray = self.prediction - self.people
        return gap


def analyse(
    run: Run, encoder: str | None = None, *, by: str | None = None, far: float = 3.5
) -> Findings:
    """Compare a run's captions with their references.

    Parameters
    ----------
    run : Run
        Its targets are reference captions, as of task=clotho.
    encoder : str, optional
        A sentence encoder, see `texts.measures`.
    by : str, optional
        The measure that finds outliers.
    far : float
        Robust standard deviations.

    Raises
    ------
    DataError
        The run has no reference captions, or none has a second one.
    ConfigError
        No such measure.
    """
    read = _read(run)
    scorers = texts.measures(encoder)
    found = {name: _reached(read, scorer) for name, scorer in scorers.items()}
    found[CIDER] = _cider(read)
    chosen = by or (next((m for m in found if m.startswith("semantic")), texts.WORDS))
    if chosen not in found:
        raise ConfigError(f"--by {chosen} must be one of {', '.join(found)}")
    one = found[chosen]
    paired = ~np.isnan(one.people)
    if not paired.any():
        raise DataError(f"{run.folder}: no clip has two references, so nothing says what people do")
    gaps = robust.low(one.gap[paired], far)
    below = np.zeros(len(read.ids), dtype=bool)
    below[paired] = gaps.outliers & (one.gap[paired] < 0)
    z = np.full(len(read.ids), np.nan)
    z[paired] = gaps.z
    single = int((~paired).sum())
    title = f"{run.config['task']['name']} · {run.config['model']['name']}"
    title += f" · {run.state.get('condition', '')}"
    tables = [
        _overall(read, found),
        _predictions(read, one, z, below),
        _references(read, one, far),
        _items(read, found, z, below),
    ]
    about = f"{ABOUT} {RULE.format(far=far, by=chosen)}"
    if single:
        about += f" {single} clips have one reference: they have no people and no gap."
    facts = {
        "run": findings.sources([run])[0],
        "by": chosen,
        "far": far,
        "median_gap": gaps.median,
        "limit": gaps.limit,
        "spread": gaps.spread,
        "clips": len(read.ids),
        "one_reference": single,
        "outliers": [name for name, out in zip(read.ids, below, strict=True) if out],
    }
    return Findings(
        "captions",
        f"Captions and their references: {title}",
        about,
        tables,
        facts,
        lambda stem: captions_figure.draw(stem, title, chosen, one, below, gaps),
        frozenset({"items"}),
    )


def _read(run: Run) -> Captioned:
    found = Captioned([], [], [], [])
    for row in runs.decisions(run.folder):
        target = row.get("target")
        if not isinstance(target, list) or not all(isinstance(t, str) for t in target):
            raise DataError(
                f"{run.folder}: item '{row.get('id')}' has no list of reference captions; name a "
                "run of task=clotho, or of a table of its form"
            )
        variant = row.get("variant") or ""
        found.ids.append(f"{row['id']} {variant}".strip())
        found.clusters.append(str(row["cluster"]))
        found.predictions.append(str(row.get("label") or ""))
        found.references.append(target)
    if not found.ids:
        raise DataError(f"{run.folder}: the run decided no item; run its command again")
    return found


def _reached(read: Captioned, scorer: texts.Measure) -> Reached:
    """All pairs at once, so that an encoder meets each text once."""
    counts = np.array([len(r) for r in read.references])
    given = [p for p, r in zip(read.predictions, read.references, strict=True) for _ in r]
    flat = [reference for r in read.references for reference in r]
    owner = np.repeat(np.arange(len(counts)), counts)
    prediction = np.bincount(owner, weights=scorer(given, flat), minlength=len(counts)) / counts
    # Nothing was said, so nothing agrees; networks have an opinion even on an empty text.
    prediction[[not p for p in read.predictions]] = 0.0
    first, second, where = [], [], []
    for clip, references in enumerate(read.references):
        for i, one in enumerate(references):
            for j, other in enumerate(references):
                if i != j:
                    first.append(one)
                    second.append(other)
                    where.append((clip, i))
    each = [np.zeros(n) if n > 1 else np.full(n, np.nan) for n in counts]
    for (clip, i), value in zip(where, scorer(first, second), strict=True):
        each[clip][i] += value / (counts[clip] - 1)
    return Reached(prediction, np.array([own.mean() for own in each]), each)


def _cider(read: Captioned) -> Reached:
    theirs = [[words(r) for r in references] for references in read.references]
    cider = CiderD(theirs)
    mine = [words(p) for p in read.predictions]
    prediction = cider.scores([*zip(mine, theirs, strict=True)])
    pairs = [
        (one, [r for k, r in enumerate(own) if k != i])
        for own in theirs
        if len(own) > 1
        for i, one in enumerate(own)
    ]
    scores = iter(cider.scores(pairs).tolist())
    each = [
        np.array([next(scores) for _ in own]) if len(own) > 1 else np.full(1, np.nan)
        for own in theirs
    ]
    return Reached(prediction, np.array([own.mean() for own in each]), each)


def _overall(read: Captioned, found: Mapping[str, Reached]) -> paper.Table:
    rows, data = [], []
    for measure, one in found.items():
        bounds = (0.0, 10.0) if measure == CIDER else texts.bounds(measure)
        known = ~np.isnan(one.people)
        clusters = [c for c, k in zip(read.clusters, known, strict=True) if k]
        estimates: dict[str, tuple[Estimate, tuple[float, float]]] = {
            "prediction": (cluster_mean(one.prediction, read.clusters), bounds),
            "people": (cluster_mean(one.people[known], clusters), bounds),
            "gap": (
                paired_difference(one.people[known], one.prediction[known], clusters),
                (bounds[0] - bounds[1], bounds[1] - bounds[0]),
            ),
        }
        reach = float((one.gap[known] >= 0).mean())
        cells = [findings.shown(estimate, ends) for estimate, ends in estimates.values()]
        rows.append([measure, str(len(read.ids)), *cells, f"{100 * reach:.1f} %"])
        full: dict[str, Any] = {"measure": measure, "reach": reach}
        for name, (estimate, ends) in estimates.items():
            full |= findings.flat(name, estimate, ends)
        data.append(full)
    columns = ["measure", "clips", "prediction", "people", "gap", "reach people's mean"]
    return paper.Table("measures", "Predictions and people", columns, rows, data=data)


def _predictions(read: Captioned, one: Reached, z: np.ndarray, below: np.ndarray) -> paper.Table:
    order = sorted(np.flatnonzero(below).tolist(), key=lambda i: z[i])
    rows = [
        [
            read.ids[i],
            f"{one.prediction[i]:.3f}",
            f"{one.people[i]:.3f}",
            f"{z[i]:.1f}",
            read.predictions[i] or "(no words)",
            _nearest(one, read, i),
        ]
        for i in order
    ]
    columns = ["clip", "prediction", "people", "z", "said", "the most typical reference"]
    note = "" if rows else "No prediction is an outlier by this rule."
    return paper.Table("outliers", "Outliers among the predictions", columns, rows, note)


def _nearest(one: Reached, read: Captioned, clip: int) -> str:
    return read.references[clip][int(np.argmax(one.each[clip]))]


def _references(read: Captioned, one: Reached, far: float) -> paper.Table:
    places = [(i, k) for i, own in enumerate(one.each) if len(own) > 1 for k in range(len(own))]
    values = [one.each[i][k] for i, k in places]
    low = robust.low(values, far)
    order = sorted(np.flatnonzero(low.outliers).tolist(), key=lambda n: values[n])
    rows = []
    for n in order:
        i, k = places[n]
        cells = [f"{values[n]:.3f}", f"{one.people[i]:.3f}", f"{low.z[n]:.1f}"]
        rows.append([read.ids[i], str(k + 1), *cells, read.references[i][k]])
    columns = ["clip", "caption", "with the others", "people", "z", "reference"]
    note = "" if rows else "No reference is an outlier by this rule."
    return paper.Table("outlier_references", "Outliers among the references", columns, rows, note)


def _items(
    read: Captioned, found: Mapping[str, Reached], z: np.ndarray, below: np.ndarray
) -> paper.Table:
    data: list[Mapping[str, Any]] = []
    for i, name in enumerate(read.ids):
        row: dict[str, Any] = {"id": name, "cluster": read.clusters[i]}
        for measure, one in found.items():
            row[measure] = float(one.prediction[i])
            row[f"{measure}_people"] = _number(one.people[i])
        row |= {"z": _number(z[i]), "outlier": int(below[i]), "prediction": read.predictions[i]}
        data.append(row)
    return paper.Table("items", "Clips", [*data[0]], [], data=data)


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
