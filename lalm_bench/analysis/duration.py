"""Accuracy, time and memory by the length of the audio."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lalm_bench.analysis import duration_figure, findings, lengths
from lalm_bench.analysis.findings import Findings
from lalm_bench.analysis.lengths import Buckets, Spent
from lalm_bench.compare.loaded import Run, Table, read
from lalm_bench.compare.measures import Measure, choose
from lalm_bench.errors import DataError
from lalm_bench.metrics.bootstrap import cluster_interval
from lalm_bench.report import paper, rebuilt
from lalm_bench.report.table import number
from lalm_bench.stats import Estimate, cluster_mean
from lalm_bench.study_timing import STAGES

_MIB = 1 << 20
_REPLICATES = 2000
_ENDLESS = (-np.inf, np.inf)
_NO_ESTIMATE = Estimate(None, None, None, None, 0)
ABOUT = (
    "An item's bucket is the length of its own recording, before any intervention; a range holds "
    "its lower edge, and the last edge belongs to the range below it. The score's interval is 95 "
    "%, clustered by clip (of a macro-F1 or a pooled rate: bootstrap over clips); where all items"
    " agree there is none. Times are means over answers, as noted while answering: an item's "
    "share of its batch, so batch size and cached audio enter, and runs compare only on one "
    "machine with equal settings. *total* is the model's time without preparation; *real-time "
    "factor* the sum of these times over that of the audio heard; *tokens/s* the tokens after the"
    " first over decoding time. *KV cache* is one answer's keys and values, mean; *peak* the most"
    " that the GPU held while an item of the bucket was asked alone (from a study's timings; a "
    "run by itself notes only its peak as a whole)."
)


@dataclass
class Bucket:
    """One run's items of one range of durations; numbers are None where nothing was noted."""

    name: str
    measure: str
    score: Estimate
    items: int
    answers: int
    seconds: float | None
    timed: int
    stages: dict[str, float] = field(default_factory=dict)
    total: Estimate = _NO_ESTIMATE
    median: float | None = None
    p90: float | None = None
    real_time_factor: float | None = None
    tokens_per_s: float | None = None
    kv_mib: float | None = None
    with_kv: int = 0
    peak_mib: float | None = None

    @property
    def bounds(self) -> tuple[float, float]:
        """Least and greatest score."""
        return (0.0, 1.0) if self.measure.startswith("accuracy") else _ENDLESS

    @property
    def shown(self) -> str:
        """The score with its interval, for people."""
        return findings.shown(self.score, self.bounds)


@dataclass(frozen=True)
class Timed:
    """One run by duration.

    Parameters
    ----------
    name : str
    run : Run
    buckets : list of Bucket
        Those that hold items, shortest first.
    notes : list of str
    counts : dict
        Where durations come from.
    """

    name: str
    run: Run
    buckets: list[Bucket]
    notes: list[str]
    counts: dict[str, int]


def analyse(
    found: Sequence[Run],
    edges: Sequence[float] | None = None,
    metric: str | None = None,
    studies: Sequence[Path] = (),
) -> Findings:
    """Break runs down by the duration of their audio.

    Parameters
    ----------
    found : sequence of Run
    edges : sequence of float, optional
        Rising, in seconds; default `lengths.EDGES`.
    metric : str, optional
        Default: accuracy where a run has it, else what its task shows first.
    studies : sequence of Path
        Folders of studies, whose timings tell peak memory.

    Raises
    ------
    ConfigError
        The edges do not rise.
    DataError
        A run has no per-item values of the metric.
    """
    buckets = Buckets(tuple(edges) if edges else lengths.EDGES)
    timed = [
        _timed(name, run, buckets, metric, studies)
        for name, run in zip(findings.names(found), found, strict=True)
    ]
    notes = [f"{one.name}: {note}" for one in timed for note in one.notes]
    if len(timed) > duration_figure.MOST_RUNS:
        notes.append(f"the figure shows {duration_figure.MOST_RUNS} of {len(timed)} runs")
    facts = {
        "runs": findings.sources(found),
        "edges": list(buckets.edges),
        "durations_from": {one.name: one.counts for one in timed},
        "notes": notes,
    }
    return Findings(
        "duration",
        "Accuracy, time and memory by audio duration",
        "\n".join([ABOUT, *(f"\n- {note}" for note in notes)]),
        [_table(timed)],
        facts,
        lambda stem: duration_figure.draw(stem, buckets.names, timed),
    )


def _timed(
    name: str, run: Run, buckets: Buckets, metric: str | None, studies: Sequence[Path]
) -> Timed:
    measure = _measure(run, metric)
    table = read(run, (*measure.columns, "seconds", "question", "steps"))
    took = lengths.spent(table)
    made = rebuilt.rebuild(run)
    long, counts = lengths.seconds(table, made, took)
    peaks = lengths.peaks(studies, run.fingerprint)
    where = np.array([buckets.of(seconds) for seconds in long])
    parts = measure.parts(table)
    rows = [
        _bucket(
            buckets.names[place],
            np.flatnonzero(where == place),
            table,
            measure,
            parts,
            took,
            long,
            peaks,
        )
        for place in range(len(buckets.names))
        if (where == place).any()
    ]
    notes = []
    if made.why_not and counts.get(lengths.DECISION, 0) < len(long):
        notes.append(f"recordings could not be looked up: {made.why_not}")
    if answers := counts.get(lengths.ANSWER):
        notes.append(
            f"{answers} durations are those that the model heard, from the answer's record"
        )
    if unknown := counts.get(lengths.UNKNOWN):
        notes.append(f"{unknown} of {len(long)} decisions have no known duration")
    if untimed := sum(one.total is None for one in took):
        notes.append(
            f"{untimed} of {len(took)} decisions have no time of their own (none was noted, or "
            "they share the answer of an equal request)"
        )
    if not any(bucket.with_kv or bucket.peak_mib is not None for bucket in rows):
        notes.append("no memory was noted for its items")
    if errors := run.metrics["metrics"].get("n_errors"):
        notes.append(f"{errors} items ended in an error: they are in no row")
    peak = (run.metrics.get("timing") or {}).get("peak_memory_bytes")
    if peak is not None:
        notes.append(f"its GPU held {peak / _MIB:,.0f} MiB at most, over all items")
    return Timed(name, run, rows, notes, counts)


