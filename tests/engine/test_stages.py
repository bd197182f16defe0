"""Where the time of a batch went. On a CPU; a GPU's events are read by the same sums."""

from __future__ import annotations

import time

import pytest
import torch

from lalm_bench.engine.stages import STAGES, WAITING, Stages


def test_pieces_add_up_and_waiting_belongs_to_none(monkeypatch):
    clock = iter([10.0, 11.0, 11.5, 14.0, 15.0, 15.25, 20.0, 28.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    stages = Stages(torch.device("cpu"))
    for ended in ("encoder", "prefill", WAITING, "encoder", "prefill", WAITING, "decode"):
        stages.mark(ended)
    assert stages.seconds() == {"encoder": 2.0, "prefill": 0.75, "decode": 8.0}


def test_real_time_is_measured():
    began = time.perf_counter()
    stages = Stages(torch.device("cpu"))
    time.sleep(0.02)
    stages.mark("prefill")
    time.sleep(0.03)
    stages.mark(WAITING)
    stages.mark("decode")
    spent = stages.seconds()
    assert tuple(spent) == STAGES
    assert spent["encoder"] == 0
    assert 0.02 <= spent["prefill"] < time.perf_counter() - began - 0.03
    assert spent["decode"] == pytest.approx(0, abs=0.01)
