"""The result as a table: Markdown for files, rich for the terminal, a line of `runs.csv`."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock

from lalm_bench.store import write_bytes
from lalm_bench.types import Json

INDEX_COLUMNS = (
    "fingerprint",
    "task",
    "model",
    "condition",
    "status",
    "n",
    "n_errors",
    "metric",
    "value",
    "accuracy",
    "accuracy_cluster_low",
    "accuracy_cluster_high",
    "chance",
    "best_constant_answer",
    "invalid_rate",
    "finished",
    "folder",
)

_MOST_ROWS = 40


def number(value: object, digits: int = 4) -> str:
    """Fixed decimals for floats, a dash for None."""
    if value is None:
        return "-"
    return f"{value:.{digits}f}" if isinstance(value, float) else str(value)


def interval(values: Mapping[str, Any], name: str) -> str:
    """`[low, high]`, or a dash where there is none."""
    low, high = values.get(f"{name}_low"), values.get(f"{name}_high")
    return "-" if low is None or high is None else f"[{number(low)}, {number(high)}]"


_KINDS = ("_cluster", "_bootstrap", "", "_wilson")


def summary_rows(
    values: Mapping[str, Any],
    headline: Sequence[str] = (),
    reasons: Mapping[str, Any] | None = None,
) -> list[tuple[str, str]]:
    """The lines of the headline table.

    Parameters
    ----------
    values : mapping
    headline : sequence of str
        Values that a reader sees first; none means accuracy.
    reasons : mapping, optional
        Name of a value that is null -> why.
    """
    clusters = values.get("n_clusters")
    shown = number(values.get("n")) + ("" if clusters is None else f" in {clusters} clusters")
    rows = [("items", shown)]
    if headline:
        rows += [_headline_row(name, values, reasons or {}) for name in headline]
    else:
        rows += [
            ("accuracy", number(values.get("accuracy"))),
            ("95 % Wilson", interval(values, "accuracy_wilson")),
            ("95 % cluster-robust", interval(values, "accuracy_cluster")),
        ]
    for label, name in (
        ("chance (mean of 1/options)", "chance"),
        ("chance-corrected", "chance_corrected"),
        ("best constant answer", "best_constant_answer"),
        ("invalid answers", "invalid_rate"),
    ):
        if name not in headline and (name in values or not headline):
            rows.append((label, number(values.get(name))))
    rows.append(("errors (not scored)", number(values.get("n_errors"))))
    if values.get("length_rate"):
        rows.append(("cut at the token limit", number(values["length_rate"])))
    if values.get("n_truncated"):
        cut = f"{values['n_truncated']} ({values['truncated_s']:.1f} s not heard)"
        rows.append(("clips cut to fit the model", cut))
    if values.get("n_skipped"):
        rows.append(("skipped by the intervention", number(values["n_skipped"])))
    return rows


def _headline_row(
    name: str, values: Mapping[str, Any], reasons: Mapping[str, Any]
) -> tuple[str, str]:
    if values.get(name) is None:
        return name, f"- ({reasons[name]})" if name in reasons else "-"
    shown = [interval(values, name + kind) for kind in _KINDS]
    found = next((text for text in shown if text != "-"), None)
    if found is None:
        return name, number(values[name])
    return f"{name}, 95 %", f"{number(values[name])} {found}"


# Column title -> key of a breakdown's row, for rows that hold an accuracy.
_ACCURACY = {
    "accuracy": "accuracy",
    "95 % Wilson": "",
    "chance": "chance",
    "best constant": "best_constant_answer",
    "invalid": "invalid_rate",
}


def group_table(
    analysis: Mapping[str, Json], group: str, headline: Sequence[str] = ()
) -> tuple[list[str], list[list[str]]]:
    """Titles and cells of the values of one group; both empty where there is no such breakdown.

    Rows with an accuracy show it with its yardsticks, others show the headline values they have.
    """
    rows = [r for r in _listed(analysis.get(f"by_{group}")) if "n" in r and "value" in r]
    if not rows:
        return [], []
    if all("accuracy" in row for row in rows):
        columns = _ACCURACY
    else:
        columns = {name: name for name in headline if any(name in row for row in rows)}
        if any("invalid_rate" in row for row in rows):
            columns.setdefault("invalid", "invalid_rate")
    cells = [
        [
            str(row["value"]),
            str(row["n"]),
            *[_group_cell(row, key) for key in columns.values()],
        ]
        for row in rows
    ]
    return [group, "n", *columns], cells


def _group_cell(row: Mapping[str, Any], key: str) -> str:
    if not key:
        return interval({"_low": row.get("low"), "_high": row.get("high")}, "")
    found = interval(row, key)
    return number(row.get(key)) if found == "-" else f"{number(row.get(key))} {found}"


def _listed(value: Json) -> list[dict[str, Any]]:
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def _reasons(analysis: Mapping[str, Json]) -> dict[str, Any]:
    found = analysis.get("not_computed")
    return found if isinstance(found, dict) else {}


def markdown(
    title: str,
    values: Mapping[str, Any],
    analysis: Mapping[str, Json],
    groups: tuple[str, ...],
    headline: Sequence[str] = (),
) -> str:
    """`results_table.md`: the headline and one table a group."""
    lines = [f"# {title}", "", "| | |", "|---|---|"]
    summary = summary_rows(values, headline, _reasons(analysis))
    lines += [f"| {_cell(name)} | {_cell(value)} |" for name, value in summary]
    for group in groups:
        titles, rows = group_table(analysis, group, headline)
        if rows:
            lines += ["", "| " + " | ".join(map(_cell, titles)) + " |"]
            lines += ["|---" * len(titles) + "|"]
            lines += ["| " + " | ".join(_cell(c) for c in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def terminal(
    title: str,
    values: Mapping[str, Any],
    analysis: Mapping[str, Json],
    groups: tuple[str, ...],
    headline: Sequence[str] = (),
) -> None:
    """Print the result for people."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(width=None if sys.stdout.isatty() else 110)
    table = Table(title=Text(title), show_header=False, title_justify="left")
    for name, value in summary_rows(values, headline, _reasons(analysis)):
        # As Text, because rich would read `fense[x]` as markup.
        table.add_row(Text(name), Text(value))
    console.print(table)
    for group in groups:
        titles, rows = group_table(analysis, group, headline)
        if len(rows) < 2:
            continue
        table = Table(title_justify="left")
        table.add_column(Text(group), overflow="fold", min_width=22)
        for name in titles[1:]:
            table.add_column(Text(name), justify="right", no_wrap=True)
        for row in rows[:_MOST_ROWS]:
            table.add_row(*[Text(cell) for cell in row])
        console.print(table)
        if len(rows) > _MOST_ROWS:
            console.print(f"... {len(rows) - _MOST_ROWS} more rows in results_table.md")


def index(outputs: Path, row: Mapping[str, Any]) -> None:
    """Put this run's line into `runs.csv`: one line a fingerprint, sorted, under a lock."""
    target = outputs / "runs.csv"
    with FileLock(outputs / ".runs.csv.lock"):
        rows = {}
        if target.exists():
            with open(target, newline="", encoding="utf-8") as file:
                rows = {r["fingerprint"]: r for r in csv.DictReader(file)}
        rows[str(row["fingerprint"])] = {
            c: "" if row.get(c) is None else row[c] for c in INDEX_COLUMNS
        }
        out = io.StringIO()
        writer = csv.DictWriter(out, INDEX_COLUMNS, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        key = ("task", "model", "condition", "fingerprint")
        writer.writerows(sorted(rows.values(), key=lambda r: [str(r.get(k, "")) for k in key]))
        write_bytes(target, out.getvalue().encode())
