"""How long the stages of a batch took, on the device's own clock where it has one."""

from __future__ import annotations

import time
from typing import Any

import torch

STAGES = ("encoder", "prefill", "decode")
# Time between the pieces of a batch, which belongs to no stage.
WAITING = ""


class Stages:
    """Marks between the stages of one batch.

    On a GPU the marks are events in its queue: they cost nothing and wait for nothing; they are
    read once the batch is done.
    """

    def __init__(self, device: torch.device) -> None:
        self._on_gpu = device.type == "cuda"
        self._marks: list[tuple[str, Any]] = []
        self.mark(WAITING)

    def mark(self, ended: str) -> None:
        """The stage called `ended` is over."""
        now: Any
        if self._on_gpu:
            now = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            now.record()
        else:
            now = time.perf_counter()
        self._marks.append((ended, now))

    def seconds(self) -> dict[str, float]:
        """Seconds of each stage, summed over its pieces."""
        if self._on_gpu:
            self._marks[-1][1].synchronize()
        spent = dict.fromkeys(STAGES, 0.0)
        for (_, before), (name, after) in zip(self._marks, self._marks[1:], strict=False):
            took = before.elapsed_time(after) / 1000 if self._on_gpu else after - before
            if name != WAITING:
                spent[name] += took
        return spent
