"""A baseline and the runs that are compared with it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from lalm_bench.compare.curves import Curve, find_curves
from lalm_bench.compare.loaded import Run, Table, read
from lalm_bench.compare.measures import Measure, choose
from lalm_bench.compare.pairs import Result, pair
from lalm_bench.compare.settings import condition, demand_pairable, labels
from lalm_bench.stats import holm

# What a model scores when it cannot hear this item; the rest is what hearing adds.
CONTROLS = ("silence", "no_audio", "swap")
# A group of labels is worth a table while it fits one.
_MOST_LABELS = 26


@dataclass
class Compared:
    """One run beside its baseline."""

    label: str
    run: Run
    across: list[str]
    notes: list[str]
    result: Result

    def json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "label": self.label,
            "fingerprint": self.run.fingerprint,
            "folder": str(self.run.folder),
            "condition": condition(self.run),
            "differs_in": self.across,
            "notes": self.notes,
            **asdict(self.result),
        }


@dataclass
class Family:
    """A baseline, the runs compared with it, and what they give together.

    `gains` holds, for each control without the right audio, how much more the other runs score;
    `failed` says which runs could not be compared, and why.
    """

    title: str
    baseline: Run
    measure: Measure
    value: float | None
    chance: float | None
    cells: list[Compared]
    curves: list[Curve]
    gains: list[dict[str, Any]]
    failed: list[str] = field(default_factory=list)

    def json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "title": self.title,
            "metric": self.measure.name,
            "baseline": {
                "fingerprint": self.baseline.fingerprint,
                "folder": str(self.baseline.folder),
                "condition": condition(self.baseline),
                "value": self.value,
                "chance": self.chance,
            },
            "runs": [cell.json() for cell in self.cells],
            "audio_gain": self.gains,
            "curves": [asdict(curve) for curve in self.curves],
            "not_compared": self.failed,
        }


def compare(
    baseline: Run, runs: Sequence[Run], *, across: Sequence[str] = (), metric: str | None = None
) -> Family:
    """Compare each of `runs` with `baseline`; `adjust` then corrects for their number.

    Parameters
    ----------
    across : sequence of str
        Settings in which the runs may differ besides their intervention and pruning.
    metric : str, optional
        Default: what the task shows first.

    Raises
    ------
    DataError
        Runs that cannot be paired; names the difference.
    """
    measure = choose(metric, baseline)
    apart = [demand_pairable(baseline, run, across) for run in runs]
    groups = [g for g in baseline.config["task"].get("groups", ()) if g in baseline.first_row]
    if baseline.first_row.get("options") and isinstance(baseline.first_row.get("target"), str):
        groups.append("target")
    columns = (*measure.columns, *groups)
    first = read(baseline, columns)
    if len(set(map(str, first.columns.get("target", ())))) > _MOST_LABELS:
        groups = [g for g in groups if g != "target"]
    cells, items = [], {}
    for run, label, differs in zip(runs, labels(runs, apart), apart, strict=True):
        second = read(run, columns)
        result = pair(first, second, measure, groups)
        cells.append(Compared(label, run, differs, _notes(baseline, run, result), result))
        items[label] = _by_item(second, measure)
    known = {"": _by_item(first, measure), **items}
    value = _value(first, measure)
    config = baseline.config
    return Family(
        f"{config['task']['name']} · {config['model']['name']}",
        baseline,
        measure,
        value,
        _chance(first, measure),
        cells,
        find_curves(cells, known, measure, value),
        [] if measure.statistic else _gains(cells, known),
    )


def adjust(families: Iterable[Family]) -> None:
    """Correct the p values of all runs of a report together (Holm)."""
    results = [cell.result for family in families for cell in family.cells]
    for result, p in zip(results, holm([result.p for result in results]), strict=True):
        result.p_holm = float(p)


Items = dict[str, tuple[float, Any]]


def _by_item(table: Table, measure: Measure) -> Items:
    """Item -> (mean value over its requests, cluster); nothing for a statistic of sums."""
    if measure.statistic is not None:
        return {}
    sums: dict[str, list[Any]] = {}
    values = table.columns[measure.columns[0]]
    for (name, _), value, cluster in zip(table.keys, values, table.columns["cluster"], strict=True):
        if value is not None:
            entry = sums.setdefault(name, [0.0, 0, cluster])
            entry[0] += value
            entry[1] += 1
    return {name: (total / count, cluster) for name, (total, count, cluster) in sums.items()}


def _value(table: Table, measure: Measure) -> float | None:
    """The measure over all of a run's items, paired or not."""
    if measure.statistic is not None:
        return float(measure.statistic(np.nansum(measure.parts(table), axis=0)[None])[0])
    values = [value for value, _ in _by_item(table, measure).values()]
    return float(np.mean(values)) if values else None


def _chance(table: Table, measure: Measure) -> float | None:
    options = {name: n for (name, _), n in zip(table.keys, table.columns["n_options"], strict=True)}
    if not measure.right_or_wrong or not all(options.values()):
        return None
    return float(np.mean([1 / n for n in options.values()]))


def _notes(baseline: Run, run: Run, result: Result) -> list[str]:
    """What a reader must know before believing the numbers."""
    notes = []
    errors = [r.metrics["metrics"].get("n_errors") or 0 for r in (baseline, run)]
    skipped = sum(run.state.get("selection", {}).get("skipped", {}).values())
    if result.missing:
        why = [f"{errors[1]} errors"] * bool(errors[1]) + [f"{skipped} skipped"] * bool(skipped)
        reason = f" ({', '.join(why)})" if why else ""
        notes.append(f"{result.missing} items of the baseline are not in it{reason}")
    if result.extra:
        reason = f" ({errors[0]} errors there)" if errors[0] else ""
        notes.append(f"{result.extra} of its items are not in the baseline{reason}")
    if result.without_value:
        notes.append(f"{result.without_value} common items have no value")
    if result.test == "nothing differs":
        notes.append("no item changed")
    if baseline.state.get("code") != run.state.get("code"):
        notes.append("scored by another version of the code: run both again with rescore=true")
    return notes


def _gains(cells: Sequence[Compared], known: dict[str, Items]) -> list[dict[str, Any]]:
    """How much more each run scores than each control on the same items."""
    from lalm_bench.stats import paired_difference, sign_flip

    deaf = [cell for cell in cells if cell.run.config["intervention"]["name"] in CONTROLS]
    heard = ["", *[cell.label for cell in cells if cell not in deaf]]
    gains = []
    for control in deaf:
        for label in heard:
            first, second = known[control.label], known[label]
            shared = [name for name in first if name in second]
            clusters = [first[name][1] for name in shared]
            a = np.array([first[name][0] for name in shared])
            b = np.array([second[name][0] for name in shared])
            if not shared:
                continue
            found = paired_difference(a, b, clusters)
            gains.append(
                {
                    "run": label or "baseline",
                    "control": control.label,
                    "n": found.n,
                    "gain": found.value,
                    "low": found.low if found.stderr else None,
                    "high": found.high if found.stderr else None,
                    "p": sign_flip(b - a, clusters).p,
                }
            )
    return gains
