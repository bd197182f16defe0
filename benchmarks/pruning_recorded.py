"""What pruning saves of a prefill once nobody launches its kernels one by one.

    python benchmarks/pruning_recorded.py [--family NAME ...] [--seconds 90 180 300]

A short prefill is as long as the host needs to launch its kernels, pruned or not
(`benchmarks/pruning.py`). Here every pass is recorded as a CUDA graph and replayed, as servers do
it, so that the time is the device's. The recording must give the logits of the pass that it was
made of. Token ids and positions are on the device before (some kilobytes a clip).
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pruning
import torch
from pruning import NONE, Bench, Cell, Scale, kept_and_bytes

METHODS = ("fastv", "dart", "frame")
RATIOS = (0.3, 0.5, 0.7, 0.9)


class Moves:
    """What a pass moves to the device, in its order: moved once, given again when recorded."""

    def __init__(self) -> None:
        self._moved: list[torch.Tensor] = []
        self._to = torch.Tensor.to

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Keep what is moved inside."""
        self._moved.clear()

        def to(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
            moved = self._to(tensor, *args, **kwargs)
            if not tensor.is_cuda and moved.is_cuda:
                self._moved.append(moved)
            return moved

        with self._instead(to):
            yield

    @contextmanager
    def given(self) -> Iterator[None]:
        """Move nothing inside."""
        left = iter(self._moved)

        def to(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
            target = self._to(torch.empty(0), *args, **kwargs) if not tensor.is_cuda else None
            if target is not None and target.is_cuda:
                return next(left)
            return self._to(tensor, *args, **kwargs)

        with self._instead(to):
            yield

    @contextmanager
    def _instead(self, to: Any) -> Iterator[None]:
        torch.Tensor.to = to  # type: ignore[method-assign]
        try:
            yield
        finally:
            torch.Tensor.to = self._to  # type: ignore[method-assign]


@contextmanager
def known_unpadded() -> Iterator[None]:
    """Rows have no padding: a recorded pass cannot look, and would take the slower attention."""
    from transformers import masking_utils

    before = masking_utils.is_tracing, masking_utils.fast_all
    masking_utils.is_tracing, masking_utils.fast_all = lambda *_: False, lambda mask: True
    try:
        yield
    finally:
        masking_utils.is_tracing, masking_utils.fast_all = before


class Recording:
    """One cell's pass, to be replayed."""

    def __init__(self, bench: Bench, cell: Cell, rows: list[Any]) -> None:
        reader = bench.model.resident.reader
        moves = Moves()
        with bench.pruned(cell):
            for _ in range(3):
                expected = reader.read(rows, share=False).logits.clone()
            with moves.noted():
                reader.read(rows, share=False)
            torch.cuda.synchronize()
            self.graph = torch.cuda.CUDAGraph()
            with moves.given(), known_unpadded(), torch.cuda.graph(self.graph):
                self.read = reader.read(rows, share=False)
        self._moves = moves  # the graph reads them
        self.graph.replay()
        # bf16 kernels of a recording may be others: some per cent; another pass differs by 1.4.
        error = (self.read.logits - expected).float().norm() / expected.float().norm()
        assert error < 0.2, f"{cell}: the recording is another pass ({error:.3f})"
        self.error = float(error)

    def ms(self) -> float:
        """One replay."""
        marks = pruning.Marks()
        self.graph.replay()
        marks.mark()
        return marks.spent()[0]


def measured(bench: Bench, seconds: int, batch: int, rounds: int) -> Iterator[dict[str, Any]]:
    """A row a cell; cells take turns."""
    tokens, audio = bench.sizes(seconds)
    rows = bench.rows(seconds, bench.noise(seconds, batch))
    cells: list[Cell] = [(NONE, 0.0), *((m, r) for m in METHODS for r in RATIOS)]
    found = {cell: Recording(bench, cell, rows) for cell in cells}
    times: dict[Cell, list[float]] = {cell: [] for cell in cells}
    for n in range(3 + rounds):
        for cell in (*cells[n % len(cells) :], *cells[: n % len(cells)]):
            took = found[cell].ms()
            if n >= 3:
                times[cell].append(took)
    for cell in cells:
        kept, _ = kept_and_bytes(found[cell].read, tokens, audio)
        theory = bench.cost.speedup(tokens, audio, kept, bench.scale.layer)
        pairs = zip(times[(NONE, 0.0)], times[cell], strict=True)
        speedup = statistics.median(a / b for a, b in pairs)
        yield {
            **pruning._cell(bench, seconds, batch, cell),
            "ms": statistics.median(times[cell]),
            "speedup": speedup,
            "theory": theory,
            "quotient": speedup / theory,
            "error": found[cell].error,
        }


def main() -> None:
    """Measure; a JSON line a cell, and a table of quotients."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--family", nargs="*", default=["voxtral", "qwen2_5_omni"])
    parser.add_argument("--seconds", nargs="*", type=int, default=[300, 180, 90])
    parser.add_argument("--batch", nargs="*", type=int, default=[1])
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    table = []
    for family in options.family:
        with tempfile.TemporaryDirectory() as folder:
            bench = Bench(family, Scale(seconds=tuple(options.seconds)), Path(folder))
            for seconds in options.seconds:
                for batch in options.batch:
                    for row in measured(bench, seconds, batch, options.rounds):
                        print(json.dumps(row), flush=True)
                        table.append(row)
                    torch.cuda.empty_cache()
        del bench
        torch.cuda.empty_cache()
    print("family audio_s batch method: ms (share of the theoretical speed-up) by ratio")
    for key in dict.fromkeys((r["family"], r["audio_s"], r["batch"], r["method"]) for r in table):
        mine = [r for r in table if (r["family"], r["audio_s"], r["batch"], r["method"]) == key]
        print(*key, *(f"{r['ratio']}: {r['ms']:.1f} ({r['quotient']:.2f})" for r in mine))


if __name__ == "__main__":
    main()
