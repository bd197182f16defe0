"""The tables of `pruning.py`, from its cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

NONE = "none"
# Drops one of up to 10,000 audio tokens.
ONE_TOKEN = 1e-4


def tables(rows: Sequence[dict], measured: Sequence[float], new_tokens: int) -> str:
    """The figures for people."""
    ratios = [r for r in measured if r > ONE_TOKEN]
    lines = [
        "Prefill: times faster than unpruned in its round (share of what the operations allow)",
        "",
        "| size of | audio | batch | unpruned, ms (p90) | method | ratio 0 adds "
        "| dropping one token adds | " + " | ".join(f"{r:g}" for r in ratios) + " |",
        "|---" * (7 + len(ratios)) + "|",
    ]
    groups: dict[tuple[Any, ...], dict[float, dict]] = {}
    for row in rows:
        if row["figure"] == "prefill":
            key = (row["family"], row["audio_s"], row["batch"])
            groups.setdefault((*key, row["method"]), {})[row["ratio"]] = row
    for (family, audio, batch, method), cells in groups.items():
        if method == NONE:
            continue
        plain = groups[(family, audio, batch, NONE)][0.0]
        added = [
            f"{1 / cells[r]['speedup'] - 1:+.1%}" if r in cells else "-" for r in (0, ONE_TOKEN)
        ]
        shown = [f"{cells[r]['speedup']:.2f} ({cells[r]['quotient']:.2f})" for r in ratios]
        lines.append(
            f"| {family} | {audio} s | {batch} | {plain['ms']:.1f} ({plain['p90_ms']:.1f}) "
            f"| {method} | " + " | ".join((*added, *shown)) + " |"
        )
    lines += ["", "Encoder, one clip", "", "| size of | audio | ms (p90) |", "|---|---|---|"]
    lines += [
        f"| {r['family']} | {r['audio_s']} s | {r['ms']:.1f} ({r['p90_ms']:.1f}) |"
        for r in rows
        if r["figure"] == "encoder"
    ]
    lines += [
        "",
        f"From features to token {new_tokens}",
        "",
        "| size of | audio | batch | condition | encoder / prefill / decode, ms | all, ms (p90) "
        "| times faster | peak memory | cache |",
        "|---" * 9 + "|",
    ]
    lines += [_whole_line(row) for row in rows if row["figure"] == "whole"]
    return "\n".join(lines)


def _whole_line(row: dict) -> str:
    stages = " / ".join(f"{row[f'{s}_ms']:.1f}" for s in ("encoder", "prefill", "decode"))
    condition = NONE if row["method"] == NONE else f"{row['method']} {row['ratio']:g}"
    peak = "-" if row["peak_bytes"] is None else f"{row['peak_bytes'] / 2**30:.2f} GiB"
    if row["peak_change"]:
        peak += f" ({row['peak_change']:+.1%})"
    cache = f"{row['kv_bytes'] / 2**20:.1f} MiB"
    if row["kv_change"]:
        cache += f" ({row['kv_change']:+.1%})"
    return (
        f"| {row['family']} | {row['audio_s']} s | {row['batch']} | {condition} | {stages} "
        f"| {row['ms']:.1f} ({row['p90_ms']:.1f}) | {row['speedup']:.2f} | {peak} | {cache} |"
    )
