"""Finding finished runs, by folder or by fingerprint, and reading what they decided."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson

from lalm_bench.errors import DataError
from lalm_bench.store import read_json

_FINGERPRINT = re.compile(r"[0-9a-f]{4,16}")
FINISHED = ("finished",)
# An incomplete run lacks the items that ended in an error; what it decided stands.
SCORED = ("finished", "incomplete")


def find(name: str, outputs: str | Path, statuses: Sequence[str] = FINISHED) -> Path:
    """Folder of the run that `name` means.

    Parameters
    ----------
    name : str
        A run's folder, or its fingerprint or the first digits of it.
    outputs : str or Path
        Where runs lie: `<outputs>/<task>/<model>/<condition>/<fingerprint>/`.
    statuses : sequence of str
        Which states of it will do.

    Raises
    ------
    DataError
        No such run, several, or one in another state.
    """
    folder = Path(name)
    if not (folder / "run.json").is_file():
        folder = _by_fingerprint(name, Path(outputs))
    state = read_json(folder / "run.json") or {}
    if state.get("status") not in statuses:
        raise DataError(
            f"{folder}: the run is {state.get('status', 'unreadable')}, not finished; run its "
            "command again"
        )
    return folder


def decisions(folder: Path) -> Iterator[dict[str, Any]]:
    """Rows of a run's `decisions.jsonl`, in the task's order."""
    try:
        with open(folder / "decisions.jsonl", "rb") as file:
            yield from map(orjson.loads, file)
    except (OSError, orjson.JSONDecodeError) as error:
        raise DataError(f"{folder / 'decisions.jsonl'}: {error}; run its command again") from error


def _by_fingerprint(name: str, outputs: Path) -> Path:
    if not _FINGERPRINT.fullmatch(name):
        raise DataError(f"{name}: no run folder (it holds no run.json) and no fingerprint")
    found = sorted(p.parent for p in outputs.glob(f"*/*/*/{name}*/run.json"))
    if not found:
        raise DataError(f"{name}: no run of this fingerprint below {outputs}")
    if len(found) > 1:
        raise DataError(f"{name}: {len(found)} runs begin so, e.g. {found[0]}; write more digits")
    return found[0]
