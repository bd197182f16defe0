"""A run as it lies on disk, and its decisions as columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import orjson

from lalm_bench import runs
from lalm_bench.errors import DataError
from lalm_bench.store import read_json

# Read for every comparison; a measure names what else it needs.
COLUMNS = ("id", "variant", "cluster", "label", "invalid", "target", "n_options")


@dataclass(frozen=True)
class Run:
    """One finished run.

    Parameters
    ----------
    folder : Path
    state : mapping
        Its `run.json`.
    metrics : mapping
        Its `metrics.json`.
    """

    folder: Path
    state: Mapping[str, Any]
    metrics: Mapping[str, Any]

    @property
    def config(self) -> Mapping[str, Any]:
        """Resolved configuration."""
        config: Mapping[str, Any] = self.state["config"]
        return config

    @property
    def fingerprint(self) -> str:
        """Name of its conditions."""
        return str(self.state["fingerprint"])

    @property
    def headline(self) -> tuple[str, ...]:
        """What its task shows first."""
        return tuple(self.metrics.get("headline") or ("accuracy",))

    @cached_property
    def first_row(self) -> dict[str, Any]:
        """Its first decision, which tells what per-item values there are."""
        row = next(runs.decisions(self.folder), None)
        if row is None:
            raise DataError(f"{self.folder}: the run decided no item; there is nothing to pair")
        return row


def load(folder: Path) -> Run:
    """What is known of a run without reading its decisions; DataError when a file is missing."""
    state, metrics = (read_json(folder / name) for name in ("run.json", "metrics.json"))
    for name, content in (("run.json", state), ("metrics.json", metrics)):
        if not isinstance(content, dict):
            raise DataError(f"{folder / name}: missing or no run's; run its command again")
    return Run(folder, state, metrics)


@dataclass(frozen=True)
class Table:
    """Decisions as columns, in the task's order.

    Parameters
    ----------
    run : Run
    keys : list of (id, variant)
    columns : mapping of name to list
    signatures : list of int
        Equal where question, options and target are.
    """

    run: Run
    keys: list[tuple[str, str]]
    columns: dict[str, list[Any]]
    signatures: list[int]


def read(run: Run, names: Iterable[str] = ()) -> Table:
    """The columns that every comparison needs, and `names`; None where a row lacks one.

    Raises
    ------
    DataError
        Unreadable, or two decisions on one request.
    """
    columns: dict[str, list[Any]] = {name: [] for name in dict.fromkeys((*COLUMNS, *names))}
    appends = [(name, column.append) for name, column in columns.items()]
    signatures = []
    for row in runs.decisions(run.folder):
        get = row.get
        for name, append in appends:
            append(get(name))
        signatures.append(hash(_asked(row)))
    keys = list(zip(columns["id"], columns["variant"], strict=True))
    if len(set(keys)) < len(keys):
        raise DataError(f"{run.folder}: two decisions on one request; run its command again")
    return Table(run, keys, columns, signatures)


def what_differs(first: Run, second: Run, key: tuple[str, str]) -> str:
    """Which of question, options and target two runs do not share on one item."""
    rows = []
    for run in (first, second):
        found = (r for r in runs.decisions(run.folder) if (r["id"], r["variant"]) == key)
        rows.append(next(found))
    for name in ("question", "options", "target"):
        a, b = (row.get(name) for row in rows)
        if a != b or (isinstance(a, dict) and isinstance(b, dict) and [*a] != [*b]):
            return f"{name}: {_short(a)} and {_short(b)}"
    return "what was asked"


def _asked(row: Mapping[str, Any]) -> tuple[Any, bytes]:
    return row.get("question"), orjson.dumps([row.get("options"), row.get("target")])


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    text = " ".join(text.split())
    return repr(text if len(text) <= 60 else text[:57] + "...")
