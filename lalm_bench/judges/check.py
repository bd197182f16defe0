"""How good a judge is: its verdicts against those of people, or against published ones.

Accuracy and kappa, which way it errs (leniency), and whether that depends on how long an answer
is, where the right option stands, or what was asked.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lalm_bench.errors import DataError
from lalm_bench.judges.fields import NOMINAL, Field
from lalm_bench.judges.matched import number, pairs, settle
from lalm_bench.judges.rated import Rated, RatedFile
from lalm_bench.judges.summary import level_names
from lalm_bench.metrics.agreement import nominal_kappa, spearman, weighted_kappa
from lalm_bench.metrics.bootstrap import cluster_interval
from lalm_bench.types import Json

PANEL = "(panel)"
# Columns of the flat table: what `Comparison.row` has and does not nest.
COLUMNS = (
    *("judge", "field", "n", "coverage", "malformed", "accuracy", "accuracy_low", "accuracy_high"),
    *("kappa", "difference", "difference_low", "difference_high", "length_spearman"),
)
_MOST_LEVELS = 12
_SHOWN = 20
_NO_LEVEL = "-"

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Comparison:
    """One judge (or the panel) on one field, for the answers that the reference rates.

    Parameters
    ----------
    judge : str
    field : Field
    said, right : array of float, shape (answers,)
        The judge's and the reference's numbers; NaN where the judge gave none.
    levels : array of float
        Numbers that can be said, where they are few; a panel's mean is read as the nearest one
        (the lower of two) for accuracy and confusion, and taken as it is for all else.
    malformed : int
        Verdicts that lack this number, and were given.
    answers : sequence of Rated
    """

    judge: str
    field: Field
    said: Array
    right: Array
    levels: Array
    malformed: int
    answers: Sequence[Rated]

    @cached_property
    def _known(self) -> NDArray[np.bool_]:
        return ~np.isnan(self.said)

    @cached_property
    def _nearest(self) -> Array:
        if not len(self.levels):
            return self.said
        gaps = np.abs(self.said[:, None] - self.levels[None, :])
        return np.where(self._known, self.levels[gaps.argmin(axis=1)], np.nan)

    @cached_property
    def _hit(self) -> Array:
        return np.where(self._known, np.isclose(self._nearest, self.right), np.nan)

    @cached_property
    def _above(self) -> Array:
        """How far the judge is above the reference; codes have no above."""
        away = self.said - self.right
        return np.full_like(away, np.nan) if self.field.scale == NOMINAL else away

    @cached_property
    def _words(self) -> Array:
        """Length of each answer in words."""
        texts = [answer.text for answer in self.answers]
        return np.array([np.nan if text is None else len(text.split()) for text in texts])

    def row(self) -> dict[str, Json]:
        """All numbers; intervals are 95 % bootstraps over clusters."""
        known = self._known
        kappa = nominal_kappa if self.field.scale == NOMINAL else weighted_kappa
        compared = self._nearest if self.field.scale == NOMINAL else self.said
        accuracy, difference = self._estimate(self._hit), self._estimate(self._above)
        return {
            "judge": self.judge,
            "field": self.field.name,
            "n": int(known.sum()),
            "coverage": float(known.mean()),
            "malformed": self.malformed,
            "accuracy": accuracy[0],
            "accuracy_low": accuracy[1],
            "accuracy_high": accuracy[2],
            "kappa": kappa(compared, self.right),
            "difference": difference[0],
            "difference_low": difference[1],
            "difference_high": difference[2],
            "length_spearman": spearman(self._above, self._words),
            "confusion": self._confusion(),
            "by_length": self._by_length(),
            "by_position": self._by(lambda a: None if a.position is None else str(a.position)),
            "by_variant": self._by(lambda a: a.variant or None),
        }

    def _estimate(self, values: Array) -> tuple[float | None, float | None, float | None]:
        known = ~np.isnan(values)
        if not known.any():
            return None, None, None
        clusters = [a.cluster for a, k in zip(self.answers, known, strict=True) if k]
        parts = np.column_stack([values[known], np.ones(known.sum())])
        low, high = cluster_interval(parts, clusters, lambda sums: sums[:, 0] / sums[:, 1])
        return float(values[known].mean()), low, high

    def _confusion(self) -> list[Json]:
        """A row for each level of the reference: how often the judge said which."""
        names = level_names(self.field)
        rows: list[Json] = []
        for right in self.levels:
            here = np.isclose(self.right, right)
            counts: dict[str, Json] = {
                _name(names, level): int(np.isclose(self._nearest[here], level).sum())
                for level in self.levels
            }
            none = int((~self._known[here]).sum())
            rows.append({"reference": _name(names, right), **counts, _NO_LEVEL: none})
        return rows

    def _by_length(self) -> list[Json]:
        """Terciles of the answers' lengths, with what the judge makes of each."""
        words = self._words
        known = ~np.isnan(words)
        if not known.any():
            return []
        edges = np.quantile(words[known], [1 / 3, 2 / 3])
        third = np.where(known, np.searchsorted(edges, words), -1)
        rows: list[Json] = []
        for part in range(3):
            here = third == part
            if here.any():
                found = words[here]
                rows.append({"words": f"{found.min():.0f}-{found.max():.0f}", **self._part(here)})
        return rows

    def _by(self, value: Callable[[Rated], str | None]) -> list[Json]:
        values = np.array([value(answer) or "" for answer in self.answers], dtype=object)
        different = [v for v in dict.fromkeys(values) if v]
        if len(different) < 2:
            return []
        return [{"value": v, **self._part(values == v)} for v in sorted(different, key=_order)]

    def _part(self, here: NDArray[np.bool_]) -> dict[str, Json]:
        hit, above = (v[here & ~np.isnan(v)] for v in (self._hit, self._above))
        return {
            "n": len(hit),
            "accuracy": float(hit.mean()) if len(hit) else None,
            "difference": float(above.mean()) if len(above) else None,
        }


