"""What pruning saves: networks of published size with random weights on one GPU.

    python benchmarks/pruning.py [--family NAME ...] [--seconds 510] [--quick]

The prefill is timed alone (the engine's reader, given the audio's vectors), then everything from
features to the 32nd token: encoder, prefill, decoding. Ratios and methods take turns in every
round, the first rounds are discarded, and each is compared with the unpruned pass of its own round.
Prints a JSON line a cell and tables. `--quick` does the same on a CPU with tiny networks; its
figures mean nothing.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from pruning_tables import NONE, ONE_TOKEN, tables  # noqa: E402
from published_sizes import RandomWeights  # noqa: E402

from lalm_bench.engine.choose import chooser  # noqa: E402
from lalm_bench.engine.prefill import Row, tokens_of  # noqa: E402
from lalm_bench.errors import BenchError, one_line  # noqa: E402
from lalm_bench.models.hf import HFModel  # noqa: E402
from lalm_bench.pruning.flops import Prefill  # noqa: E402
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

RATE = 16000
SEED = 7


@dataclass(frozen=True)
class Scale:
    """What is measured.

    Methods differ in what they add, which shows best where a pass is short; so all of them are
    timed one clip at a time, and fewer in large batches.
    """

    families: tuple[str, ...] = ("qwen2_5_omni", "voxtral")
    seconds: tuple[int, ...] = (300, 180, 90)
    methods: tuple[tuple[int, tuple[str, ...]], ...] = (
        (1, ("fastv", "random", "frame", "dart")),
        (4, ("fastv", "dart")),
        (8, ("fastv",)),
    )
    # ONE_TOKEN shows what choosing costs where nothing is saved: at 0 nothing is chosen.
    ratios: tuple[float, ...] = (0, ONE_TOKEN, 0.3, 0.5, 0.7, 0.9)
    whole_batches: tuple[int, ...] = (1, 8)
    whole: tuple[tuple[str, float], ...] = (("fastv", 0.9), ("knorm", 0.9), ("snapkv", 0.9))
    layer: int = 2
    new_tokens: int = 32
    warm: int = 3
    rounds: int = 5
    device: str = "cuda"


QUICK = Scale(
    families=("audio_flamingo_3",),
    seconds=(8, 4),
    methods=((1, ("fastv", "random", "frame", "dart")), (2, ("fastv",))),
    ratios=(0, ONE_TOKEN, 0.5, 0.9),
    whole_batches=(1, 2),
    layer=1,
    new_tokens=8,
    warm=1,
    rounds=2,
    device="cpu",
)
Cell = tuple[str, float]


class Bench:
    """One network and its clips."""

    def __init__(self, family: str, scale: Scale, folder: Path) -> None:
        self.scale = scale
        checkpoint = str(tiny.build(family, folder))
        if scale.device == "cuda":
            self.model: HFModel = RandomWeights(name=family, path=checkpoint)
        else:
            self.model = HFModel(name=family, path=checkpoint, dtype="float32")
        self.model.load(Runtime(scale.device))
        self.cost = Prefill.of(self.model.network)
        self.items = {s: self._item(folder / f"{s}.wav", s) for s in scale.seconds}

    def _item(self, path: Path, seconds: int) -> Any:
        import soundfile

        wave = np.random.default_rng(seconds).normal(0, 0.1, RATE * seconds)
        soundfile.write(path, wave, RATE)
        text = Text(
            "Which event comes next? Choose exactly one option. A) rain falls B) a dog barks "
            "C) a car passes D) none of the above. Return only the option label from: A, B, C, D."
        )
        heard = Audio(AudioSource(AudioRef(str(path))))
        message = Message("user", (heard, text))
        generation = Generation(self.scale.new_tokens)
        request = Request(path.stem, (message,), key=path.stem, generation=generation)
        return self.model._prepare(request)

    def sizes(self, seconds: int) -> tuple[int, int]:
        """Tokens of a prompt, and those of them that are audio."""
        ids = self.items[seconds].inputs["input_ids"][0]
        return len(ids), int(self.model._listener.places(ids).sum())

    def rows(self, seconds: int, vectors: Sequence[torch.Tensor]) -> list[Row]:
        """One row for each clip's vectors, of equal length: no padding in either pass."""
        item = self.items[seconds]
        return [Row(tokens_of(item.inputs), v, name=f"{n}") for n, v in enumerate(vectors)]

    def noise(self, seconds: int, batch: int) -> list[torch.Tensor]:
        """Vectors of random numbers in place of encoded clips."""
        network = self.model.network
        size = network.get_input_embeddings().weight.shape[1]
        shape = (self.sizes(seconds)[1], size)
        like = {"device": network.device, "dtype": network.dtype}
        return [0.02 * torch.randn(shape, **like) for _ in range(batch)]

    def pruned(self, cell: Cell) -> AbstractContextManager[None]:
        """The model, pruned; as it is for NONE."""
        method, ratio = cell
        node = yaml.safe_load((ROOT / "conf" / "pruning" / f"{method}.yaml").read_text())
        ours = {"ratio": ratio, "layer": self.scale.layer, "seed": SEED}
        pruning = _built({**node, **{k: v for k, v in ours.items() if k in node}})
        found: AbstractContextManager[None] = pruning(self.model)
        return found

    def turns(self, cells: Sequence[Cell]) -> Iterator[tuple[bool, Cell]]:
        """(counts, cell), round by round; each round begins with another cell."""
        for n in range(self.scale.warm + self.scale.rounds):
            first = n % len(cells)
            for cell in (*cells[first:], *cells[:first]):
                yield n >= self.scale.warm, cell


