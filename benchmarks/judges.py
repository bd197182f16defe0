"""How long a panel's pass over JASCO takes, and a second start of it: a JSON line, a table.

    python benchmarks/judges.py [--items 80] [--in-flight 64] [--repeats 3]

80 items x 8 instructions x 3 judges, from answers made elsewhere on made-up items, judged under the
published prompt. The judges are a stand-in in a process of its own, which answers 0.2 s after a
request; one verdict in ten lacks its orientation, which is then asked for. A pass is the whole
`python -m lalm_bench stage=judge`, start to exit; of several repeats the median counts.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
import wave
import zlib
from pathlib import Path

from figures import show, spin

ROOT = Path(__file__).resolve().parent.parent
LATENCY_S, JUDGES = 0.2, ("llama", "qwen", "mistral")
ORIENTATIONS = ("Audio-Oriented", "Speech-Oriented", "Both", "Neither")
COLUMNS = (
    *("audio_id", "Audio", "Speech", "Audio-Only Answer", "Speech-Only Answer"),
    *("Correct Answer", "Correct Answer Keyword"),
)
SERVE = "--serve"


def opinion(asked: dict) -> dict:
    """A verdict drawn from the request, so that equal requests get equal verdicts."""
    prompt = asked["messages"][-1]["content"]
    draw = zlib.crc32((asked["model"] + prompt).encode())
    if prompt.startswith("[Model Explanation]"):
        text = ORIENTATIONS[draw % 4]
    else:
        text = f"Explanation1: so.\nRating: {draw % 3}\nExplanation2: case {draw}.\n"
        text += "" if draw % 10 == 0 else f"Orientation: {ORIENTATIONS[draw // 10 % 4]}"
    choice = {"index": 0, "message": {"role": "assistant", "content": text}}
    usage = {"prompt_tokens": len(prompt) // 4, "completion_tokens": 60}
    return {"choices": [choice | {"finish_reason": "stop"}], "usage": usage}


async def serve() -> None:
    """Be the judges until the process is stopped."""
    sys.path.insert(0, str(ROOT))
    from tests.openai_server import Server

    print(await Server(LATENCY_S, reply=opinion).start(), flush=True)
    await asyncio.Event().wait()


def dataset(folder: Path, items: int) -> list[str]:
    """Write items, clips and answers; return the overrides of their run."""
    table = folder / "jasco" / "dataset" / "v0" / "v0.csv"
    table.parent.mkdir(parents=True)
    with open(table, "w", newline="") as out, open(folder / "said.csv", "w", newline="") as said:
        rows, answers = csv.writer(out), csv.writer(said)
        rows.writerow(COLUMNS)
        answers.writerow(["id", "variant", "output"])
        for i in range(1, items + 1):
            rows.writerow([i, f"sound {i}", f"speech {i}", "wait", "talk", f"do {i}", f"k{i}"])
            with wave.open(str(table.parent / f"{i}.wav"), "wb") as sound:
                sound.setparams((1, 2, 16_000, 0, "NONE", ""))
                sound.writeframes(bytes(3200))
            for k in range(1, 9):
                text = f"The audio holds sound {i}; in words {k}, they do {i}. " * 3
                answers.writerow([i, f"instruction={k}", text])
    return [
        *("task=jasco", f"task.root={folder / 'jasco'}", "model=predictions"),
        *("model.rate=null", f"model.path={folder / 'said.csv'}"),
    ]


def command(*words: str) -> float:
    """Wall seconds of a whole `python -m lalm_bench`."""
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "lalm_bench", "tracking=none", "figures=false", *words],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return time.perf_counter() - began


def once(folder: Path, run: list[str], in_flight: int, verdicts: int) -> dict[str, float]:
    """A pass and a second start against a server of their own."""
    server = subprocess.Popen(
        [sys.executable, str(Path(__file__).resolve()), SERVE], stdout=subprocess.PIPE, text=True
    )
    try:
        url = server.stdout.readline().strip() if server.stdout else ""
        with tempfile.TemporaryDirectory() as results:
            command(*run, f"paths.outputs={results}")
            words = ["stage=judge", *run, "judge=jasco", "judge/panel=three"]
            words.append(f"paths.outputs={results}")
            for name in JUDGES:
                words.append(f"judge.panel.{name}.endpoint.base_url={url}")
                words.append(f"judge.panel.{name}.endpoint.max_in_flight={in_flight}")
            walls = [command(*words)]
            seen = stats(url)
            walls.append(command(*words))
            (found,) = Path(results).rglob("judge/jasco/metrics.json")
            values = json.loads(found.read_text())["metrics"]
        assert stats(url) == seen, "a second start asked again"
    finally:
        server.terminate()
        server.wait()
    assert seen["answered_twice"] == values["judge_missing"] == 0, seen
    assert seen["successes"] == values["judge_calls"] >= verdicts, seen
    return {"first": walls[0], "second": walls[1], "calls": seen["successes"], "peak": seen["peak"]}


def stats(url: str) -> dict[str, int]:
    """What the server saw."""
    with urllib.request.urlopen(f"{url.removesuffix('/v1')}/stats") as reply:
        found: dict[str, int] = json.load(reply)
    return found


def figure(name: str, walls: list[float], bar: str, **more: float) -> dict:
    """One result, and whether it meets its bar."""
    value = statistics.median(walls)
    row = {"figure": name, "value": round(value, 3), "unit": "s", "bar": bar}
    row |= {"met": value < float(bar.split()[1]), "best": round(min(walls), 3)}
    return row | {"worst": round(max(walls), 3), **more}


def main() -> None:
    """Measure, print one JSON line a figure, then a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=80)
    parser.add_argument("--in-flight", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(SERVE, action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.serve:
        asyncio.run(serve())
        return
    yardstick, load = spin(), os.getloadavg()[0]
    verdicts = chosen.items * 8 * len(JUDGES)
    with tempfile.TemporaryDirectory() as name:
        run = dataset(Path(name), chosen.items)
        found = [once(Path(name), run, chosen.in_flight, verdicts) for _ in range(chosen.repeats)]
    more = {"verdicts": verdicts, "calls": found[0]["calls"], "in_flight": found[0]["peak"]}
    figures = [
        figure("judge_pass", [f["first"] for f in found], "< 10", **more),
        figure("judge_pass_again", [f["second"] for f in found], "< 5", calls=0),
    ]
    show(figures, yardstick, load)


if __name__ == "__main__":
    main()
