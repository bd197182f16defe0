"""All kinds of temporal question over one source, as one run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lalm_bench.errors import ConfigError, DataError
from lalm_bench.tasks.order.timeline import Row
from lalm_bench.tasks.strong_captions import Rules, TimelineMCQ, account
from lalm_bench.types import Json


@dataclass(kw_only=True)
class Soundscape(TimelineMCQ):
    """Questions of several kinds; `meta["kind"]` is the name of the rules that made one.

    Parameters
    ----------
    questions : mapping of name to Rules
    """

    questions: Mapping[str, Rules]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.questions:
            raise ConfigError("task.questions names no kind; add one, such as order or relation")

    def build(self, rows: Iterable[Row]) -> tuple[list[dict[str, Any]], dict[str, Json]]:
        """Questions of one kind after the other; DataError for a kind that has none."""
        table = list(rows)
        records: list[dict[str, Any]] = []
        report: dict[str, Json] = {}
        for kind, rules in self.questions.items():
            made, counts = rules.build(table)
            if not made:
                raise DataError(
                    f"{self.source}: 0 questions of kind {kind} ({account(counts)}); raise "
                    f"task.source.scenes, loosen task.questions.{kind}, or drop it with "
                    f"~task.questions.{kind}"
                )
            report[kind] = counts
            records += [{**record, "kind": kind} for record in made]
        return records, report
