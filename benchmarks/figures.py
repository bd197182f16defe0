"""How benchmarks report: a yardstick of the machine, a JSON line a figure, then a table."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence


def spin() -> float:
    """Seconds for ten million additions: a yardstick for this machine right now."""
    began = time.perf_counter()
    total = 0
    for n in range(10_000_000):
        total += n
    return time.perf_counter() - began


def show(
    rows: Sequence[dict], yardstick: float, load: float | None = None, digits: int = 1
) -> None:
    """Print figures with their bars; `load` is the machine's before they were measured."""
    machine = {"spin_s": round(yardstick, 3)} | ({} if load is None else {"load": round(load, 2)})
    for row in rows:
        print(json.dumps({**row, **machine}))
    beside = f"spin {yardstick:.2f} s" + ("" if load is None else f", load {load:.2f}")
    print(f"\n| figure | value | bar | met |   ({beside})\n|---|---|---|---|")
    for row in rows:
        value = f"{row['value']:,.{digits}f} {row['unit']}"
        print(f"| {row['figure']} | {value} | {row['bar']} | {'yes' if row['met'] else 'NO'} |")
