"""What pruning costs and what it saves: one row a run, as Markdown, CSV, JSON and figures."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from lalm_bench.compare.groups import Report
from lalm_bench.compare.loaded import Run, load
from lalm_bench.compare.pairs import Result
from lalm_bench.store import write_bytes, write_json

PREFILL, EVICTION, NONE = "prefill", "eviction", "none"
_TIMES = ("encoder_ms", "prefill_ms", "decode_ms", "total_ms", "total_p90_ms")
_SAVED = ("speedup_prefill", "theory", "speedup_decode", "speedup_total", "peak_bytes")
_FACTS = ("audio_tokens", "audio_tokens_kept", "kv_bytes")
_COLUMNS = (
    *("task", "method", "ratio", "headline", "change, points [95 %]", "audio tokens kept"),
    *("KV cache, MiB", "prefill, ms", "decode, ms", "all, ms", "prefill faster", "by operations"),
    *("all faster", "peak, GiB"),
)
EXPLAINED = (
    "Changes are paired, item by item, with the unpruned run. Times are medians of the same items "
    "under all conditions in turns, one at a time, nothing cached (`timing/`); *faster* is the "
    "median of times by which a turn beat the unpruned one of its round, *by operations* how many "
    "times fewer operations the prefill needs. All is encoder, prefill and decoding."
)
_KINDS = {
    PREFILL: "Pruned in the prefill",
    EVICTION: "Evicted after the prefill, which saves none of it",
}


def write(
    folder: Path,
    title: str,
    finished: Sequence[Path],
    report: Report,
    timings: Mapping[str, Mapping[str, Any]],
    *,
    figures: bool = True,
) -> list[Path]:
    """Write `pruning.{md,csv,json}` and a figure a task below `folder`; return the files.

    Parameters
    ----------
    finished : sequence of Path
        Folders of runs; those with an intervention are left out.
    report : Report
        The same runs, paired.
    timings : mapping
        Folder -> `study_timing.summaries`; may lack some or all.
    """
    found = rows(finished, report, timings)
    files = [folder / f"pruning.{kind}" for kind in ("md", "csv", "json")]
    write_bytes(files[0], markdown(title, found).encode())
    write_bytes(files[1], _csv(found).encode())
    write_json(files[2], {"title": title, "rows": found})
    if figures and any(row["total_ms"] is not None for row in found):
        from lalm_bench.tradeoff_figure import draw

        files += draw(folder, title, found)
    return files


def rows(
    finished: Sequence[Path], report: Report, timings: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """One row a run without intervention: conditions, score, change, tokens, times.

    Numbers are None where nothing was paired, timed or noted.
    """
    paired: dict[Path, tuple[str, Result | None, float | None]] = {}
    for family in report.families:
        name = family.measure.name
        paired[family.baseline.folder.absolute()] = (name, None, family.value)
        for cell in family.cells:
            paired[cell.run.folder.absolute()] = (name, cell.result, cell.result.value)
    found = []
    for folder in finished:
        run = load(folder)
        if run.config["intervention"]["name"] == NONE:
            times = timings.get(str(folder), {})
            found.append(_row(run, paired.get(folder.absolute()), times))
    return found


def _row(
    run: Run, paired: tuple[str, Result | None, float | None] | None, times: Mapping[str, Any]
) -> dict[str, Any]:
    first = run.headline[0]
    name, result, value = paired or (first, None, run.metrics["metrics"].get(first))
    pruning = run.config["pruning"]
    return {
        "task": run.config["task"]["name"],
        "model": run.config["model"]["name"],
        "method": pruning["name"],
        "kind": _kind(pruning),
        "ratio": pruning.get("ratio", 0.0),
        "layer": pruning.get("layer"),
        "count": pruning.get("count"),
        "metric": name,
        "value": value,
        **{k: getattr(result, k) if result else None for k in ("n", "delta", "low", "high", "p")},
        **_facts(run.folder),
        **{name: times.get(name) for name in (*_TIMES, *_SAVED)},
        "fingerprint": run.fingerprint,
    }


def _kind(pruning: Mapping[str, Any]) -> str:
    if pruning["name"] == NONE:
        return NONE
    return EVICTION if ".eviction." in str(pruning["_target_"]) else PREFILL


def _facts(folder: Path) -> dict[str, float | None]:
    """Means over a run's answers of the tokens and bytes that they note."""
    noted: dict[str, dict[str, Any]] = {}
    with open(folder / "responses.jsonl", "rb") as file:
        for line in file:
            row = orjson.loads(line)
            if row["finish"] != "error":
                noted[row["key"]] = row.get("usage") or {}
    found: dict[str, float | None] = {}
    for name in _FACTS:
        values = [usage[name] for usage in noted.values() if name in usage]
        found[name] = sum(values) / len(values) if values else None
    return found


def markdown(title: str, found: Sequence[Mapping[str, Any]]) -> str:
    """The two kinds apart, each with the unpruned runs it is compared with."""
    lines = [f"# {_cell(title)}", "", EXPLAINED]
    for kind, heading in _KINDS.items():
        tasks = {row["task"] for row in found if row["kind"] == kind}
        if not tasks:
            continue
        lines += ["", f"## {heading}", "", "| " + " | ".join(_COLUMNS) + " |"]
        lines.append("|---" * len(_COLUMNS) + "|")
        shown = [r for r in found if r["task"] in tasks and r["kind"] in (kind, NONE)]
        lines += ["| " + " | ".join(map(_cell, _shown(row))) + " |" for row in shown]
    return "\n".join(lines) + "\n"


def _shown(row: Mapping[str, Any]) -> list[str]:
    change = "-" if row["delta"] is None else f"{100 * row['delta']:+.1f}"
    if row["low"] is not None and row["high"] is not None:
        change += f" [{100 * row['low']:+.1f}, {100 * row['high']:+.1f}]"
    kept, audio = row["audio_tokens_kept"], row["audio_tokens"]
    if kept is None and row["kind"] == NONE:
        kept = audio
    tokens = "-" if kept is None else f"{kept:.0f} of {audio:.0f}"
    return [
        str(row["task"]),
        str(row["method"]),
        "-" if row["kind"] == NONE else f"{row['ratio']:g}",
        f"{row['metric']} {_number(row['value'], 4)}",
        change,
        tokens,
        _number(row["kv_bytes"], 1, 2**20),
        _number(row["prefill_ms"], 1),
        _number(row["decode_ms"], 1),
        _number(row["total_ms"], 1),
        _number(row["speedup_prefill"], 2),
        _number(row["theory"], 2),
        _number(row["speedup_total"], 2),
        _number(row["peak_bytes"], 2, 2**30),
    ]


def _number(value: float | None, digits: int, unit: float = 1.0) -> str:
    return "-" if value is None else f"{value / unit:.{digits}f}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")


def _csv(found: Sequence[Mapping[str, Any]]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(found[0]) if found else ["task"], lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: "" if v is None else v for k, v in row.items()} for row in found)
    return out.getvalue()
