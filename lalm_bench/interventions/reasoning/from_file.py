"""Interventions whose new text the model writes itself, or a file brings."""

from __future__ import annotations

import sys
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from lalm_bench.interventions.reasoning.base import ReasoningIntervention
from lalm_bench.interventions.reasoning.cache import Cache, read
from lalm_bench.interventions.reasoning.steps import Writer
from lalm_bench.types import Json


@dataclass(frozen=True, kw_only=True)
class WrittenOrRead(ReasoningIntervention):
    """A chain with new text in it.

    Parameters
    ----------
    writer : Writer
        How the model is asked to write it.
    file : str, optional
        JSONL with the texts, instead of the model.
    chain_id : int, optional
        Of several chains of an item in the file, the one that the baseline holds; None where the
        file has one only.
    """

    fields: ClassVar[tuple[str, str, str]]
    """Of the file: the place, the text that stood there, the text that stands instead."""

    writer: Writer
    file: str | None = None
    chain_id: int | None = None

    @cached_property
    def cache(self) -> Cache | None:
        """The file's content, read once when it is first needed."""
        if self.file is None:
            return None
        cache = read(self.file, *self.fields, self.chain_id)
        tell(cache, self.past.ids)
        return cache

    def inputs(self) -> list[Path]:
        """The file."""
        return [] if self.file is None else [Path(self.file)]

    def report(self) -> dict[str, Json]:
        """How many of the file's items the baseline has not, and rows of other chains."""
        return {} if self.cache is None else left_out(self.cache, self.past.ids)


def left_out(cache: Cache, ids: Collection[str]) -> dict[str, Json]:
    """What of a file is not used."""
    return {"unknown_ids": cache.unknown(ids), "rows_of_other_chains": cache.other_chains}


def tell(cache: Cache, ids: Collection[str]) -> None:
    """One line on standard error where something of the file is not used."""
    facts = [f"{name}={count}" for name, count in left_out(cache, ids).items() if count]
    if facts:
        sys.stderr.write(f"{cache.path}: not used: {', '.join(facts)}\n")
