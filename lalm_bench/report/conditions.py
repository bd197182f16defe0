"""The table of a report that says how each of its runs was made."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from lalm_bench.compare.loaded import Run
from lalm_bench.compare.settings import condition
from lalm_bench.report.paper import Table

_COLUMNS = (
    *("run", "model", "weights", "condition", "protocol", "generation", "seed", "limit"),
    *("status", "finished, UTC", "commit", "fingerprint"),
)
_NOTE = (
    "Weights: a checkpoint's name, or the digest of a folder's content. A commit with * had "
    "changes that were not committed."
)


def table(keys: Mapping[str, str], names: Mapping[str, str], runs: Sequence[Run]) -> Table:
    """One row a run.

    Parameters
    ----------
    keys, names : mapping
        Fingerprint -> key of the run on the page, and what it is called.
    runs : sequence of Run
    """
    rows = [[names[run.fingerprint], *_row(run)] for run in runs]
    about = [keys[run.fingerprint] for run in runs]
    return Table("runs", "How the runs were made", _COLUMNS, rows, _NOTE, about)


def _row(run: Run) -> list[str]:
    config, state = run.config, run.state
    protocol = config["task"].get("protocol") or {}
    own = {k: v for k, v in condition(run).items() if not k.endswith(".name")}
    parts = [str(config[part]["name"]) for part in ("intervention", "pruning")]
    settings = " ".join(f"{k.partition('.')[2]}={_short(v)}" for k, v in own.items())
    named = " + ".join(name for name in parts if name != "none") or "baseline"
    limit = config.get("limit")
    return [
        str(config["model"]["name"]),
        _weights(config["model"], state.get("model") or {}),
        f"{named} {settings}".strip(),
        str(protocol.get("name", "-")),
        " ".join(f"{k}={_short(v)}" for k, v in config["generation"].items() if v is not None),
        str(config.get("seed", "-")),
        "all items" if limit is None else str(limit),
        str(state.get("status", "-")),
        str(state.get("finished") or "-")[:16].replace("T", " "),
        _commit(state.get("git") or {}),
        run.fingerprint,
    ]


def _weights(model: Mapping[str, Any], identity: Mapping[str, Any]) -> str:
    known = identity.get("weights")
    content = known.get("content") if isinstance(known, Mapping) else None
    # Of a folder its last part: what stands above it is the machine's.
    path = model.get("path")
    name = "" if not path else PurePath(str(path)).name if content else str(path)
    return f"{name} {str(content)[:8]}" if content else name or "-"


def _commit(git: Mapping[str, Any]) -> str:
    if not git.get("commit"):
        return "-"
    return str(git["commit"])[:8] + ("" if git.get("clean", True) else "*")


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else json.dumps(value, default=str)