def _built(node: Any) -> Any:
    """What Hydra would build of a plain YAML, on a machine that lacks Hydra."""
    if not isinstance(node, dict):
        return node
    values = {name: _built(value) for name, value in node.items()}
    if "_target_" not in values:
        return values
    module, _, name = values.pop("_target_").rpartition(".")
    return getattr(import_module(module), name)(**values)


class Marks:
    """Milliseconds between marks: on a GPU of events in its queue, else of this process's clock."""

    def __init__(self) -> None:
        self._on_gpu = torch.cuda.is_available()
        if self._on_gpu:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
        self._marks: list[Any] = []
        self.mark()

    def mark(self) -> None:
        """Now."""
        now: Any = time.perf_counter()
        if self._on_gpu:
            now = torch.cuda.Event(enable_timing=True)
            now.record()
        self._marks.append(now)

    def spent(self) -> list[float]:
        """Waits for the GPU."""
        pairs = list(zip(self._marks, self._marks[1:], strict=False))
        if not self._on_gpu:
            return [1000 * (after - before) for before, after in pairs]
        self._marks[-1].synchronize()
        return [before.elapsed_time(after) for before, after in pairs]

    def peak(self) -> float | None:
        """Most memory since the first mark, bytes."""
        return float(torch.cuda.max_memory_allocated()) if self._on_gpu else None


def kept_and_bytes(read: Any, tokens: int, audio: int) -> tuple[float, int]:
    """Audio tokens that the last layer holds, by the read prompt itself, and bytes of its cache."""
    layers = read.cache.layers
    size = sum(t.numel() * t.element_size() for x in layers for t in (x.keys, x.values))
    return audio - (tokens - layers[-1].keys.shape[2]), size


def prefills(bench: Bench, seconds: int, batch: int, methods: Sequence[str]) -> list[dict]:
    """The prefill alone, a cell each of the unpruned one and of method x ratio."""
    cells: list[Cell] = [(NONE, 0.0)]
    for method in methods:
        # At 0 every method is the same: one of them stands for all.
        cells += [(method, r) for r in bench.scale.ratios if r or method == methods[0]]
    rows = bench.rows(seconds, bench.noise(seconds, batch))
    tokens, audio = bench.sizes(seconds)
    times: dict[Cell, list[float]] = {cell: [] for cell in cells}
    facts: dict[Cell, dict[str, Any]] = {}
    for counts, cell in bench.turns(cells):
        with bench.pruned(cell):
            marks = Marks()
            read = bench.model.resident.reader.read(rows, share=False)
            marks.mark()
            took = marks.spent()[0]
        if counts:
            times[cell].append(took)
            kept, size = kept_and_bytes(read, tokens, audio)
            facts[cell] = {"kept": kept, "kv_bytes": size, "peak_bytes": marks.peak()}
        del read
    found, layer = [], bench.scale.layer
    for cell in cells:
        theory = bench.cost.speedup(tokens, audio, facts[cell]["kept"], layer)
        measured = _paired(times[(NONE, 0.0)], times[cell])
        found.append(
            {
                "figure": "prefill",
                **_cell(bench, seconds, batch, cell),
                **facts[cell],
                **_spread(times[cell]),
                "tflops": batch
                * bench.cost.flops(tokens, audio - facts[cell]["kept"], layer)
                / statistics.median(times[cell])
                / 1e9,
                "speedup": measured,
                "theory": theory,
                "quotient": measured / theory,
            }
        )
    return found


