"""No judge: the task's own scorer decides."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class NoJudge:
    """Gives no verdicts."""

    name: str = "none"
