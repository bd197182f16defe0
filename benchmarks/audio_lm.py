"""Audio language models of published size with random weights: speed on one GPU.

    python benchmarks/audio_lm.py [--family NAME ...] [--items 256] [--only answer reuse memory]

Prints a JSON line a figure and a table. Everything is measured in one run: this engine; the plain
way (two items at a time through transformers' `generate`, features made in between); and the
ceilings of the device, over which the least operations and bytes give the floor.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from published_sizes import PUBLISHED, RandomWeights  # noqa: E402

from lalm_bench.engine.attention import attend_in_chunks  # noqa: E402
from lalm_bench.models.hf import HFModel  # noqa: E402
from lalm_bench.types import (  # noqa: E402
    Audio,
    AudioRef,
    AudioSource,
    Generation,
    Message,
    Request,
    Runtime,
    Text,
)
from tests import tiny  # noqa: E402

NEW_TOKENS = 16
TEXT_TOKENS = 80
RATE = 16000


def clips(folder: Path, count: int, shortest: float = 5, longest: float = 15) -> list[str]:
    """Recordings of `shortest` to `longest` seconds."""
    import soundfile

    rng = np.random.default_rng(0)
    paths = []
    for n in range(count):
        wave = rng.normal(0, 0.1, round(RATE * rng.uniform(shortest, longest)))
        paths.append(str(folder / f"{longest}_{n}.wav"))
        soundfile.write(paths[-1], wave, RATE)
    return paths


def request(name: str, path: str, text: str) -> Request:
    """One question about one clip."""
    message = Message("user", (Audio(AudioSource(AudioRef(path))), Text(text)))
    return Request(name, (message,), key=name, generation=Generation(NEW_TOKENS))


def texts(model: HFModel, path: str, count: int) -> list[str]:
    """Different questions that make TEXT_TOKENS tokens of everything but audio."""
    words = ["which", "event", "comes", "next", "rain", "dog", "option", "label", "passes", "one"]
    rng = np.random.default_rng(1)
    found = []
    for _ in range(count):
        text = ""
        while True:
            longer = f"{text} {words[rng.integers(len(words))]}"
            prepared = model._prepare(request("probe", path, longer))
            ids = prepared.inputs["input_ids"]
            length = ids.numel() - int(model._listener.places(ids).sum())
            if length > TEXT_TOKENS:
                break
            text = longer
        found.append(text)
    return found


def timed(model: HFModel, requests: Sequence[Request]) -> tuple[float, dict[str, Any], dict]:
    """Seconds, the answers by key, and the report of this call alone."""
    from lalm_bench.engine.stream import Traffic

    model._traffic = Traffic()
    model.resident.reader.tokens = model.resident.reader.tokens_padded = 0
    torch.cuda.synchronize()
    began = time.perf_counter()
    answers = {r.key: r for r in model.answer(requests)}
    torch.cuda.synchronize()
    seconds = time.perf_counter() - began
    failed = [r.error for r in answers.values() if r.error]
    if failed:
        raise SystemExit(f"{len(failed)} answers failed: {failed[0]}")
    return seconds, answers, model.report()


def plain(model: HFModel, requests: Sequence[Request]) -> float:
    """Seconds an item of the plain way: two at a time, featurise, generate, one after the other."""
    from lalm_bench.engine.collate import collate
    from lalm_bench.engine.fuse import fuse, unfuse

    network, settings = model.network, model._settings
    unfuse(network)
    attend_in_chunks(network, "sdpa")
    model._settings = replace(settings, trims_audio=False)
    began = time.perf_counter()
    for first in range(0, len(requests), 2):
        rows = [model._prepare(r).inputs for r in requests[first : first + 2]]
        batch = collate(rows, 0, network.device, network.dtype)
        with torch.inference_mode():
            network.generate(
                **batch, do_sample=False, max_new_tokens=NEW_TOKENS, min_new_tokens=NEW_TOKENS
            )
    torch.cuda.synchronize()
    seconds = time.perf_counter() - began
    fuse(network)
    if settings.attends_in_chunks:
        attend_in_chunks(network)
    model._settings = settings
    return seconds / len(requests)


def ceilings() -> tuple[float, float]:
    """Measured bf16 matrix rate, FLOP/s, and copy bandwidth, bytes/s (read and written)."""
    a, b = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    big = torch.randn(1 << 30, device="cuda")
    target = torch.empty_like(big)
    rate = 2 * 8192**3 / _median(lambda: a @ b)
    bandwidth = 2 * big.numel() * 4 / _median(lambda: target.copy_(big))
    return rate, bandwidth


def _median(work: Any, repeats: int = 15) -> float:
    times = []
    for n in range(repeats + 3):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        work()
        end.record()
        end.synchronize()
        if n >= 3:
            times.append(start.elapsed_time(end) / 1000)
    return statistics.median(times)


def floor(
    model: HFModel, answers: dict[str, Any], rate: float, bandwidth: float, whole_window: bool
) -> dict[str, float]:
    """Least milliseconds an item: operations and bytes that no order of work avoids.

    Parameters
    ----------
    whole_window : bool
        Count 30 s of encoder work for every clip, else each clip's own length.
    """
    config = model.network.config
    text, audio = config.get_text_config(), config.audio_config
    layers = audio.num_hidden_layers if hasattr(audio, "num_hidden_layers") else 0
    layers = layers or audio.encoder_layers
    width = getattr(audio, "d_model", None) or audio.hidden_size
    wide = getattr(audio, "encoder_ffn_dim", None) or audio.intermediate_size
    encoder = layers * (4 * width**2 + 2 * width * wide)
    head = text.hidden_size // text.num_attention_heads
    head = getattr(text, "head_dim", None) or head
    queries, keys = text.num_attention_heads * head, text.num_key_value_heads * head
    body = text.num_hidden_layers * (
        2 * text.hidden_size * queries
        + 2 * text.hidden_size * keys
        + 3 * text.hidden_size * text.intermediate_size
    )
    output = text.vocab_size * text.hidden_size
    spent = dict.fromkeys(("encoder", "prefill", "decode"), 0.0)
    for answer in answers.values():
        frames = 1500 if whole_window else round(50 * answer.usage["audio_s"])
        tokens = answer.usage["input_tokens"]
        spent["encoder"] += (2 * encoder * frames + 4 * layers * width * frames**2) / rate
        attention = 2 * text.num_hidden_layers * queries * tokens**2  # half of it is masked
        spent["prefill"] += (2 * body * tokens + 2 * output + attention) / rate
        cached = 2 * 2 * text.num_hidden_layers * keys * (tokens + NEW_TOKENS / 2)
        spent["decode"] += (NEW_TOKENS - 1) * cached / bandwidth
    # All items share one reading of the weights at each step.
    spent["decode"] += (NEW_TOKENS - 1) * 2 * (body + output) / bandwidth
    return {name: 1000 * seconds / len(answers) for name, seconds in spent.items()}


def answer_speed(model: HFModel, paths: Sequence[str], questions: Sequence[str]) -> dict[str, Any]:
    """Items a second, against the plain way and the floor."""
    asked = [request(f"{n:05}", path, questions[n % 8]) for n, path in enumerate(paths)]
    timed(model, asked[:: max(len(asked) // 16, 1)])  # kernels, memory and budget settle
    kept, runs = model.resident._encoded, []
    for _ in range(3):
        model.resident._encoded = _fresh(kept)
        runs.append(timed(model, asked))
    model.resident._encoded = kept
    seconds, answers, report = min(runs, key=lambda run: run[0])
    plain(model, asked[:2])
    slow = plain(model, asked[:: max(len(asked) // 16, 1)][:16])
    rate, bandwidth = ceilings()
    whole = PUBLISHED[model.name].whole_window
    own = floor(model, answers, rate, bandwidth, whole)
    padded = floor(model, answers, rate, bandwidth, True)
    each = 1000 * seconds / len(asked)
    return {
        "ms_per_item": each,
        "items_per_s": 1000 / each,
        "runs_ms_per_item": [1000 * r[0] / len(asked) for r in runs],
        "plain_ms_per_item": 1000 * slow,
        "times_plain": 1000 * slow / each,
        "floor_ms": sum(own.values()),
        "over_floor": each / sum(own.values()),
        "floor_30s_ms": sum(padded.values()),
        "over_floor_30s": each / sum(padded.values()),
        "stages_ms": _stages(answers),
        "floor_stages_ms": own,
        "tflops": rate / 1e12,
        "tb_per_s": bandwidth / 1e12,
        "featurise_cpu_ms": 1000
        * statistics.mean(a.timing["featurise_s"] for a in answers.values()),
        **{k: report[k] for k in ("padding_waste", "idle_share", "waiting_for_features_s")},
        **{k: report[k] for k in ("batches", "largest_batch", "batch_tokens", "graphs_refused")},
    }


def reuse_speed(model: HFModel, paths: Sequence[str], questions: Sequence[str]) -> dict[str, Any]:
    """Eight questions about each clip: encoded and read once, against one by one."""
    asked = [
        request(f"{n:05}_{q}", path, question)
        for n, path in enumerate(paths)
        for q, question in enumerate(questions)
    ]
    kept = model.resident._encoded
    took, given, stages = {}, {}, {}
    for _ in range(2):
        for name, cache in (("reused", _fresh(kept)), ("separate", None)):
            model.resident._encoded = cache
            seconds, given[name], _ = timed(model, asked)
            took[name] = min(seconds, took.get(name, seconds))
            stages[name] = _stages(given[name])
    model.resident._encoded = kept
    slow = plain(model, asked[:: max(len(asked) // 8, 1)][:8])
    equal = [given["reused"][k].text == given["separate"][k].text for k in given["reused"]]
    return {
        "clips": len(paths),
        "plain_ms_per_clip": 8000 * slow,
        "share_of_plain": took["reused"] / len(paths) / (8 * slow),
        "reused_ms_per_clip": 1000 * took["reused"] / len(paths),
        "separate_ms_per_clip": 1000 * took["separate"] / len(paths),
        "share": took["reused"] / took["separate"],
        "equal_answers": statistics.mean(equal),
        "stages_ms_per_prompt": stages,
    }


def _stages(answers: dict[str, Any]) -> dict[str, float]:
    """Milliseconds an item in each stage."""
    names = ("encoder", "prefill", "decode")
    return {
        name: 1000 * statistics.mean(a.timing[f"{name}_s"] for a in answers.values())
        for name in names
    }


def _fresh(kept: Any) -> Any:
    return type(kept)("benchmark", 1 << 33)


def out_of_memory(model: HFModel, paths: Sequence[str], questions: Sequence[str]) -> dict[str, Any]:
    """A budget far beyond the memory: batches are halved and nothing is lost."""
    from lalm_bench.engine.budget import Budget

    asked = [
        request(f"{n:05}_{q}", path, questions[q]) for n, path in enumerate(paths) for q in range(8)
    ]
    kept, model._budget = model._budget, Budget(model.network.device, 10**9)
    runtime = model._runtime
    model._runtime = Runtime(runtime.device, len(asked), runtime.workers)
    seconds, answers, report = timed(model, asked)
    model._budget, model._runtime = kept, runtime
    return {
        "requests": len(asked),
        "answered": len(answers),
        "out_of_memory": report["out_of_memory"],
        "batch_tokens_after": report["batch_tokens"],
        "ms_per_item": 1000 * seconds / len(asked),
    }


# Clips of each figure, and the share of them.
USES = {
    "answer": [("5-15", 1)],
    "reuse": [("5-15", 4), ("25-30", 8)],
    "memory": [("5-15", 2)],
}
PARTS = {"answer": answer_speed, "reuse": reuse_speed, "memory": out_of_memory}


def main() -> None:
    """Measure, print a JSON line a figure, then a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--family", nargs="*", choices=PUBLISHED, default=list(PUBLISHED))
    parser.add_argument("--items", type=int, default=256)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--only", nargs="*", choices=PARTS, default=["answer", "reuse"])
    chosen = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        recordings = {
            heard: clips(Path(folder), chosen.items, *map(float, heard.split("-")))
            for heard in ("5-15", "25-30")
        }
        for family in chosen.family:
            checkpoint = tiny.build(family, Path(folder))
            model = RandomWeights(name=family, path=str(checkpoint))
            model.load(Runtime("cuda", workers=chosen.workers))
            billions = sum(p.numel() for p in model.network.parameters()) / 1e9
            questions = texts(model, recordings["5-15"][0], 8)
            for part in chosen.only:
                for heard, count in USES[part]:
                    used = recordings[heard][: chosen.items // count]
                    found = PARTS[part](model, used, questions)
                    row = {"family": family, "billions": billions, "figure": part, "clips_s": heard}
                    rows.append({**row, **found})
                    print(json.dumps(rows[-1], default=str), flush=True)
            del model
            torch.cuda.empty_cache()
    print(table(rows))


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The figures of `answer` and `reuse` for people."""
    lines = [
        "| family | ms/item | x plain | floor ms | over floor | encoder / prefill / decode ms |"
        " padding | idle | 8 prompts |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    shares: dict[str, list[str]] = {}
    for row in rows:
        if row["figure"] == "reuse":
            shares.setdefault(row["family"], []).append(f"{row['share']:.2f} ({row['clips_s']} s)")
    for row in rows:
        if row["figure"] != "answer":
            continue
        stages = " / ".join(f"{row['stages_ms'][s]:.1f}" for s in ("encoder", "prefill", "decode"))
        lines.append(
            f"| {row['family']} ({row['billions']:.2f} B) | {row['ms_per_item']:.1f} "
            f"| {row['times_plain']:.1f} | {row['floor_ms']:.1f} | {row['over_floor']:.2f} "
            f"| {stages} | {row['padding_waste']:.1%} | {row['idle_share']:.1%} "
            f"| {', '.join(shares.get(row['family'], []))} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
