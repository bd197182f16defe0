"""How fast, and in how much memory, model=api keeps a server busy: a JSON line a figure, a table.

    python benchmarks/api.py [--items 1000] [--many 5000] [--in-flight 64] [--repeats 3]

Client and server are processes of this machine. The server is a stand-in that answers 0.2 s after a
request (`tests/openai_server.py`), so the ceiling is `in flight / 0.2 s`, less the last, partial
round. A run is the whole `python -m lalm_bench`, on recordings of 10 s at 16 kHz; speed is that of
asking, memory the peak of the process; flatness is that of many items over that of few. Of several
repeats the median counts.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import urllib.request
import wave
from pathlib import Path

from figures import show, spin

ROOT = Path(__file__).resolve().parent.parent
LATENCY_S, CLIP_S, RATE = 0.2, 10, 16_000
RUN = (
    "import resource,runpy,sys\n"
    "sys.argv=sys.argv[1:]\n"
    "try: runpy.run_module('lalm_bench',run_name='__main__',alter_sys=True)\n"
    "finally: print('PEAK',resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,file=sys.stderr)"
)


def dataset(folder: Path, items: int) -> list[str]:
    """Write `items` questions, on up to 1000 recordings; return the task's overrides."""
    import random

    rng = random.Random(items)
    (folder / "audio").mkdir(exist_ok=True)
    with (folder / f"{items}.jsonl").open("w") as out:
        for n in range(items):
            file = folder / "audio" / f"{n % 1000}.wav"
            if not file.exists():
                with wave.open(str(file), "wb") as sound:
                    sound.setparams((1, 2, RATE, 0, "NONE", ""))
                    sound.writeframes(rng.randbytes(2 * RATE * CLIP_S))
            options = [{"label": c, "text": f"answer {c}", "type": "any"} for c in "AB"]
            row = {"id": f"item{n}", "audio_filename": file.name, "question": f"Number {n}?"}
            row |= {"options": options, "answer_label": "A", "answer_text": "answer A"}
            out.write(json.dumps(row) + "\n")
    return [
        "task=mcq",
        f"task.dataset={folder / f'{items}.jsonl'}",
        f"task.audio_root={folder / 'audio'}",
    ]


def run(folder: Path, items: int, in_flight: int, form: str, *more: str) -> dict:
    """One whole run against a server of its own; what both sides saw of it."""
    words = dataset(folder, items)
    command = [sys.executable, str(ROOT / "tests" / "openai_server.py"), f"--latency={LATENCY_S}"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        url = server.stdout.readline().strip()
        with tempfile.TemporaryDirectory() as results:
            words += ["model=api", "model.served_name=stand-in", f"model.audio_form={form}"]
            words += [f"model.endpoint.base_url={url}", f"model.endpoint.max_in_flight={in_flight}"]
            words += ["tracking=none", f"paths.outputs={results}", *more]
            done = subprocess.run(
                [sys.executable, "-c", RUN, "lalm_bench", *words],
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                capture_output=True,
                text=True,
            )
            if done.returncode:
                raise SystemExit(done.stderr)
            (found,) = Path(results).rglob("metrics.json")
            timing = json.loads(found.read_text())["timing"]
        with urllib.request.urlopen(f"{url.removesuffix('/v1')}/stats") as reply:
            seen = json.load(reply)
    finally:
        server.terminate()
        server.wait()
    assert seen["successes"] == seen["requests"] == items, seen
    peak = next(line for line in done.stderr.splitlines() if line.startswith("PEAK"))
    return {**seen, **timing, "peak_mb": int(peak.split()[1]) / 1024}


def measure(chosen: argparse.Namespace) -> list[dict]:
    """All figures; every run counts requests at the server too."""
    ceiling = chosen.items / (math.ceil(chosen.items / chosen.in_flight) * LATENCY_S)
    figures = []
    with tempfile.TemporaryDirectory() as name:
        folder, runs = Path(name), {}
        dataset(folder, chosen.many)
        for form, bar in (("none", ">= 300"), ("input_audio", ">= 250")):
            runs[form] = [
                run(folder, chosen.items, chosen.in_flight, form) for _ in range(chosen.repeats)
            ]
            speeds = sorted(r["requests_per_s"] for r in runs[form])
            kind = "text" if form == "none" else "audio"
            value = statistics.median(speeds)
            more = {"ceiling": ceiling, "best": speeds[-1], "worst": speeds[0]}
            figures.append(figure(f"{kind}_requests", value, "requests/s", bar, **more))
        many = run(folder, chosen.many, chosen.in_flight, "input_audio")
        peak = max(r["peak_mb"] for r in runs["input_audio"])
        growth = (many["peak_mb"] - peak) * 1024**2 / (chosen.many - chosen.items)
        connections = max(r["connections"] for r in (*runs["none"], *runs["input_audio"], many))
        figures += [
            figure("audio_requests_many", many["requests_per_s"], "requests/s", ">= 250"),
            figure("peak_memory", peak, "MB", "< 400", items=chosen.items),
            figure("peak_memory_many", many["peak_mb"], "MB", "< 400", items=chosen.many),
            figure("flatness", many["peak_mb"] / peak, "of it", "< 1.25", bytes_per_item=growth),
            figure("connections", connections, "opened", f"<= {chosen.in_flight}"),
        ]
    return figures


def figure(name: str, value: float, unit: str, bar: str, **more: float) -> dict:
    """One result, and whether it meets its bar."""
    sign, limit = bar.split()
    met = {">=": value >= float(limit), "<=": value <= float(limit), "<": value < float(limit)}
    row = {"figure": name, "value": round(value, 3), "unit": unit, "bar": bar, "met": met[sign]}
    return row | {key: round(number, 3) for key, number in more.items()}


def main() -> None:
    """Measure, print one JSON line a figure, then a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=1000)
    parser.add_argument("--many", type=int, default=5000)
    parser.add_argument("--in-flight", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    chosen = parser.parse_args()
    yardstick = spin()
    load = os.getloadavg()[0]
    figures = measure(chosen)
    show(figures, yardstick, load)


if __name__ == "__main__":
    main()
