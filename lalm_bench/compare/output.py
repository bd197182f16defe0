"""Paired results as files: `paired.json`, `paired.csv`, `paired.md` and the curves' figures."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lalm_bench.compare.family import Family
from lalm_bench.compare.tables import area_line, gain_rows, group_rows, notes, run_rows, summary
from lalm_bench.store import write_bytes, write_json

_NESTED = frozenset({"answers", "groups", "condition", "notes", "differs_in"})
EXPLAINED = (
    "Points are hundredths. Intervals are paired and clustered (Miller 2024, arXiv 2411.00640; "
    "Student t with clusters - 1 degrees of freedom). p: exact sign-flip test by cluster, which "
    "with one item a cluster is the exact McNemar test; Holm over all runs of this report. q: "
    "Benjamini-Hochberg within a table, for exploration."
)


def write(folder: Path, families: Sequence[Family], figures: bool = True) -> list[Path]:
    """Write everything below `folder`, which is made; return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"paired.{kind}" for kind in ("json", "csv", "md")]
    write_json(files[0], {"families": [family.json() for family in families]})
    write_bytes(files[1], _csv(families).encode())
    write_bytes(files[2], markdown(families).encode())
    if figures and any(family.curves for family in families):
        from lalm_bench.compare.figures import draw

        files += draw(folder, families)
    return files


def markdown(families: Sequence[Family]) -> str:
    """All tables as Markdown."""
    lines = ["# Paired results", "", EXPLAINED]
    for family in families:
        lines += ["", f"## {_cell(family.title)}", "", _cell(summary(family)), ""]
        lines += _table(*run_rows(family))
        lines += [f"- {_cell(note)}" for note in notes(family)]
        lines += [f"- not compared: {_cell(reason)}" for reason in family.failed]
        if family.gains:
            lines += ["", "### Audio gain", "", *_table(*gain_rows(family))]
        for curve in family.curves:
            lines += ["", _cell(area_line(curve))]
        for cell in family.cells:
            for group in cell.result.groups:
                lines += ["", f"### {_cell(cell.label)}, by {_cell(group)}", ""]
                lines += _table(*group_rows(cell, group))
    return "\n".join(lines) + "\n"


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(map(_cell, titles)) + " |", "|---" * len(titles) + "|"]
    return lines + ["| " + " | ".join(map(_cell, row)) + " |" for row in rows] + [""]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")


def _csv(families: Sequence[Family]) -> str:
    rows: list[dict[str, Any]] = []
    for family in families:
        shared = {
            "family": family.title,
            "metric": family.measure.name,
            "baseline_fingerprint": family.baseline.fingerprint,
        }
        for cell in family.cells:
            flat = cell.json()
            answers = flat["answers"]
            plain = {k: v for k, v in flat.items() if k not in _NESTED}
            rows.append(shared | plain | answers | {"notes": "; ".join(flat["notes"])})
    columns = list(dict.fromkeys(name for row in rows for name in row))
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: "" if v is None else v for k, v in row.items()} for row in rows)
    return out.getvalue()
