"""How far a model's answers on changed audio still are its answers on the original."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lalm_bench.analysis import findings, similarity_figure, texts
from lalm_bench.analysis.findings import Findings
from lalm_bench.compare.loaded import Run, Table, read
from lalm_bench.compare.pairs import Pairs, join
from lalm_bench.compare.settings import demand_pairable
from lalm_bench.randomness import derive
from lalm_bench.report import paper
from lalm_bench.stats import Estimate, cluster_mean

SAME_ANSWER, SAME_TEXT = "same answer", "same text"
_MOST_GROUPS = 40
_SHORT = 160
ABOUT = (
    "Answers are paired by item and variant; an item asked in several variants counts once. "
    f"*{SAME_ANSWER}*: the parsed labels are equal, where both answers have one; tasks without "
    f"options have none. *{SAME_TEXT}*: not a character differs. {texts.EXPLAINED}*floor*: the "
    "same measure against the original's answer to another clip, so that what all answers share "
    "by their form is not taken for agreement. Intervals: 95 %, clustered by clip (Miller 2024, "
    "arXiv 2411.00640)."
)


@dataclass(frozen=True)
class Alike:
    """One run against the original.

    Parameters
    ----------
    name : str
    pairs : Pairs
    values, floors : mapping
        Measure -> one number a pair, NaN where it is not defined.
    first, second : Table
    """

    name: str
    pairs: Pairs
    values: Mapping[str, np.ndarray]
    floors: Mapping[str, np.ndarray]
    first: Table
    second: Table

    def column(self, name: str) -> list[Any]:
        """A column of the original's decisions, one entry a pair."""
        return [self.first.columns[name][row] for row in self.pairs.first]

    def mean(self, values: np.ndarray, part: np.ndarray | None = None) -> Estimate:
        """Mean over items, of a part of the pairs; the interval is clustered by clip."""
        known = ~np.isnan(values) if part is None else ~np.isnan(values) & part
        _, lead, items = np.unique(self.pairs.item[known], return_index=True, return_inverse=True)
        means = np.bincount(items, weights=values[known]) / np.bincount(items)
        clusters = [self.first.columns["cluster"][row] for row in self.pairs.first[known][lead]]
        return cluster_mean(means, clusters)


def compare(
    original: Run,
    others: Sequence[Run],
    encoder: str | None = None,
    *,
    across: Sequence[str] = (),
    most: int = 20,
    seed: int = 7,
) -> Findings:
    """Compare runs with one of the same task on the original audio.

    Parameters
    ----------
    original : Run
    others : sequence of Run
        They differ from it in intervention and pruning, and in what `across` names.
    encoder : str, optional
        A sentence encoder, see `texts.measures`.
    across : sequence of str
    most : int
        Most changed items on the page; the table holds all.
    seed : int
        Draws the other clip of the floor.

    Raises
    ------
    DataError
        Runs that do not pair, or have no item in common.
    """
    for other in others:
        demand_pairable(original, other, across)
    scorers = texts.measures(encoder)
    groups = [str(g) for g in original.config["task"].get("groups") or ()]
    first = read(original, ("text", *groups))
    named = findings.names([original, *others])[1:]
    found = []
    for name, other in zip(named, others, strict=True):
        found.append(_alike(name, first, read(other, ("text",)), scorers, seed))
    title = f"{original.config['task']['name']} · {original.config['model']['name']}"
    tables = [_overall(found), *_by_group(found, groups), _changed(found, most)]
    return Findings(
        "similarity",
        f"Prediction similarity: {title}",
        ABOUT,
        [*tables, _items(found)],
        {"original": findings.sources([original])[0], "runs": findings.sources(others)},
        lambda stem: similarity_figure.draw(stem, title, found),
        frozenset({"items"}),
    )


def _alike(
    name: str, first: Table, second: Table, scorers: Mapping[str, texts.Measure], seed: int
) -> Alike:
    pairs = join(first, second)
    mine = [_text(first, row) for row in pairs.first]
    theirs = [_text(second, row) for row in pairs.second]
    values: dict[str, np.ndarray] = {
        SAME_ANSWER: _same_answer(first, second, pairs),
        SAME_TEXT: _equal(mine, theirs),
    }
    values |= {measure: scorer(mine, theirs) for measure, scorer in scorers.items()}
    elsewhere = _elsewhere(first, pairs, seed)
    known = np.flatnonzero(elsewhere >= 0)
    others = [mine[place] for place in elsewhere[known]]
    own = [theirs[place] for place in known]
    floors = {}
    for measure, scorer in {SAME_TEXT: _equal, **scorers}.items():
        floors[measure] = np.full(len(mine), np.nan)
        floors[measure][known] = scorer(others, own)
    return Alike(name, pairs, values, floors, first, second)


def _text(table: Table, row: int) -> str:
    text = table.columns["text"][row]
    return str(table.columns["label"][row] or "") if text is None else str(text)


def _equal(mine: Sequence[str], theirs: Sequence[str]) -> np.ndarray:
    return np.array([a == b for a, b in zip(mine, theirs, strict=True)], dtype=float)


