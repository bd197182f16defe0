"""Rows of the paired tables, and the tables on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from lalm_bench.compare.curves import Curve
from lalm_bench.compare.family import Compared, Family
from lalm_bench.stats import items_needed

_WIDTH = 110
_DELTA = "delta, points [95 %]"

Rows = tuple[list[str], list[list[str]]]


def summary(family: Family) -> str:
    """One line on the baseline."""
    baseline, value = family.baseline, number(family.value)
    chance = "" if family.chance is None else f", chance {number(family.chance)}"
    return f"baseline {baseline.fingerprint}: {family.measure.name} {value}{chance}"


def run_rows(family: Family) -> Rows:
    """One row a run: value, difference, tests, and what became of the answers."""
    rows = []
    for cell in family.cells:
        found, answers = cell.result, cell.result.answers
        rows.append(
            [
                cell.label,
                str(found.n),
                number(found.value),
                change(found.delta, found.low, found.high),
                probability(found.p_holm),
                _same(answers),
                count(answers.get("right_to_wrong")),
                count(answers.get("wrong_to_right")),
                count(answers.get("label_to_null")),
                "-"
                if found.smallest_difference is None
                else f"{100 * found.smallest_difference:.1f}",
            ]
        )
    answered = ["same, of valid", "R>W", "W>R", "L>null"]
    return ["run", "n", family.measure.name, _DELTA, "p Holm", *answered, "shows"], rows


def notes(family: Family) -> list[str]:
    """Each note once, with the runs that it is about."""
    about: dict[str, list[str]] = {}
    for cell in family.cells:
        for note in cell.notes:
            about.setdefault(note, []).append(cell.label)
    every = len(family.cells)
    return [
        f"{'all runs' if 1 < len(names) == every else ', '.join(names)}: {note}"
        for note, names in about.items()
    ]


def group_rows(cell: Compared, group: str) -> Rows:
    """One row a value of a group."""
    rows = [
        [
            str(row["value"]),
            str(row["n"]),
            number(row["baseline"]),
            number(row["run"]),
            change(row["delta"], row["low"], row["high"]),
            probability(row["p"]),
            probability(row["q"]),
            count(row.get("right_to_wrong")),
            count(row.get("wrong_to_right")),
        ]
        for row in cell.result.groups[group]
    ]
    return [group, "n", "baseline", "run", _DELTA, "p", "q", "R>W", "W>R"], rows


def gain_rows(family: Family, every: bool = True) -> Rows:
    """One row a run and control, or of the baseline alone."""
    rows = [
        [
            gain["run"],
            gain["control"],
            str(gain["n"]),
            change(gain["gain"], gain["low"], gain["high"]),
            probability(gain["p"]),
        ]
        for gain in family.gains
        if every or gain["run"] == "baseline"
    ]
    return ["run", "control", "n", "audio gain, points [95 %]", "p"], rows


def power_rows(family: Family, points: Sequence[float]) -> Rows:
    """Items, and clusters, at which differences of so many points are found at 80 %."""
    rows = []
    for cell in family.cells:
        found = cell.result
        row = [cell.label, f"{found.n} in {found.clusters}"]
        for point in points:
            needed = items_needed(found.stderr, found.n, point / 100) if found.stderr else None
            clusters = needed and -(-needed * found.clusters // found.n)
            row.append("-" if needed is None else f"{needed} in {clusters}")
        rows.append(row)
    return ["run", "items in clusters", *[f"for {point:g} points" for point in points]], rows


def show(families: Sequence[Family], groups: bool = False, power: Sequence[float] = ()) -> None:
    """Print the tables for people; `groups` adds those by hop, label and the like."""
    from rich.console import Console
    from rich.text import Text

    console = Console(width=None if sys.stdout.isatty() else _WIDTH, highlight=False)
    for family in families:
        console.print()
        title = f"{family.title} · {summary(family)}"
        if family.cells:
            _print(console, title, *run_rows(family))
        else:
            console.print(Text(title))
        for note in notes(family):
            console.print(Text(f"  {note}"))
        for reason in family.failed:
            console.print(Text(f"  not compared: {reason}"), soft_wrap=True)
        if family.gains:
            _print(console, "audio gain", *gain_rows(family, every=groups))
        for curve in family.curves:
            console.print(Text(f"  {area_line(curve)}"))
        if power:
            _print(console, "power 80 %, two-sided 5 %", *power_rows(family, power))
        for cell in family.cells if groups else ():
            for group in cell.result.groups:
                _print(console, f"{cell.label}, by {group}", *group_rows(cell, group))


def area_line(curve: Curve) -> str:
    """The area below a curve over the range of its levels, and its change."""
    text = f"area over {curve.name} {curve.setting}: {curve.area:.4f}"
    if curve.area_delta is None:
        return text
    ends = change(curve.area_delta, curve.area_low, curve.area_high)
    return f"{text}, {ends} points from the baseline"


def _print(console: Any, title: str, titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title), title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for place, name in enumerate(titles):
        # As Text, because rich would read `accuracy[x]` as markup.
        justify: Any = "right" if place else "left"
        table.add_column(Text(name), justify=justify, no_wrap=bool(place), overflow="fold")
    for row in rows:
        table.add_row(*[Text(cell) for cell in row])
    console.print(table)


def number(value: float | None) -> str:
    """Four decimals, or a dash."""
    return "-" if value is None else f"{value:.4f}"


def change(delta: float | None, low: float | None, high: float | None) -> str:
    """A difference in points with its interval."""
    if delta is None:
        return "-"
    if low is None or high is None:
        return f"{100 * delta:+.1f}"
    return f"{100 * delta:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"


def probability(p: float | None) -> str:
    """Three decimals; below that, its order of magnitude."""
    if p is None:
        return "-"
    return f"{p:.3f}" if p >= 0.0005 else f"{p:.0e}" if p else "0"


def _same(answers: Mapping[str, Any]) -> str:
    """Share of equal answers, and of how many: of few it says little."""
    value = answers.get("consistency")
    return "-" if value is None else f"{100 * value:.1f}% of {answers['n_both_valid']:g}"


def count(value: float | None) -> str:
    """A number of items; fractions where an item is asked in several variants."""
    return "-" if value is None else f"{value:g}"
