"""From verdicts to a judged run: its decisions with the judges' columns, its metrics, its files."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from lalm_bench import provenance
from lalm_bench.identity import canonical
from lalm_bench.judges.fields import BINARY, Field
from lalm_bench.judges.judge import Judge
from lalm_bench.judges.passes import Verdict, as_number
from lalm_bench.report import table
from lalm_bench.store import write_bytes, write_json
from lalm_bench.types import Json, Metrics, Task

if TYPE_CHECKING:
    import pandas as pd

# Judge -> its verdicts, one a row (None: not judged).
Verdicts = Mapping[str, Sequence[Verdict | None]]


@dataclass(frozen=True)
class Judged:
    """A run as its judges see it.

    Parameters
    ----------
    folder : Path
        `<run>/judge/<rubric>/`.
    run : mapping
        The run's `run.json`.
    rows : list of dict
        All its decisions, in order.
    """

    folder: Path
    run: Mapping[str, Any]
    rows: list[dict[str, Any]]
    columns: dict[str, None] = field(default_factory=dict)
    unscored: set[int] = field(default_factory=set)

    def add(self, judge: Judge, verdicts: Verdicts) -> None:
        """Give every row the columns of each judge, and the panel's."""
        rubric = judge.rubric
        for place, row in enumerate(self.rows):
            concerned = rubric.judges(row)
            said = {name: found[place] for name, found in verdicts.items()}
            if concerned and not rubric.asks(row):
                values = {f.name: rubric.gated.get(f.name) for f in rubric.fields}
                said = dict.fromkeys(verdicts, Verdict(values, ""))
            for name, verdict in said.items():
                own: dict[str, Json] = {f"{f.name}[{name}]": _of(verdict, f) for f in rubric.fields}
                own[f"malformed[{name}]"] = None if verdict is None else float(verdict.malformed)
                row |= own
                row[f"verdict[{name}]"] = None if verdict is None else verdict.text
                self.columns.update(dict.fromkeys(own))
            given = [verdict for verdict in said.values() if verdict is not None]
            for f in rubric.fields:
                known = [v for verdict in given if (v := verdict.values[f.name]) is not None]
                row[f"judge_{f.name}"] = f.combine(known)
                self.columns[f"judge_{f.name}"] = None
            if rubric.fills and concerned and not (given and self._fill(judge, row)):
                self.unscored.add(place)

    def _fill(self, judge: Judge, row: dict[str, Any]) -> bool:
        """Put the panel's opinion where the task's own metrics look for theirs.

        False where there is none in the place of a number that the task has without judges.
        """
        fields, whole = {f.name: f for f in judge.rubric.fields}, True
        for column, name in judge.rubric.fills.items():
            value = row[f"judge_{name}"]
            if value is None:
                value = judge.rubric.malformed.get(name)
            elif fields[name].scale == BINARY:
                value = float(value > 0.5)  # the majority; a tie is not enough
            whole = whole and (value is not None or row.get(column) is None)
            row[column] = value
            self.columns[column] = None
        return whole

    def frame(self, groups: Sequence[str]) -> pd.DataFrame:
        """The rows as a table of what metrics read: numbers, labels, groups."""
        import pandas as pd

        plain = {
            name: [row.get(name) for row in self.rows]
            for name in dict.fromkeys(key for row in self.rows for key in row)
        }
        kept = {
            name: [as_number(v) if name in self.columns else v for v in values]
            for name, values in plain.items()
            if name in groups or all(_scalar(v) for v in values)
        }
        return pd.DataFrame(kept)

    def write(
        self, judge: Judge, metrics: Metrics, state: Mapping[str, Any], groups: tuple[str, ...]
    ) -> None:
        """All files but the verdicts."""
        folder, title = self.folder, self.title(judge)
        lines = [orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in self.rows]
        write_bytes(folder / "decisions.jsonl", b"".join(lines))
        stored = {"headline": list(metrics.headline), "metrics": metrics.values}
        write_json(folder / "metrics.json", stored)
        write_json(folder / "analysis.json", metrics.analysis)
        text = table.markdown(title, metrics.values, metrics.analysis, groups, metrics.headline)
        write_bytes(folder / "results_table.md", text.encode())
        write_json(folder / "run.json", {**self.run, **state, "judged": provenance.now()})

    def title(self, judge: Judge) -> str:
        """For people."""
        config = self.run["config"]
        words = (config["task"]["name"], config["model"]["name"], self.run["condition"])
        return " · ".join((*words, f"judged by {judge.name}"))


def metrics_of(judged: Judged, judge: Judge, judges: Sequence[str], task: Task) -> Metrics:
    """The panel's numbers, and the task's own with the panel's opinion in their place."""
    from lalm_bench.judges.summary import summarise

    frame = judged.frame((*task.groups, "cluster"))
    rubric = judge.rubric
    concerned = frame[[rubric.judges(row) for row in judged.rows]]
    panel = summarise(concerned, judges, rubric.fields, task.groups)
    if not rubric.rescore:
        return panel
    # A decision without a verdict keeps the number that the task gave it without a judge, and the
    # two must not be mixed.
    own = task.metrics(frame[[place not in judged.unscored for place in range(len(frame))]])
    headline = own.headline or ("accuracy",)
    return Metrics(
        {**panel.values, **own.values},
        {**panel.analysis, **own.analysis},
        (*headline, *[name for name in panel.headline if name not in headline]),
    )


def rubric_digest(config: Mapping[str, Any]) -> str:
    """Sixteen hex digits of a rubric's settings."""
    import hashlib

    return hashlib.blake2b(canonical(config), digest_size=8).hexdigest()


def _of(verdict: Verdict | None, f: Field) -> float | None:
    return None if verdict is None else verdict.values[f.name]


def _scalar(value: object) -> bool:
    return value is None or isinstance(value, bool | int | float | str)


def unfinished(rows: Sequence[Mapping[str, Any]], found: Sequence[Verdict | None]) -> Iterator[str]:
    """Names of the rows without a verdict."""
    for row, verdict in zip(rows, found, strict=True):
        if verdict is None:
            yield " ".join(str(row[k]) for k in ("id", "variant") if row.get(k))


def finite(value: float | None) -> float | None:
    """None for NaN."""
    return None if value is None or math.isnan(value) else value
