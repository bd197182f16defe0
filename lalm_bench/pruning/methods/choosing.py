"""What prefill methods have in common unless they say otherwise."""

from __future__ import annotations

from typing import ClassVar

from lalm_bench.pruning.contracts import matched


class Choosing:
    """A prefill method that asks for nothing, works at every layer and has no count of its own."""

    needs: ClassVar[frozenset[str]] = frozenset()
    window: ClassVar[int] = 0
    first_layer: ClassVar[int] = 0
    last_layer: ClassVar[int | None] = None

    def count(self, tokens: int, ratio: float, rule: str) -> int:
        """max(1, int(tokens (1 - ratio))), under either rule."""
        return matched(tokens, ratio)
