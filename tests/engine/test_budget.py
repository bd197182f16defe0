"""Tokens that fit. There is no GPU here: torch.cuda's figures are stand-ins."""

from __future__ import annotations

import pytest
import torch

from lalm_bench.engine.budget import FILLED, FIRST, MOST, Budget

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
GIB = 1 << 30


class Memory:
    """What torch.cuda would say of a device of 100 GiB: bytes in use, held and at the peak."""

    def __init__(self, monkeypatch, in_use=16 * GIB):
        self.in_use = self.held = self.peak = in_use
        stand_ins = {
            "reset_peak_memory_stats": lambda device: setattr(self, "peak", self.in_use),
            "memory_allocated": lambda device: self.in_use,
            "memory_reserved": lambda device: self.held,
            "max_memory_allocated": lambda device: self.peak,
            "mem_get_info": lambda device: (100 * GIB - self.held, 100 * GIB),
        }
        for name, act in stand_ins.items():
            monkeypatch.setattr(torch.cuda, name, act)

    def spend(self, extra):
        """A batch needed `extra` bytes, and its allocator kept them."""
        self.peak = max(self.peak, self.in_use + extra)
        self.held = max(self.held, self.peak)


def test_one_row_always_fits_and_more_within_the_tokens():
    budget = Budget(CPU, 100)
    assert budget.fits(1, 10_000)
    assert budget.fits(4, 25)
    assert not budget.fits(4, 26)
    assert not budget.fits(5, 25)


def test_without_a_number_it_starts_small():
    assert Budget(CPU).tokens == Budget(GPU).tokens == FIRST
    assert Budget(GPU, 77).tokens == 77


@pytest.mark.parametrize("per_token", [1 << 20, 3 << 20])
def test_it_learns_from_what_a_batch_needed(monkeypatch, per_token):
    memory, budget = Memory(monkeypatch), Budget(GPU)
    for tokens in (1000, 4000):  # what the allocator kept of the first is free for the second
        before = budget.begin()
        memory.spend(tokens * per_token)
        budget.learn(tokens, before)
        assert budget.tokens == int(FILLED * 84 * GIB / per_token)
    assert budget.halved == 0


def test_an_earlier_peak_is_not_this_batchs(monkeypatch):
    memory, budget = Memory(monkeypatch), Budget(GPU)
    memory.spend(60 * GIB)
    before = budget.begin()
    memory.spend(1000 << 20)
    budget.learn(1000, before)
    assert budget.tokens == int(FILLED * 84 * 1024)


def test_it_never_exceeds_its_ceiling_nor_falls_to_nothing(monkeypatch):
    memory, budget = Memory(monkeypatch), Budget(GPU)
    budget.learn(10_000, budget.begin())
    assert budget.tokens == MOST
    before = budget.begin()
    memory.spend(80 * GIB)
    budget.learn(1, before)
    assert budget.tokens == 1


def test_memory_that_ran_out_halves_it_for_good(monkeypatch):
    memory, budget = Memory(monkeypatch), Budget(GPU)
    budget.halve(6000)
    assert (budget.tokens, budget.halved) == (3000, 1)
    budget.halve(100_000)
    assert (budget.tokens, budget.halved) == (1500, 2)
    before = budget.begin()
    memory.spend(1 << 20)
    budget.learn(1000, before)
    assert budget.tokens == 1500
    for _ in range(20):
        budget.halve(budget.tokens)
    assert (budget.tokens, budget.halved) == (1, 22)


@pytest.mark.parametrize("fixed", [(CPU, None), (CPU, 500), (GPU, 500)])
def test_a_number_of_the_users_and_the_cpu_are_not_measured(fixed):
    # Without a stand-in, asking a GPU that is not there would fail.
    budget = Budget(*fixed)
    tokens = budget.tokens
    budget.learn(10, budget.begin())
    assert budget.tokens == tokens
    budget.halve(400)
    assert budget.tokens == 200


def test_an_empty_batch_teaches_nothing(monkeypatch):
    Memory(monkeypatch)
    budget = Budget(GPU)
    budget.learn(0, budget.begin())
    assert budget.tokens == FIRST