def _measure(run: Run, metric: str | None) -> Measure:
    if metric is not None:
        return choose(metric, run)
    try:
        return choose("accuracy", run)
    except DataError:
        return choose(None, run)


def _bucket(
    name: str,
    rows: np.ndarray,
    table: Table,
    measure: Measure,
    parts: np.ndarray,
    took: Sequence[Spent],
    long: Sequence[float | None],
    peaks: dict[lengths.Key, int],
) -> Bucket:
    own = [took[row] for row in rows]
    timed = [row for row in rows if took[row].total is not None]
    known = [s for row in rows if (s := long[row]) is not None]
    items = len({table.keys[row][0] for row in rows})
    found = Bucket(
        name,
        measure.name,
        _score(rows, table, measure, parts),
        items,
        len(rows),
        float(np.mean(known)) if known else None,
        len(timed),
    )
    if timed:
        totals = np.array([took[row].total for row in timed], dtype=float)
        found.total = cluster_mean(totals, [table.columns["cluster"][row] for row in timed])
        found.median, found.p90 = (float(np.quantile(totals, q)) for q in (0.5, 0.9))
        for stage in STAGES:
            spent = [t for row in timed if (t := took[row].timing.get(f"{stage}_s")) is not None]
            if spent:
                found.stages[stage] = float(np.mean(spent))
    heard = [(o.total, o.heard) for o in own if o.total is not None and o.heard]
    if heard:
        found.real_time_factor = sum(t for t, _ in heard) / sum(h for _, h in heard)
    steps = [
        (o.usage["output_tokens"] - 1, decode)
        for o in own
        if o.usage.get("output_tokens", 0) > 1 and (decode := o.timing.get("decode_s"))
    ]
    if steps:
        found.tokens_per_s = sum(n for n, _ in steps) / sum(d for _, d in steps)
    kept = [o.usage["kv_bytes"] for o in own if "kv_bytes" in o.usage]
    found.with_kv = len(kept)
    if kept:
        found.kv_mib = float(np.mean(kept)) / _MIB
    most = [peaks[key] for row in rows if (key := table.keys[row]) in peaks]
    found.peak_mib = max(most) / _MIB if most else None
    return found


def _score(rows: np.ndarray, table: Table, measure: Measure, parts: np.ndarray) -> Estimate:
    """Over items; an item asked in several variants counts once."""
    known = rows[~np.isnan(parts[rows]).any(axis=1)]
    if not len(known):
        return Estimate(None, None, None, None, 0)
    names = np.array([table.keys[row][0] for row in known], dtype=object)
    _, lead, items = np.unique(names, return_index=True, return_inverse=True)
    counts = np.bincount(items)[:, None]
    means = np.stack([np.bincount(items, weights=c) for c in parts[known].T], axis=1) / counts
    clusters = [table.columns["cluster"][row] for row in known[lead]]
    statistic = measure.statistic
    if statistic is None:
        return cluster_mean(means[:, 0], clusters)
    value = float(statistic(means.sum(axis=0)[None])[0])
    low, high = cluster_interval(means, clusters, statistic, replicates=_REPLICATES)
    spread = None if low is None or high is None else high - low
    return Estimate(None if np.isnan(value) else value, low, high, spread, len(means))


def _table(timed: Sequence[Timed]) -> paper.Table:
    rows, data = [], []
    for one in timed:
        for b in one.buckets:
            times = [b.stages.get(stage) for stage in STAGES]
            rows.append(
                [
                    *(one.name, b.name, str(b.items), b.measure, b.shown),
                    *[_ms(value) for value in (*times, b.total.value, b.p90)],
                    number(b.real_time_factor),
                    *[number(value, 1) for value in (b.tokens_per_s, b.kv_mib, b.peak_mib)],
                    f"{b.timed} / {b.with_kv}",
                ]
            )
            full: dict[str, Any] = {
                **{"run": one.name, "fingerprint": one.run.fingerprint, "bucket": b.name},
                **{"items": b.items, "answers": b.answers, "seconds_mean": b.seconds},
                **{"measure": b.measure, **findings.flat("score", b.score, b.bounds)},
                **{f"{stage}_s": b.stages.get(stage) for stage in STAGES},
                **findings.flat("total_s", b.total, _ENDLESS),
                **{"total_median_s": b.median, "total_p90_s": b.p90},
                **{"real_time_factor": b.real_time_factor, "tokens_per_s": b.tokens_per_s},
                **{"kv_mib": b.kv_mib, "kv_n": b.with_kv, "peak_mib": b.peak_mib},
            }
            data.append(full)
    columns = [
        *("run", "audio", "items", "measure", "score"),
        *("encode, ms", "prefill, ms", "decode, ms", "total, ms", "total p90, ms"),
        *("real-time factor", "tokens/s", "KV cache, MiB", "peak, MiB", "with time / KV"),
    ]
    note = "with time / KV: answers whose time, and whose cache, was noted."
    return paper.Table("buckets", "By audio duration", columns, rows, note, data=data)


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{1000 * seconds:.1f}"