def check(verdicts: RatedFile, reference: RatedFile) -> dict[str, Json]:
    """Compare every judge, and the panel where there are several, with the reference.

    A reference with several raters counts as their mean (nominal fields: their majority).

    Raises
    ------
    DataError
        See `matched.settle`, `matched.pairs` and `matched.number`.
    """
    fields = settle(verdicts, reference)
    matched = pairs(verdicts, reference)
    found = {id(right) for _, right in matched}
    unmatched = [row for row in reference.rows if id(row) not in found]
    rows: list[Json] = []
    for of in fields:
        right = _combined(of, reference.judges, [row for _, row in matched])
        rated = [(row, r) for (row, _), r in zip(matched, right, strict=True) if not np.isnan(r)]
        rows += [c.row() for c in _comparisons(of, verdicts.judges, rated)]
    if not rows:
        names = ", ".join(of.name for of in fields)
        raise DataError(f"{reference.path}: no number for {names} in any matched row; fill it in")
    return {
        "answers": len(verdicts.rows),
        "reference": len(reference.rows),
        "matched": len(matched),
        "unmatched": [" ".join((r.names[0], r.variant)).strip() for r in unmatched[:_SHOWN]],
        "raters": [*reference.judges],
        "not_compared": sorted(reference.columns() - {of.name.lower() for of in fields}),
        "comparisons": rows,
    }


def _comparisons(
    of: Field, judges: Sequence[str], rated: Sequence[tuple[Rated, float]]
) -> list[Comparison]:
    answers = [row for row, _ in rated]
    right = np.array([value for _, value in rated])
    if not len(right):
        return []
    own = {judge: _combined(of, [judge], answers) for judge in judges}
    if of.levels is not None:
        levels = np.unique([float(value) for value in of.levels.values()])
    else:
        every = np.concatenate([right, *own.values()])
        levels = np.unique(every[~np.isnan(every)])
    if len(levels) > _MOST_LEVELS:
        levels = levels[:0]
    if len(judges) > 1:
        own[PANEL] = _combined(of, judges, answers)
    found = []
    for judge, said in own.items():
        who = set(judges) if judge == PANEL else {judge}
        unread = [np.isnan(s) and who & row.malformed for s, row in zip(said, answers, strict=True)]
        found.append(Comparison(judge, of, said, right, levels, sum(map(bool, unread)), answers))
    return found


def _combined(of: Field, judges: Sequence[str], rows: Sequence[Rated]) -> Array:
    """What these judges say together of each row; NaN for nothing."""
    found = []
    for row in rows:
        numbers = [
            number(of, row.said.get((judge, of.name.lower())), row.where) for judge in judges
        ]
        value = of.combine([n for n in numbers if n == n])
        found.append(np.nan if value is None else value)
    return np.array(found, dtype=float)


def flat(report: dict[str, Any]) -> str:
    """The comparisons as CSV, without what nests."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(report["comparisons"])
    return out.getvalue()


def _name(names: dict[float, str], level: float) -> str:
    return names.get(float(level), f"{level:g}")


def _order(text: str) -> tuple[str, int, str]:
    """`instruction=10` after `instruction=2`."""
    words = text.rstrip("0123456789")
    return words, int(text[len(words) :] or 0), text
