"""Tables of a report on a pruning study: what pruning costs, and what it saves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lalm_bench.compare.tables import change, probability
from lalm_bench.report import table
from lalm_bench.report.paper import Table, file_name
from lalm_bench.tradeoff import EVICTION, NONE, PREFILL

_TITLES = {PREFILL: "pruned in the prefill", EVICTION: "evicted after the prefill"}
_NOTE = (
    "Changes are paired, item by item, with the unpruned run. Times are medians over the same "
    "items, asked one at a time under all conditions in turns, with nothing cached; faster is the "
    "median factor over the unpruned turn of the same round, and by operations how many times "
    "fewer operations the prefill takes."
)
# Title -> column of the study's rows, digits, unit.
_NUMBERS: dict[str, tuple[str, int, float]] = {
    "KV cache, MiB": ("kv_bytes", 1, 2**20),
    "encoder, ms": ("encoder_ms", 1, 1),
    "prefill, ms": ("prefill_ms", 1, 1),
    "decode, ms": ("decode_ms", 1, 1),
    "all, ms": ("total_ms", 1, 1),
    "prefill faster": ("speedup_prefill", 2, 1),
    "by operations": ("theory", 2, 1),
    "all faster": ("speedup_total", 2, 1),
    "peak, GiB": ("peak_bytes", 2, 2**30),
}


def tables(study: Mapping[str, Any], stem: str, keys: Mapping[str, str]) -> Iterator[Table]:
    """One table for each task and kind of pruning, the unpruned run first.

    Parameters
    ----------
    study : mapping
        Content of `pruning.json`: `title` and `rows`.
    stem : str
        What the names of the files begin with.
    keys : mapping
        Fingerprint -> key of the run on the page.
    """
    for task in dict.fromkeys(str(row["task"]) for row in study["rows"]):
        own = [row for row in study["rows"] if row["task"] == task]
        for kind, words in _TITLES.items():
            shown = [row for row in own if row["kind"] in (NONE, kind)]
            if any(row["kind"] == kind for row in shown):
                name = file_name(f"{stem}_{task}_{kind}")
                yield _table(name, f"{task}: {words}", shown, keys)


def _table(
    name: str, title: str, shown: Sequence[Mapping[str, Any]], keys: Mapping[str, str]
) -> Table:
    numbers = {
        head: where
        for head, where in _NUMBERS.items()
        if any(row.get(where[0]) is not None for row in shown)
    }
    metric = str(shown[0]["metric"])
    columns = ["method", "ratio", metric, "change, points [95 %]", "p", "audio tokens kept"]
    rows = []
    for row in shown:
        plain = row["kind"] == NONE
        kept = row["audio_tokens_kept"]
        kept = row["audio_tokens"] if kept is None and plain else kept
        cells = ["unpruned" if plain else str(row["method"])]
        cells += ["-" if plain else f"{row['ratio']:g}", table.number(row["value"])]
        cells += [change(row["delta"], row["low"], row["high"]), probability(row["p"])]
        cells.append("-" if kept is None else f"{kept:.0f} of {row['audio_tokens']:.0f}")
        cells += [_number(row.get(n), digits, unit) for n, digits, unit in numbers.values()]
        rows.append(cells)
    about = [keys.get(str(row["fingerprint"])) for row in shown]
    return Table(name, title, [*columns, *numbers], rows, _NOTE, about, [dict(r) for r in shown])


def _number(value: float | None, digits: int, unit: float) -> str:
    return "-" if value is None else f"{value / unit:.{digits}f}"
