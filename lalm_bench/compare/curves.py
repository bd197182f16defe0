"""How a number falls as a condition gets harder: a curve over a swept level, and its area."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lalm_bench.compare.measures import Measure
from lalm_bench.compare.settings import condition
from lalm_bench.stats import area_weights, paired_difference

if TYPE_CHECKING:
    from lalm_bench.compare.family import Compared, Items


@dataclass
class Curve:
    """Values over the levels of one setting, everything else being equal.

    Parameters
    ----------
    name : str
        The condition, e.g. `mask`.
    setting : str
        What is swept, e.g. `intervention.ratio`.
    points : list of dict
        By rising level: level, value, low, high (the baseline plus the paired interval of the
        difference), consistency over all items with its interval (what few answers are still
        valid says little about a level).
    area : float
        Mean height of the curve over the range of levels (trapezoidal rule).
    area_delta, area_low, area_high : float or None
        Area minus the baseline's value on the same items, and its clustered interval.
    area_consistency : float or None
        The same of the answers' consistency with the baseline.
    """

    name: str
    setting: str
    points: list[dict[str, Any]]
    area: float
    area_delta: float | None
    area_low: float | None
    area_high: float | None
    area_consistency: float | None


def find_curves(
    cells: Sequence[Compared],
    known: Mapping[str, Items],
    measure: Measure,
    baseline: float | None,
) -> list[Curve]:
    """Every setting that takes two or more numbers while all others stay as they are.

    A masked share of 0 is the baseline itself, which then begins the curve.
    """
    families: dict[tuple[str, str, str], list[tuple[float, Compared]]] = {}
    for cell in cells:
        own = condition(cell.run)
        for key, value in own.items():
            if isinstance(value, bool) or not isinstance(value, int | float):
                continue
            rest = {k: v for k, v in own.items() if k != key}
            name = own[f"{key.partition('.')[0]}.name"]
            families.setdefault((str(name), key, repr((rest, cell.across))), []).append(
                (float(value), cell)
            )
    curves = []
    for (name, key, _), found in families.items():
        levels = dict(sorted(found, key=lambda pair: pair[0]))
        if len(levels) > 1:
            curves.append(_curve(name, key, levels, known, measure, baseline))
    return curves


def _curve(
    name: str,
    key: str,
    levels: Mapping[float, Compared],
    known: Mapping[str, Items],
    measure: Measure,
    baseline: float | None,
) -> Curve:
    points = [_point(level, cell) for level, cell in levels.items()]
    labels = [cell.label for cell in levels.values()]
    if key == "intervention.ratio" and name == "mask" and 0.0 not in levels:
        whole: dict[str, Any] = {"level": 0.0, "label": "baseline", "value": baseline}
        points.insert(0, whole | {"n": None, "low": None, "high": None, "consistency": 1.0})
        labels.insert(0, "")
    weights = area_weights([point["level"] for point in points])
    delta = _area_delta(weights, labels, known) if measure.statistic is None else None
    kept = [point["consistency"] for point in points]
    return Curve(
        name,
        key,
        points,
        float(weights @ np.array([point["value"] for point in points])),
        *(delta or (None, None, None)),
        None if None in kept else float(weights @ np.array(kept)),
    )


def _point(level: float, cell: Compared) -> dict[str, Any]:
    found, answers = cell.result, cell.result.answers
    point = {"level": level, "label": cell.label, "n": found.n, "value": found.value}
    for end in ("low", "high"):
        change = getattr(found, end)
        known = change is not None and found.baseline is not None
        point[end] = found.baseline + change if known else None
    point["consistency"] = answers.get("consistency_all")
    for end in ("low", "high"):
        point[f"consistency_{end}"] = answers.get(f"consistency_all_{end}")
    return point


def _area_delta(
    weights: np.ndarray, labels: Sequence[str], known: Mapping[str, Items]
) -> tuple[float | None, float | None, float | None]:
    """Area minus baseline, on the items that every level answered."""
    tables = [known[label] for label in labels]
    shared = [name for name in known[""] if all(name in table for table in tables)]
    before = np.array([known[""][name][0] for name in shared])
    after = np.array([[table[name][0] for name in shared] for table in tables])
    found = paired_difference(before, weights @ after, [known[""][name][1] for name in shared])
    return found.value, found.low if found.stderr else None, found.high if found.stderr else None
