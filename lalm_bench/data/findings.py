"""What a check found, as a table and as JSON."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lalm_bench.types import Json

ERROR, WARNING = "error", "warning"
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Finding:
    """One kind of fault.

    Parameters
    ----------
    severity : str
        `error`: a run refuses or miscounts it. `warning`: a run goes on, its result may mislead.
    what : str
    places : tuple of str
        Where; all of them.
    remedy : str
    """

    severity: str
    what: str
    places: tuple[str, ...]
    remedy: str

    @property
    def count(self) -> int:
        """How often it was found."""
        return len(self.places)


def finding(severity: str, what: str, places: Iterable[str], remedy: str) -> list[Finding]:
    """A list with the finding, or an empty one when there is no place where it holds."""
    found = tuple(places)
    return [Finding(severity, what, found, remedy)] if found else []


def failed(findings: Sequence[Finding]) -> bool:
    """True when a run would refuse or miscount something."""
    return any(f.severity == ERROR for f in findings)


def as_json(findings: Sequence[Finding]) -> list[Json]:
    """The same as JSON."""
    return [{**asdict(f), "count": f.count} for f in findings]


def _told(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {_told(v)}" for k, v in value.items())
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def show(title: str, facts: Mapping[str, Any], findings: Sequence[Finding] | None = None) -> None:
    """Print facts, and the findings of a check, for people."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 120)
    table = Table(title=title, show_header=False, title_justify="left")
    for name, value in facts.items():
        table.add_row(name.replace("_", " "), escape(_told(value)))
    console.print(table)
    if findings is None:
        return
    if not findings:
        console.print("nothing found")
        return
    table = Table(title_justify="left")
    for name in ("", "what", "count", "where", "do this"):
        table.add_column(name, overflow="fold", justify="right" if name == "count" else "left")
    for f in findings:
        more = [f"and {f.count - _SHOWN} more: see --json"] if f.count > _SHOWN else []
        where = "\n".join([*f.places[:_SHOWN], *more])
        table.add_row(f.severity, escape(f.what), str(f.count), escape(where), escape(f.remedy))
    console.print(table)