def _same_answer(first: Table, second: Table, pairs: Pairs) -> np.ndarray:
    found = np.full(len(pairs.first), np.nan)
    for place, (i, j) in enumerate(zip(pairs.first, pairs.second, strict=True)):
        a, b = first.columns["label"][i], second.columns["label"][j]
        if first.columns["n_options"][i] and a is not None and b is not None:
            found[place] = a == b
    return found


def _elsewhere(first: Table, pairs: Pairs, seed: int) -> np.ndarray:
    """For each pair another pair, of another clip; -1 where the next in a seeded order is none."""
    keys = ["\x1f".join(first.keys[row]) for row in pairs.first]
    order = sorted(range(len(keys)), key=lambda place: derive(seed, keys[place], "other clip"))
    clusters = [first.columns["cluster"][row] for row in pairs.first]
    found = np.full(len(keys), -1)
    for place, here in enumerate(order):
        there = order[place - 1]
        if clusters[here] != clusters[there]:
            found[here] = there
    return found


def _overall(found: Sequence[Alike]) -> paper.Table:
    measures = list(found[0].values)
    rows, data = [], []
    for one in found:
        clusters = len(set(one.column("cluster")))
        counts = [len(set(one.pairs.item)), clusters, one.pairs.only_first, one.pairs.only_second]
        cells = [one.name, *map(str, counts)]
        full: dict[str, Any] = {"run": one.name}
        full |= dict(zip(("n", "clips", "missing", "extra"), counts, strict=True))
        for measure in measures:
            estimate = one.mean(one.values[measure])
            text = findings.shown(estimate, texts.bounds(measure))
            full |= findings.flat(measure, estimate, texts.bounds(measure))
            if measure == SAME_ANSWER and estimate.n:
                text += f" of {estimate.n}"
            if measure in one.floors:
                floor = one.mean(one.floors[measure]).value
                text += "" if floor is None else f"; floor {floor:.3f}"
                full[f"{measure}_floor"] = floor
            cells.append(text)
        rows.append(cells)
        data.append(full)
    columns = ["run", "items", "clips", "missing", "extra", *measures]
    note = "missing, extra: items that only the original, or only the run, has; left out of both."
    return paper.Table("runs", "Similarity with the original", columns, rows, note, data=data)


def _by_group(found: Sequence[Alike], groups: Sequence[str]) -> list[paper.Table]:
    tables = []
    for group in groups:
        rows, data = [], []
        for one in found:
            column = np.array([None if v is None else str(v) for v in one.column(group)], object)
            values = sorted({v for v in column if v is not None})
            if not 1 < len(values) <= _MOST_GROUPS:
                continue
            for value in values:
                part = column == value
                n = len(set(one.pairs.item[part]))
                estimates = {m: one.mean(v, part) for m, v in one.values.items()}
                cells = [findings.shown(e, texts.bounds(m)) for m, e in estimates.items()]
                rows.append([one.name, value, str(n), *cells])
                full: dict[str, Any] = {"run": one.name, group: value, "n": n}
                for m, e in estimates.items():
                    full |= findings.flat(m, e, texts.bounds(m))
                data.append(full)
        if rows:
            name = f"by_{paper.file_name(group)}"
            columns = ["run", group, "items", *found[0].values]
            tables.append(paper.Table(name, f"By {group}", columns, rows, data=data))
    return tables


def _changed(found: Sequence[Alike], most: int) -> paper.Table:
    """The pairs whose words changed most; before equal ones those whose label changed."""
    ranked = []
    for one in found:
        values = one.values
        for place in range(len(one.pairs.first)):
            turned = values[SAME_ANSWER][place] == 0
            key = (values[texts.WORDS][place], values[texts.EDIT][place], not turned)
            ranked.append((key, one.first.keys[one.pairs.first[place]], one, place))
    ranked.sort(key=lambda entry: (entry[0], entry[1], entry[2].name))
    rows = []
    for _, (item, variant), one, place in ranked[:most]:
        before = _text(one.first, one.pairs.first[place])
        after = _text(one.second, one.pairs.second[place])
        numbers = [f"{one.values[m][place]:.2f}" for m in (texts.WORDS, texts.EDIT)]
        rows.append(
            [one.name, f"{item} {variant}".strip(), *numbers, _short(before), _short(after)]
        )
    columns = ["run", "item", texts.WORDS, texts.EDIT, "on the original", "in the run"]
    return paper.Table("most_changed", "Most changed items", columns, rows)


def _items(found: Sequence[Alike]) -> paper.Table:
    data = []
    for one in found:
        for place, (i, j) in enumerate(zip(one.pairs.first, one.pairs.second, strict=True)):
            item, variant = one.first.keys[i]
            row: dict[str, Any] = {"run": one.name, "id": item, "variant": variant}
            row |= {
                m: None if np.isnan(v[place]) else float(v[place]) for m, v in one.values.items()
            }
            row |= {"original": _text(one.first, i), "changed": _text(one.second, j)}
            data.append(row)
    return paper.Table("items", "Items", [*data[0]], [], data=data)


def _short(text: str) -> str:
    plain = " ".join(text.split())
    return plain if len(plain) <= _SHORT else plain[: _SHORT - 1] + "…"
