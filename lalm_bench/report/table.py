"""The result as a table: Markdown for files, rich for the terminal, a line of `runs.csv`."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Mapping
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
    "accuracy",
    "accuracy_cluster_low",
    "accuracy_cluster_high",
    "chance",
    "best_constant_answer",
    "invalid_rate",
    "finished",
    "folder",
)


def number(value: object, digits: int = 4) -> str:
    """Fixed decimals for floats, a dash for None."""
    if value is None:
        return "-"
    return f"{value:.{digits}f}" if isinstance(value, float) else str(value)


def interval(values: Mapping[str, Any], name: str) -> str:
    """`[low, high]`, or a dash where there is none."""
    low, high = values.get(f"{name}_low"), values.get(f"{name}_high")
    return "-" if low is None or high is None else f"[{number(low)}, {number(high)}]"


def summary_rows(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The lines of the headline table."""
    rows = [
        ("items", f"{values.get('n')} in {values.get('n_clusters')} clusters"),
        ("accuracy", number(values.get("accuracy"))),
        ("95 % Wilson", interval(values, "accuracy_wilson")),
        ("95 % cluster-robust", interval(values, "accuracy_cluster")),
        ("chance (mean of 1/options)", number(values.get("chance"))),
        ("chance-corrected", number(values.get("chance_corrected"))),
        ("best constant answer", number(values.get("best_constant_answer"))),
        ("invalid answers", number(values.get("invalid_rate"))),
        ("errors (not scored)", number(values.get("n_errors"))),
    ]
    if values.get("length_rate"):
        rows.append(("cut at the token limit", number(values["length_rate"])))
    if values.get("n_truncated"):
        cut = f"{values['n_truncated']} ({values['truncated_s']:.1f} s not heard)"
        rows.append(("clips cut to fit the model", cut))
    if values.get("n_skipped"):
        rows.append(("skipped by the intervention", number(values["n_skipped"])))
    return rows


def group_rows(analysis: Mapping[str, Json], group: str) -> list[list[str]]:
    """Accuracy by the values of one group."""
    rows = analysis.get(f"by_{group}")
    return [
        [
            str(row["value"]),
            str(row["n"]),
            number(row["accuracy"]),
            f"[{number(row['low'])}, {number(row['high'])}]",
            number(row["chance"]),
            number(row["best_constant_answer"]),
            number(row["invalid_rate"]),
        ]
        for row in (rows if isinstance(rows, list) else [])
        if isinstance(row, dict)
    ]


GROUP_HEADER = ["n", "accuracy", "95 % Wilson", "chance", "best constant", "invalid"]


def markdown(
    title: str, values: Mapping[str, Any], analysis: Mapping[str, Json], groups: tuple[str, ...]
) -> str:
    """`results_table.md`: the headline and one table a group."""
    lines = [f"# {title}", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in summary_rows(values)]
    for group in groups:
        rows = group_rows(analysis, group)
        if rows:
            lines += ["", "| " + " | ".join([group, *GROUP_HEADER]) + " |"]
            lines += ["|---" * (len(GROUP_HEADER) + 1) + "|"]
            lines += ["| " + " | ".join(_cell(c) for c in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def terminal(
    title: str, values: Mapping[str, Any], analysis: Mapping[str, Json], groups: tuple[str, ...]
) -> None:
    """Print the result for people."""
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 110)
    table = Table(title=title, show_header=False, title_justify="left")
    for name, value in summary_rows(values):
        table.add_row(name, value)
    console.print(table)
    for group in groups:
        rows = group_rows(analysis, group)
        if len(rows) < 2:
            continue
        table = Table(title_justify="left")
        table.add_column(group, overflow="fold", min_width=22)
        for name in GROUP_HEADER:
            table.add_column(name, justify="right", no_wrap=True)
        for row in rows[:40]:
            table.add_row(*row)
        console.print(table)


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
