"""Padding: tokens on the left, audio on the right."""

from __future__ import annotations

import torch

from lalm_bench.engine.collate import audio_shape, collate

CPU = torch.device("cpu")


def test_tokens_grow_on_the_left_and_audio_on_the_right():
    short = {
        "input_ids": torch.tensor([[5, 6]]),
        "attention_mask": torch.tensor([[1, 1]]),
        "features": torch.ones(1, 2, 3),
    }
    long = {
        "input_ids": torch.tensor([[1, 2, 3]]),
        "attention_mask": torch.tensor([[1, 1, 1]]),
        "features": torch.ones(2, 2, 4),
    }
    batch = collate([short, long], 9, CPU, torch.float32)
    assert batch["input_ids"].tolist() == [[9, 5, 6], [1, 2, 3]]
    assert batch["attention_mask"].tolist() == [[0, 1, 1], [1, 1, 1]]
    assert batch["features"].shape == (3, 2, 4)
    assert batch["features"][0].tolist() == [[1, 1, 1, 0]] * 2


def test_items_without_audio_leave_the_others_in_place():
    mute = {"input_ids": torch.tensor([[1]])}
    heard = {"input_ids": torch.tensor([[2]]), "features": torch.ones(1, 4)}
    batch = collate([mute, heard], 0, CPU, torch.float32)
    assert batch["features"].shape == (1, 4)


def test_only_floats_take_the_networks_type():
    rows = [{"input_ids": torch.tensor([[1]]), "features": torch.ones(1, 4)}]
    batch = collate(rows, 0, CPU, torch.bfloat16)
    assert batch["features"].dtype == torch.bfloat16
    assert batch["input_ids"].dtype == torch.int64


def test_audio_shape_ignores_the_text():
    a = {"input_ids": torch.ones(1, 5), "features": torch.ones(1, 4)}
    b = {"input_ids": torch.ones(1, 9), "features": torch.zeros(1, 4)}
    assert audio_shape(a) == audio_shape(b) != audio_shape({"features": torch.ones(1, 5)})
