"""What judges said of a run's decisions: `<run>/judge/<rubric>/`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lalm_bench import runs
from lalm_bench.store import read_json

_JUDGE = re.compile(r"verdict\[(.+)\]")
_PANEL = "judge_"

Key = tuple[str, str]


@dataclass(frozen=True)
class Verdicts:
    """The verdicts of every rubric that a run was judged by, by (id, variant).

    Parameters
    ----------
    rubrics : mapping
        Rubric -> its `metrics.json`.
    analyses : mapping
        Rubric -> its `analysis.json`.
    said : mapping
        (id, variant) -> one entry a rubric: `rubric`, `panel` (field -> number) and `judges`, a
        list of `judge`, `values` (field -> number), `text`, and `malformed` where some could not be
        read.
    """

    rubrics: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    analyses: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    said: Mapping[Key, list[dict[str, Any]]] = field(default_factory=dict)

    def disagree(self, key: Key, rubric: str | None = None) -> int | None:
        """1 where two judges give a field different numbers, 0 where none do; None if not judged.

        A judge that gave no number has no opinion, and so none that differs. Of all rubrics, or of
        one.
        """
        entries = [e for e in self.said.get(key, ()) if rubric in (None, e["rubric"])]
        if not entries:
            return None
        for entry in entries:
            for name in entry["panel"]:
                given = {judge["values"].get(name) for judge in entry["judges"]} - {None}
                if len(given) > 1:
                    return 1
        return 0


def read(run: Path) -> Verdicts:
    """Everything below `<run>/judge/`; nothing where the run was not judged."""
    rubrics: dict[str, Mapping[str, Any]] = {}
    analyses: dict[str, Mapping[str, Any]] = {}
    said: dict[Key, list[dict[str, Any]]] = {}
    for folder in sorted(path.parent for path in run.glob("judge/*/decisions.jsonl")):
        rubrics[folder.name] = read_json(folder / "metrics.json") or {}
        analyses[folder.name] = read_json(folder / "analysis.json") or {}
        for row in runs.decisions(folder):
            if entry := _entry(folder.name, row):
                key = (str(row["id"]), str(row.get("variant") or ""))
                said.setdefault(key, []).append(entry)
    return Verdicts(rubrics, analyses, said)


def _entry(rubric: str, row: Mapping[str, Any]) -> dict[str, Any] | None:
    """One rubric's word on one decision; None where no judge was asked about it."""
    names = [found.group(1) for column in row if (found := _JUDGE.fullmatch(column))]
    fields = [
        column.removeprefix(_PANEL)
        for column in row
        if column.startswith(_PANEL)
        and any(f"{column.removeprefix(_PANEL)}[{name}]" in row for name in names)
    ]
    judges = [
        {
            "judge": name,
            "values": {f: row.get(f"{f}[{name}]") for f in fields},
            "text": row.get(f"verdict[{name}]") or "",
        }
        | ({"malformed": True} if row.get(f"malformed[{name}]") else {})
        for name in names
        if row.get(f"verdict[{name}]") is not None
    ]
    if not judges:
        return None
    return {"rubric": rubric, "panel": {f: row.get(_PANEL + f) for f in fields}, "judges": judges}
