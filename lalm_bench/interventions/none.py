"""The baseline condition: the item as the benchmark states it."""

from __future__ import annotations

from dataclasses import dataclass

from lalm_bench.types import Context, Request, Sample


@dataclass(frozen=True)
class NoIntervention:
    """Leaves every request as it is."""

    name: str = "none"

    def apply(self, sample: Sample, request: Request, context: Context) -> Request:
        """The request itself."""
        return request
