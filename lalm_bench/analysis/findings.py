"""What an analysis found, as a folder: Markdown to read, CSV and LaTeX to use, a figure, JSON."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lalm_bench import provenance
from lalm_bench.compare.loaded import Run
from lalm_bench.compare.settings import labels
from lalm_bench.errors import ConfigError, DataError
from lalm_bench.report.paper import Table
from lalm_bench.stats import Estimate
from lalm_bench.store import write_bytes, write_json

# Draws `<stem>.png` and `<stem>.svg`.
Draw = Callable[[Path], Sequence[Path]]


@dataclass(frozen=True)
class Findings:
    """The result of one verb.

    Parameters
    ----------
    verb : str
        Stem of the main files; `<verb>.json` also tells a later start that the folder is its own.
    title : str
    about : str
        How the numbers are made.
    tables : sequence of Table
    facts : mapping
        For `<verb>.json`: what was read, settings, counts.
    draw : callable, optional
    long : frozenset of str
        Names of tables that are files of their own and too long for the page.
    also : callable, optional
        Writes further files into the folder that it is given.
    precious : str, optional
        Pattern of what others may have put into an earlier result; such a result is not replaced.
    """

    verb: str
    title: str
    about: str
    tables: Sequence[Table]
    facts: Mapping[str, Any] = field(default_factory=dict)
    draw: Draw | None = None
    long: frozenset[str] = frozenset()
    also: Callable[[Path], None] | None = None
    precious: str | None = None

    def write(self, folder: Path) -> None:
        """Write everything into `folder`, in one step; an earlier result of the verb is replaced.

        Raises
        ------
        ConfigError
            The folder holds something else, or what is precious.
        DataError
            It cannot be written to.
        """
        if folder.exists() and not self._is_own(folder):
            raise ConfigError(
                f"{folder} holds something else than a result of {self.verb}; name a new or an "
                "empty folder with --out"
            )
        if self.precious and (work := next(folder.glob(self.precious), None)):
            raise ConfigError(f"{work} would be lost; name another folder with --out")
        partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
        old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            partial.mkdir()
            self._write(partial)
            if folder.exists():
                folder.rename(old)
            partial.rename(folder)
        except OSError as error:
            raise DataError(
                f"{folder}: cannot be written ({error.strerror}); choose another place with --out"
            ) from error
        finally:
            for left in (partial, old):
                shutil.rmtree(left, ignore_errors=True)

    def _is_own(self, folder: Path) -> bool:
        with suppress(OSError):
            return not any(folder.iterdir()) or (folder / f"{self.verb}.json").is_file()
        return False

    def _write(self, folder: Path) -> None:
        if self.also is not None:
            self.also(folder)
        files = self.draw(folder / self.verb) if self.draw else ()
        text = [f"# {self.title}", "", self.about, ""]
        text += [f"![{self.verb}]({file.name})\n" for file in files if file.suffix == ".png"]
        for table in self.tables:
            write_bytes(folder / f"{table.name}.csv", table.csv().encode())
            if table.name in self.long:
                text.append(f"All of *{table.title}*: `{table.name}.csv`.\n")
            else:
                write_bytes(folder / f"{table.name}.tex", table.latex().encode())
                # No table has links of its own: what a model wrote must not become one.
                text.append(table.markdown().replace("](", "]\\("))
        write_bytes(folder / f"{self.verb}.md", "\n".join(text).encode())
        write_json(
            folder / f"{self.verb}.json",
            {"verb": self.verb, "made": provenance.now(), **self.facts},
        )


def shown(estimate: Estimate, bounds: tuple[float, float] = (0.0, 1.0), digits: int = 3) -> str:
    """`0.812 [0.790, 0.834]`; `-` where there is no value."""
    if estimate.value is None:
        return "-"
    low, high = interval(estimate, bounds)
    text = f"{estimate.value:.{digits}f}"
    return text if low is None or high is None else f"{text} [{low:.{digits}f}, {high:.{digits}f}]"


def interval(
    estimate: Estimate, bounds: tuple[float, float] = (0.0, 1.0)
) -> tuple[float | None, float | None]:
    """Ends of an interval within the measure's own bounds.

    None where all items agree: an interval without width would claim certainty.
    """
    if estimate.low is None or estimate.high is None or not estimate.stderr:
        return None, None
    return max(estimate.low, bounds[0]), min(estimate.high, bounds[1])


def flat(
    name: str, estimate: Estimate, bounds: tuple[float, float] = (0.0, 1.0)
) -> dict[str, float | int | None]:
    """Columns `<name>`, `_low`, `_high`, `_n` for CSV."""
    low, high = interval(estimate, bounds)
    found: dict[str, float | int | None] = {name: estimate.value, f"{name}_low": low}
    return found | {f"{name}_high": high, f"{name}_n": estimate.n}


def names(runs: Sequence[Run]) -> list[str]:
    """Each run for people: task, model, condition, and its fingerprint where these are alike."""
    parts = [(str(r.config["task"]["name"]), str(r.config["model"]["name"])) for r in runs]
    kept = [place for place in (0, 1) if len({part[place] for part in parts}) > 1]
    full = [""] * len(runs)
    for part in dict.fromkeys(parts):
        places = [place for place, other in enumerate(parts) if other == part]
        for place, name in zip(places, labels([runs[place] for place in places]), strict=True):
            full[place] = " · ".join([*(part[k] for k in kept), name])
    return [
        f"{name} [{run.fingerprint[:6]}]" if full.count(name) > 1 else name
        for name, run in zip(full, runs, strict=True)
    ]


def sources(runs: Sequence[Run]) -> list[dict[str, str]]:
    """What was read, for `<verb>.json`."""
    return [
        {
            "fingerprint": run.fingerprint,
            "task": str(run.config["task"]["name"]),
            "model": str(run.config["model"]["name"]),
            "condition": str(run.state.get("condition", "")),
            "status": str(run.state.get("status", "")),
        }
        for run in runs
    ]
