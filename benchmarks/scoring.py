"""What scoring stored answers costs, for every task: a JSON line a task, then a table.

    python benchmarks/scoring.py [--items 100000] [--only TASK ...]

Each task gets small data of its published layout (as its tests make it), its items are multiplied
to the number asked for, and each item gets an answer of its own in realistic words. Timed is what
`run` does once all answers are stored: reading them, `score_run`, the task's metrics. What is known
before (samples, plan) stands beside it as `load_s`. Each task has a process of its own, so that
`peak_mb` is its own.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
BAR_S = 20.0
_COMMON = (
    "the a of to in and that he was it his with is as had for on at by not be but from have "
    "they she you which him her we their all were one there so when out said up would been no "
    "if them who what could then into its about little time only some now like upon more very "
    "before two other over than first any made down after must great old own came where man "
    "never these day"
)
COMMON = _COMMON.split()
_SOUNDS = (
    "dog barks|rain falls|bell rings|train passes|horn blares|wind howls|door creaks|"
    "phone buzzes|drum rolls|siren wails|engine idles|bird sings|voice speaks|"
    "clock ticks|saw cuts|crowd cheers|water drips|guitar strums|hammer strikes|"
    "baby cries"
)
SOUNDS = _SOUNDS.split("|")
MANNERS = ("", "loudly", "softly", "twice", "in the distance", "again and again", "far away")
PLACES = ("a field", "a kitchen", "an empty hall", "the street", "a station", "a forest", "a yard")
REASONS = (
    "The recording opens with a clear transient, then the level falls",
    "I hear two separate sources, and the second one is much closer",
    "There is a steady hum, which does not fit the other choices",
    "The speaker sounds calm, so that the first reading is unlikely",
)
TIMES = (
    "[{a}, {b}]",
    "From {a} to {b} seconds.",
    '{{"onset": {a}, "offset": {b}}}',
    "The sound starts at {a} s and ends at {b} s.",
    "It can be heard between {a} and {b} seconds, and again from {b} to {c} s.",
    "I am not sure, but about {a} seconds in.",
)


def vocabulary(rng: random.Random, size: int = 30_000) -> tuple[list[str], list[float]]:
    """Words with the frequencies of Zipf's law: common ones, then made-up ones."""
    syllables = [c + v + e for c in "bdfghlmnprstvw" for v in "aeiou" for e in ("", "n", "r", "st")]
    made = {"".join(rng.choices(syllables, k=rng.randint(1, 4))) for _ in range(2 * size)}
    words = [*COMMON, *sorted(made - {*COMMON})[: size - len(COMMON)]]
    return words, [1 / (rank + 3) for rank in range(len(words))]


