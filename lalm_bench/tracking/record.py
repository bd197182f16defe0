"""What a run folder tells a tracker. Nothing else is asked, so it can be told at any time."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import orjson

from lalm_bench.provenance import public
from lalm_bench.store import read_json, write_json
from lalm_bench.tracking.dead import KILLED
from lalm_bench.tracking.params import legal, params
from lalm_bench.types import Json

if TYPE_CHECKING:
    from lalm_bench.tracking.base import Results, Tracking

NOTE = "mlflow.json"
# Status in run.json -> status in MLflow, where an unfinished run is one that may be continued.
_ENDS = {"finished": "FINISHED", "incomplete": "FINISHED", "failed": "FAILED", "stopped": "KILLED"}
# What a person compares is sent; what the next start needs stays.
_KEPT_HERE = ("responses", "inputs.json", NOTE)
_TABLE_ROWS = 5000
_KILLED = re.compile(rf"(shard \S+: )?{KILLED}\b")


@dataclass(frozen=True)
class Record:
    """A run as its folder has it at one moment.

    Parameters
    ----------
    folder : Path
    state : mapping
        Content of `run.json`.
    note : mapping
        Content of `mlflow.json`: where the run is tracked, and its tags `sweep` and `slurm_job`,
        which no other file holds.
    """

    folder: Path
    state: Mapping[str, Any]
    note: Mapping[str, Any]

    @classmethod
    def read(cls, folder: Path) -> Record | None:
        """The record, or None where no run lies; StoreError when a file is damaged."""
        state = read_json(folder / "run.json")
        if not isinstance(state, dict) or not {"fingerprint", "config"} <= state.keys():
            return None
        return cls(folder, state, read_json(folder / NOTE) or {})

    @property
    def fingerprint(self) -> str:
        """Of the run."""
        return str(self.state["fingerprint"])

    @property
    def config(self) -> dict[str, Any]:
        """Of the latest start."""
        config: dict[str, Any] = self.state["config"]
        return config

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.config['task']['name']} {self.config['model']['name']} {self.condition}"

    @property
    def condition(self) -> str:
        """Name of intervention and pruning."""
        return str(self.state.get("condition") or "baseline")

    @property
    def ended(self) -> str:
        """MLflow's word for how it ended: FINISHED, FAILED, KILLED, or RUNNING."""
        return _ENDS.get(str(self.state.get("status")), "RUNNING")

    def moment(self, which: str) -> int | None:
        """`started` or `finished`, ms since 1970; None when it is not known."""
        text = self.state.get(which)
        return int(datetime.fromisoformat(text).timestamp() * 1000) if text else None

    def params(self) -> dict[str, str]:
        """See `lalm_bench.tracking.params`."""
        return params(self.config)

    def tags(self) -> dict[str, str]:
        """What may change from start to start, and what a reader filters by."""
        error = str(self.state.get("error") or "")
        git, host = self.state.get("git") or {}, self.state.get("host") or {}
        tags = {
            "fingerprint": self.fingerprint,
            "folder": str(_from_here(self.folder)),
            "task": self.config["task"]["name"],
            "model": self.config["model"]["name"],
            "condition": self.condition,
            "status": KILLED if _KILLED.match(error) else self.state.get("status"),
            "error": error[:500] or None,
            "judge": (self.config.get("judge") or {}).get("name"),
            "git.commit": git.get("commit"),
            "git.dirty": None if "clean" not in git else str(not git["clean"]).lower(),
            "mlflow.source.git.commit": git.get("commit"),
            "host": host.get("node"),
            "slurm_job": self.note.get("slurm_job"),
            "sweep": ",".join(self.sweeps()),
        }
        return {k: public(str(v)) for k, v in tags.items() if v}

    def sweeps(self) -> list[str]:
        """Names of the sweeps that the run is a cell of, the earliest first."""
        latest = (self.config.get("tracking") or {}).get("sweep")
        return joined(self.note.get("sweep"), latest)

    def metrics(self, results: Sequence[Results] = ()) -> dict[str, float]:
        """Values, breakdowns and timing of the run, and of its judges under their rubric's name."""
        numbers: dict[str, Json] = {}
        for file in (self.folder / "metrics.json", *self.folder.glob("judge/*/metrics.json")):
            stored = read_json(file) or {}
            prefix = "" if file.parent == self.folder else f"{file.parent.name}/"
            numbers |= {f"{prefix}{k}": v for k, v in (stored.get("metrics") or {}).items()}
            timing = stored.get("timing") or {}
            numbers |= {f"{prefix}timing/{k}": v for k, v in timing.items()}
        numbers |= _breakdowns(read_json(self.folder / "analysis.json") or {})
        for result in results:
            numbers |= {**result.values, **_breakdowns(result.analysis)}
        return {
            legal(k): float(v)
            for k, v in numbers.items()
            if isinstance(v, int | float) and not isinstance(v, bool)
        }

    def files(self) -> list[Path]:
        """What is kept as artifacts: decisions, metrics, table, figures, judges' files."""
        inside = sorted(p for p in self.folder.rglob("*") if p.is_file())
        return [p for p in inside if not _stays(p.relative_to(self.folder))]

    def table(self) -> dict[str, Any] | None:
        """The first decisions, in the form of MLflow's own tables; None where there are none."""
        rows: list[dict[str, Any]] = []
        try:
            with open(self.folder / "decisions.jsonl", "rb") as file:
                for line in file:
                    rows.append(orjson.loads(line))
                    if len(rows) == _TABLE_ROWS:
                        break
        except FileNotFoundError:
            return None
        columns = list(dict.fromkeys(name for row in rows for name in row))
        return {"columns": columns, "data": [[row.get(c) for c in columns] for row in rows]}

    def stamp(self) -> str:
        """Digest of what would be sent: equal stamps, nothing to send."""
        stats = ((p, p.stat()) for p in self.files())
        seen = [[str(p.relative_to(self.folder)), s.st_size, s.st_mtime_ns] for p, s in stats]
        tags = {k: v for k, v in self.tags().items() if k != "sweep"}  # it grows by itself
        payload = orjson.dumps([seen, self.params(), tags, self.ended])
        return hashlib.blake2b(payload, digest_size=8).hexdigest()

    def noted(self, **facts: Any) -> Record:
        """Keep facts in `mlflow.json`; the record that knows them."""
        note = {**self.note, **{k: v for k, v in facts.items() if v is not None}}
        if note != self.note:
            write_json(self.folder / NOTE, note)
        return Record(self.folder, self.state, note)

    def tracking(self) -> Tracking | None:
        """The tracker that the run's own configuration names; None where it names none."""
        from lalm_bench.tracking.mlflow import MlflowTracking

        node = self.config.get("tracking") or {}
        if node.get("name") != MlflowTracking.name:
            return None
        known = MlflowTracking.__dataclass_fields__.keys() & node.keys()
        return MlflowTracking(**{k: node[k] for k in known})


def joined(*names: str | None) -> list[str]:
    """Sweeps' names out of comma-separated lists and paths, each once."""
    parts = [PurePath(part).name for text in names if text for part in text.split(",")]
    return list(dict.fromkeys(part for part in parts if part))


def _from_here(folder: Path) -> Path:
    """As a command would name it: a sweep and its cells say the same place."""
    whole = folder.absolute()
    return whole.relative_to(Path.cwd()) if whole.is_relative_to(Path.cwd()) else folder


def _stays(file: PurePath) -> bool:
    return any(part.startswith(".") for part in file.parts) or file.name.startswith(_KEPT_HERE)


def _breakdowns(analysis: Mapping[str, Json]) -> dict[str, Json]:
    from lalm_bench.metrics.multiple_choice import flatten

    columns = [name.removeprefix("by_") for name in analysis if name.startswith("by_")]
    return dict(flatten(dict(analysis), columns))
