"""How many tokens fit into one batch: measured while running, halved when memory runs out."""

from __future__ import annotations

import torch

# Before anything is known: some twenty prompts with ten seconds of audio.
FIRST = 8192
# More gains little on the largest GPU measured, and loses more work on a kill.
MOST = 131072
# Share of the free memory that may be filled; the rest is fragmentation and workspaces.
FILLED = 0.8


class Budget:
    """Tokens, padding and room for answers included, that a batch may hold.

    Parameters
    ----------
    device : torch.device
    fixed : int, optional
        The user's own number; memory that runs out still halves it.
    """

    def __init__(self, device: torch.device, fixed: int | None = None) -> None:
        self._device = device
        self._measures = fixed is None and device.type == "cuda"
        self.tokens = fixed or FIRST
        self.halved = 0

    def fits(self, rows: int, longest: int) -> bool:
        """True when `rows` rows of `longest` tokens are within the budget; one row always is."""
        return rows <= 1 or rows * longest <= self.tokens

    def begin(self) -> int:
        """Note memory before a batch; returns the bytes in use."""
        if not self._measures:
            return 0
        torch.cuda.reset_peak_memory_stats(self._device)
        return torch.cuda.memory_allocated(self._device)

    def learn(self, tokens: int, before: int) -> None:
        """A batch of `tokens` tokens went through: set the budget by what it needed."""
        if not self._measures or not tokens:
            return
        needed = (torch.cuda.max_memory_allocated(self._device) - before) / tokens
        free = torch.cuda.mem_get_info(self._device)[0]
        cached = torch.cuda.memory_reserved(self._device) - torch.cuda.memory_allocated(
            self._device
        )
        fitting = int(FILLED * (free + cached) / max(needed, 1.0))
        ceiling = self.tokens if self.halved else MOST
        self.tokens = max(min(fitting, ceiling), 1)

    def halve(self, tokens: int) -> None:
        """A batch of `tokens` tokens did not fit."""
        self.halved += 1
        self.tokens = max(min(self.tokens, tokens) // 2, 1)