def whole(bench: Bench, seconds: int, batch: int) -> list[dict]:
    """Encoder, prefill and decoding in one go; time, memory, and what the cache holds."""
    cells: list[Cell] = [(NONE, 0.0), *bench.scale.whole]
    model, item = bench.model, bench.items[seconds]
    choose_of = [item.request.generation] * batch
    tokens, audio = bench.sizes(seconds)
    times: dict[Cell, list[list[float]]] = {cell: [] for cell in cells}
    facts: dict[Cell, dict[str, Any]] = {}
    for counts, cell in bench.turns(cells):
        with bench.pruned(cell):
            marks = Marks()
            vectors = model._listener.encode([item.inputs] * batch)
            marks.mark()
            read = model.resident.reader.read(bench.rows(seconds, vectors), share=False)
            marks.mark()
            kept, size = kept_and_bytes(read, tokens, audio)
            written = model.resident.decoder.write(
                [read], chooser(choose_of), bench.scale.new_tokens
            )
            marks.mark()
            took = marks.spent()
        if counts:
            times[cell].append(took)
            facts[cell] = {"kept": kept, "kv_bytes": size, "peak_bytes": marks.peak()}
            facts[cell]["written"] = sum(map(len, written)) / batch
        del read, vectors
    totals = {cell: [sum(took) for took in found] for cell, found in times.items()}
    found = []
    for cell in cells:
        stages = zip(*times[cell], strict=True)
        names = ("encoder_ms", "prefill_ms", "decode_ms")
        found.append(
            {
                "figure": "whole",
                **_cell(bench, seconds, batch, cell),
                **facts[cell],
                **_spread(totals[cell]),
                **dict(zip(names, map(statistics.median, stages), strict=True)),
                "speedup": _paired(totals[(NONE, 0.0)], totals[cell]),
                "peak_change": _less(facts, cell, "peak_bytes"),
                "kv_change": _less(facts, cell, "kv_bytes"),
            }
        )
    return found


def encoder(bench: Bench, seconds: int) -> list[dict]:
    """The audio encoder alone, one clip: what no pruning of the language model can save."""
    inputs = bench.items[seconds].inputs
    times = []
    for counts, _ in bench.turns([(NONE, 0.0)]):
        marks = Marks()
        bench.model._listener.encode([inputs])
        marks.mark()
        if counts:
            times.append(marks.spent()[0])
    cell = _cell(bench, seconds, 1, (NONE, 0.0))
    return [{"figure": "encoder", **cell, **_spread(times), "peak_bytes": marks.peak()}]


def _cell(bench: Bench, seconds: int, batch: int, cell: Cell) -> dict[str, Any]:
    tokens, audio = bench.sizes(seconds)
    return {
        "family": bench.model.name,
        "audio_s": seconds,
        "batch": batch,
        "method": cell[0],
        "ratio": cell[1],
        "tokens": tokens,
        "audio_tokens": audio,
    }


def _spread(times: Sequence[float]) -> dict[str, Any]:
    p90 = float(np.quantile(times, 0.9))
    return {"n": len(times), "ms": statistics.median(times), "p90_ms": p90}


def _paired(before: Sequence[float], after: Sequence[float]) -> float:
    """Median over rounds of how many times faster `after` is."""
    return statistics.median(a / b for a, b in zip(before, after, strict=True))


def _less(facts: dict[Cell, dict[str, Any]], cell: Cell, name: str) -> float | None:
    before, after = facts[(NONE, 0.0)][name], facts[cell][name]
    return None if before is None else after / before - 1


def jobs(scale: Scale) -> Iterator[tuple[str, Callable[[Bench], list[dict]]]]:
    """Everything that is measured of one network; the longest clips first."""
    longest = scale.seconds[0]
    for seconds in scale.seconds:
        yield f"encoder {seconds} s", lambda b, s=seconds: encoder(b, s)
        for batch, methods in scale.methods:
            yield (
                f"prefill {seconds} s x {batch}",
                lambda b, s=seconds, n=batch, m=methods: prefills(b, s, n, m),
            )
        if seconds == longest:
            for batch in scale.whole_batches:
                yield f"whole {seconds} s x {batch}", lambda b, n=batch: whole(b, longest, n)


def main() -> None:
    """Measure, print a JSON line a cell, then the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--family", nargs="*", help="sizes, as in published_sizes.py")
    parser.add_argument("--seconds", type=float, default=510, help="start nothing after so many")
    parser.add_argument("--quick", action="store_true", help="tiny networks on a CPU")
    chosen = parser.parse_args()
    scale = QUICK if chosen.quick else Scale()
    began, rows = time.monotonic(), []
    late, failed = [], []
    machine = {"figure": "machine", "torch": torch.__version__}
    if scale.device == "cuda":
        machine["gpu"] = torch.cuda.get_device_name()
    print(json.dumps(machine), flush=True)
    for family in chosen.family or scale.families:
        with tempfile.TemporaryDirectory() as folder:
            bench = Bench(family, scale, Path(folder))
            for name, job in jobs(scale):
                if time.monotonic() - began > chosen.seconds:
                    late.append(f"{family} {name}")
                    continue
                try:
                    found = job(bench)
                except (RuntimeError, BenchError) as error:
                    failed.append(f"{family} {name}: {one_line(error)}")
                    found = [{"figure": "failed", "job": failed[-1]}]
                for row in found:
                    rows.append(row)
                    print(json.dumps(row), flush=True)
        del bench
        if scale.device == "cuda":
            torch.cuda.empty_cache()
    print(tables(rows, scale.ratios, scale.new_tokens))
    print(f"\n{time.monotonic() - began:.0f} s")
    if late:
        print(f"not measured for want of time: {'; '.join(late)}")
    if failed:
        raise SystemExit(f"failed: {'; '.join(failed)}")


if __name__ == "__main__":
    main()