def transcripts(rng: random.Random, n: int, words: int = 450) -> Iterator[tuple[str, str]]:
    """(what was said, what was written down): 6 % errors, names, punctuation, numbers, fillers."""
    known, weights = vocabulary(rng)
    marks = ("{},", "{}.", "{}!", "uh {}", "{}'s", "Mr. {}", "{} twenty-one", "{} 1,250", '"{}"')
    for _ in range(n):
        said = rng.choices(known, weights, k=words)
        written = said.copy()
        for place in rng.sample(range(words), words // 16):
            written[place] = rng.choice(("", rng.choice(known), f"{written[place]} the"))
        for place in rng.sample(range(words), words // 10):
            written[place] = rng.choice(marks).format(written[place])
        yield " ".join(said).upper(), " ".join([w for w in written if w]).capitalize()


def caption(rng: random.Random) -> str:
    """One sentence of two sounds."""
    one, other = rng.sample(SOUNDS, 2)
    words = (one, rng.choice(MANNERS), "while a", other, rng.choice(MANNERS), "in")
    return " ".join(["A", *[w for w in words if w], rng.choice(PLACES)]) + "."


def answer(rng: random.Random, sample: Any, number: int) -> str:
    """An answer in words, none like another, right half of the time."""
    if not sample.choices:
        onset, length = rng.uniform(0, 20), rng.uniform(0.2, 8)
        times = {"a": f"{onset:.2f}", "b": f"{onset + length:.2f}", "c": f"{onset + 9:.2f}"}
        said = rng.choice(TIMES).format(**times) if sample.meta.get("clip_s", 0) != 0 else ""
        return said or f"{caption(rng)} {rng.choice(REASONS)} ({number})."
    right = next(c for c in sample.choices if c.label == sample.target)
    chosen = right if rng.random() < 0.5 else rng.choice(sample.choices)
    form = rng.randrange(5)
    if form == 0:
        return f"{chosen.label}. {chosen.text} [{number}]"
    if form == 1:
        return f"{rng.choice(REASONS)} at {number / 1000:.3f} s. The answer is ({chosen.label})."
    if form == 2:
        return f"It is {chosen.text.lower()}, since item {number} says so."
    if form == 3:
        return f"<think>{rng.choice(REASONS)} {number}</think> Answer: {chosen.label}"
    return f"{rng.choice(REASONS)}, as {number} others do; hard to tell."


def data(task: str, folder: Path, n: int, rng: random.Random) -> list[str]:
    """Overrides that point `task` at data of its layout."""
    if task == "clotho":
        header = ("file_name", *[f"caption_{i}" for i in range(1, 6)])
        folder.mkdir()
        with open(folder / "clotho_captions_evaluation.csv", "w", newline="") as file:
            rows = ([f"{i}.wav", *[caption(rng) for _ in range(5)]] for i in range(n))
            csv.writer(file).writerows([header, *rows])
        return [f"task.root={folder}"]
    from tests.conftest import SHARED_DATA
    from tests.models.test_every_task import DATA
    from tests.tasks import audiomarathon_layouts

    if hasattr(audiomarathon_layouts, task):
        getattr(audiomarathon_layouts, task)(folder)
        return [f"task.root={folder}"]
    words: list[str] = DATA[task](folder, SHARED_DATA)
    return words


def multiplied(task: str, samples: list[Any], n: int, rng: random.Random) -> list[Any]:
    """`n` items with ids of their own; transcripts with words of their own."""
    if len(samples) >= n:
        return samples[:n]
    many = []
    for i in range(n):
        base = samples[i % len(samples)]
        cluster = f"{base.cluster}/{i // len(samples) % 200}"
        many.append(replace(base, id=f"{base.id}/{i}", cluster=cluster))
    return many


def plan_of(task: Any, samples: list[Any]) -> Any:
    """The checked plan of a model that cannot hear and answers each request on its own."""
    from lalm_bench.identity import Sealer
    from lalm_bench.interventions.none import NoIntervention
    from lalm_bench.preflight import Plan
    from lalm_bench.types import Context, Generation

    sealer = Sealer({"rule": "made-up answers"}, {"name": "none"}, None, True, 7)
    context = Context(7, samples)
    plan = Plan(samples, task, NoIntervention(), Generation(), sealer, context, hears=False)
    plan.check()
    return plan


def measure(name: str, n: int) -> dict[str, Any]:
    """Load, answer, score one task; times in seconds."""
    from hydra import compose, initialize_config_dir

    from lalm_bench import cli  # noqa: F401 - registers what conf/ interpolates
    from lalm_bench.build import build
    from lalm_bench.scoring import delivery, score_run
    from lalm_bench.store import ResponseLog
    from lalm_bench.types import Generation, Response

    rng = random.Random(0)
    with tempfile.TemporaryDirectory() as home:
        words = data(name, Path(home, "data"), n, rng)
        words = [f"task={name}", "model=text", "model.path=none", "tracking=none", *words]
        with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            task = build(compose("config", [*words, f"paths.outputs={home}"])).task
        began = time.perf_counter()
        samples = list(task.samples())
        load_s = time.perf_counter() - began
        per_item = len(task.requests(samples[0], Generation()))
        samples = multiplied(name, samples, -(-n // per_item), rng)
        if name == "librispeech_long":
            said = list(transcripts(rng, n))
            samples = [replace(s, target=t) for s, (t, _) in zip(samples, said, strict=True)]
        plan = plan_of(task, samples)
        log = ResponseLog(Path(home, "responses.jsonl"))
        total = 0
        for sample, request in plan.requests():
            if name == "librispeech_long":
                text = said[total][1]
            elif name == "clotho":
                text = caption(rng)
            else:
                text = answer(rng, sample, total)
            log.append(Response(request.key, sample.id, text, variant=request.variant))
            total += 1
        log.close()
        said = []
        began, used = time.perf_counter(), time.process_time()
        stored = ResponseLog(log.path)
        decisions, unanswered = score_run(plan, stored, Path(home, "decisions.jsonl"))
        scored_s = time.perf_counter() - began
        metrics = task.metrics(decisions)
        delivery(decisions)
        wall, cpu = time.perf_counter() - began, time.process_time() - used
        if unanswered or not metrics.values["n"]:
            raise SystemExit(f"{name}: {len(unanswered)} items were not scored")
        shown = metrics.headline or ("accuracy",)
    return {
        "task": name,
        "responses": total,
        "distinct_items": len(samples),
        "scoring_s": round(wall, 2),
        "cpu_s": round(cpu, 2),
        "items_s": round(scored_s, 2),
        "metrics_s": round(wall - scored_s, 2),
        "load_s": round(load_s, 2),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "value": {name: metrics.values.get(name) for name in shown[:1]},
        "met": wall < BAR_S,
    }


def main() -> None:
    """Measure each task in a process of its own, print one JSON line each, then a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--here", help="measure one task in this process")
    chosen = parser.parse_args()
    if chosen.here:
        print(json.dumps(measure(chosen.here, chosen.items)))
        return
    tasks = chosen.only or sorted(path.stem for path in (ROOT / "conf" / "task").glob("*.yaml"))
    rows = []
    for task in tasks:
        words = [sys.executable, __file__, "--here", task, "--items", str(chosen.items)]
        done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            print(json.dumps({"task": task, "failed": done.returncode}))
            continue
        rows.append(json.loads(done.stdout.splitlines()[-1]))
        print(json.dumps(rows[-1]), flush=True)
    print("\n| task | responses | scoring s | CPU s | load s | peak MB | under 20 s |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        print(
            f"| {row['task']} | {row['responses']:,} | {row['scoring_s']:.1f} | "
            f"{row['cpu_s']:.1f} | {row['load_s']:.1f} | {row['peak_mb']:,} | "
            f"{'yes' if row['met'] else 'NO'} |"
        )


if __name__ == "__main__":
    main()
