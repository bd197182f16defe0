"""The first page of a report: its sections of tables and figures, as the page reads them."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lalm_bench.compare.family import Family
from lalm_bench.compare.loaded import Run
from lalm_bench.identity import canonical
from lalm_bench.report import attention, conditions, judges, leaderboard, plots, studies
from lalm_bench.report.attention import Captured
from lalm_bench.report.columns import Columns
from lalm_bench.report.paper import Table, file_name
from lalm_bench.report.records import answers
from lalm_bench.report.sources import Sources
from lalm_bench.report.verdicts import Verdicts
from lalm_bench.store import read_json

# Featurising happens beside the model's work and does not delay it.
_NOT_THE_MODEL = "featurise_s"
_MOST_COMPARED = 6
_MOST_UNFOLDED = 8
# Figures of several panels.
_BROAD = ("curve", "tradeoff")
_KINDS = {
    "pareto": "score against time:",
    "tradeoff": "score against time:",
    "curve": "curve:",
    "confusion": "confusion matrix",
}


def gather(
    sources: Sources,
    found: Sequence[Columns],
    said: Sequence[Verdicts],
    watched: Sequence[Captured],
    names: Sequence[str],
    folder: Path,
) -> dict[str, Any]:
    """Write tables and figures below `folder`; return the runs and sections for the page.

    Parameters
    ----------
    sources : Sources
    found, said, watched, names : sequence
        Rows, verdicts, attention and name of each run, in the order of `sources.runs`.
    folder : Path
        Has `tables/` and `figures/`.
    """
    keys = {run.fingerprint: f"r{number}" for number, run in enumerate(sources.runs)}
    called = {run.fingerprint: name for run, name in zip(sources.runs, names, strict=True)}
    studied = {str(row["task"]) for study in sources.studies for row in study.get("rows", ())}
    pages = _Pages(folder, sources.runs, keys, called, sources.paired.families, studied)
    tasks = dict.fromkeys(map(_task, sources.runs))
    sections = [section for task in tasks for section in pages.task(task)]
    if sources.paired.families or sources.paired.missing:
        sections += pages.paired(sources.paired.missing)
    if tables := [*judges.tables(keys, called, [*zip(sources.runs, said, strict=True)])]:
        sections.append({"title": "Judges", "tables": pages.write(tables)})
    sections += pages.attention(watched)
    sections += [pages.study(n, s) for n, s in enumerate(sources.studies) if s.get("rows")]
    sections += [pages.run(run) for run in sources.runs]
    made = pages.write([conditions.table(keys, called, sources.runs)])
    sections.append({"title": "Runs", "tables": made, "fold": len(sources.runs) > 1})
    listed = [
        {
            "key": keys[columns.run.fingerprint],
            "name": name,
            "task": _task(columns.run),
            "model": columns.run.config["model"]["name"],
            "condition": columns.run.state.get("condition"),
            "fingerprint": columns.run.fingerprint,
            "status": columns.run.state.get("status"),
            "n": len(columns.keys),
        }
        for columns, name in zip(found, names, strict=True)
    ]
    return {"runs": listed, "sections": sections}


@dataclass(frozen=True)
class _Pages:
    folder: Path
    runs: Sequence[Run]
    keys: Mapping[str, str]
    names: Mapping[str, str]
    families: Sequence[Family]
    # Tasks of the studies: their times, measured in turns, are the better ones.
    studied: Collection[str] = ()

    def task(self, task: str) -> list[dict[str, Any]]:
        """Leaderboard and figures over all runs of a task, and published numbers beside them."""
        runs = [run for run in self.runs if _task(run) == task]
        families = [f for f in self.families if _task(f.baseline) == task]
        scores = leaderboard.scores(task, self.names, runs, families)
        about = [self.keys[run.fingerprint] for run in runs]
        tables = self.write([replace(scores, runs=about)])
        files: list[Path] = []
        if any(family.curves for family in families):
            from lalm_bench.compare.figures import draw

            files += draw(self.folder / "figures", families)
        if len(runs) > 1:
            files += self._compared(task, runs)
        found: list[dict[str, Any]] = [
            {"title": task, "tables": tables, "figures": self._figures(files)}
        ]
        if (published := leaderboard.published(task, self.names, runs)) is not None:
            found.append(
                {
                    "title": f"{task}: published numbers",
                    "tables": self.write([published]),
                    "fold": len(published.rows) > _MOST_UNFOLDED,
                }
            )
        return found

    def _compared(self, task: str, runs: Sequence[Run]) -> list[Path]:
        figures, files = self.folder / "figures", []
        metric = runs[0].headline[0]
        timed = [p for run in runs if (p := self._timed(run, metric)) is not None]
        if not _differ_in_time(runs) or task in self.studied:
            timed = []
        if len(timed) > 1:
            stem = figures / file_name(f"pareto_{task}")
            files += plots.pareto(stem, f"{task}: score against time", metric, timed)
        analyses = [
            (self.names[run.fingerprint], read_json(run.folder / "analysis.json") or {})
            for run in runs[:_MOST_COMPARED]
        ]
        title = (
            task if len(runs) <= _MOST_COMPARED else f"{task}, {_MOST_COMPARED} of {len(runs)} runs"
        )
        for group in runs[0].config["task"].get("groups", ()):
            rows = [
                (name, [r for r in a.get(f"by_{group}") or () if r.get(metric) is not None])
                for name, a in analyses
            ]
            if len({str(r["value"]) for _, found in rows for r in found}) > 1:
                stem = figures / file_name(f"by_{group}_{task}")
                files += plots.by_group(stem, title, group, metric, rows)
        return files

    def _timed(self, run: Run, metric: str) -> dict[str, Any] | None:
        """Where a run stands between score and time; None where its answers note no time."""
        values = run.metrics["metrics"]
        spent = [
            sum(s for n, s in record["timing"].items() if n != _NOT_THE_MODEL)
            for record in answers(run.folder)[0].values()
            if record.get("timing")
        ]
        if not spent or not isinstance(values.get(metric), int | float):
            return None
        low, high = leaderboard.ends(values, metric)
        mean = sum(spent) / len(spent)
        name = self.names[run.fingerprint]
        return {"name": name, "seconds": mean, "value": values[metric], "low": low, "high": high}

    def paired(self, missing: Sequence[str]) -> list[dict[str, Any]]:
        """Differences from the baselines; those by group are folded away."""
        tables = [
            table
            for family in self.families
            for table in leaderboard.differences(family, self.keys, self.names)
        ]
        note = "".join(f"Not compared: {line}. " for line in missing)
        sections: list[dict[str, Any]] = [
            {"title": "Paired differences", "note": note, "tables": self.write(tables)}
        ]
        by_group = [t for family in self.families for t in leaderboard.group_differences(family)]
        if by_group:
            title = "Paired differences by group"
            sections.append({"title": title, "tables": self.write(by_group), "fold": True})
        return sections

    def attention(self, watched: Sequence[Captured]) -> list[dict[str, Any]]:
        """Share of attention on audio, of the runs in which it was captured."""
        shown = [
            (self.keys[run.fingerprint], self.names[run.fingerprint], captured)
            for run, captured in zip(self.runs, watched, strict=True)
        ]
        found = attention.overview(shown)
        if found is None:
            return []
        from lalm_bench.capture.figures import share_by_layer

        files: list[Path] = []
        for key, name, captured in shown:
            if layers := captured.summary.get("layers"):
                stem = self.folder / "figures" / f"attention_{key}"
                files += share_by_layer(stem, name, layers, captured.summary["prompts"])
        tables = self.write([found])
        figures = self._figures(files, "share of attention on audio by layer")
        return [{"title": "Attention", "tables": tables, "figures": figures}]

    def study(self, number: int, study: Mapping[str, Any]) -> dict[str, Any]:
        """Score against time of a pruning study, as it measured them in turns, and its tables."""
        from lalm_bench.tradeoff_figure import draw

        # Two studies may be on the same task.
        place = self.folder / "figures" / f"study_{number}"
        place.mkdir()
        title = str(study["title"])
        return {
            "title": title,
            "tables": self.write(studies.tables(study, f"pruning_{number}", self.keys)),
            "figures": self._figures(draw(place, title, study["rows"])),
        }

    def run(self, run: Run) -> dict[str, Any]:
        """A run's own breakdowns, bars and confusion matrix."""
        key, name = self.keys[run.fingerprint], self.names[run.fingerprint]
        title = name if len({_task(r) for r in self.runs}) > 1 else f"{_task(run)} · {name}"
        files = _own_figures(run, title, self.folder / "figures" / key)
        tables = [*leaderboard.groups(run, name, key)]
        return {
            "title": title,
            "tables": self.write(tables),
            "figures": self._figures(files),
            "fold": len(self.runs) > 1,
        }

    def write(self, tables: Iterable[Table]) -> list[dict[str, Any]]:
        """Write the files of tables; the tables for the page."""
        return [t.json(t.write(self.folder / "tables")) for t in tables]

    def _figures(self, files: Sequence[Path], title: str = "") -> list[dict[str, Any]]:
        drawn = [f for f in files if f.suffix == ".svg"]
        return [
            {
                "title": title or _caption(f.stem),
                "broad": f.stem.startswith(_BROAD),
                "svg": f.relative_to(self.folder).as_posix(),
                "png": f.with_name(f"{f.name.removesuffix('.svg')}.png")
                .relative_to(self.folder)
                .as_posix(),
            }
            for f in drawn
        ]


def _own_figures(run: Run, title: str, folder: Path) -> list[Path]:
    """The figures that the run drew, or the same drawn now."""
    drawn = sorted((run.folder / "figures").glob("*.svg"))
    folder.mkdir()
    if drawn:
        kept = [
            f for svg in drawn for f in (svg, svg.with_name(f"{svg.name[:-4]}.png")) if f.is_file()
        ]
        return [Path(shutil.copyfile(file, folder / file.name)) for file in kept]
    from lalm_bench.report import figures

    analysis = read_json(run.folder / "analysis.json") or {}
    shown = tuple(dict.fromkeys((*run.config["task"].get("groups", ()), "answer_type")))
    return figures.draw(folder, title, analysis, shown, run.headline)


def _caption(stem: str) -> str:
    """What a figure shows, from the name of its file."""
    kind, _, about = stem.partition("_")
    if kind == "by":
        return f"by {about.partition('_')[0]}"
    return " ".join([_KINDS.get(kind, kind), about.replace("_", " ")]).strip()


def _differ_in_time(runs: Sequence[Run]) -> bool:
    """Whether runs differ in what an answer's time depends on: not in interventions alone."""
    parts = ("model", "pruning", "generation")
    return len({canonical([run.config[part] for part in parts]) for run in runs}) > 1


def _task(run: Run) -> str:
    return str(run.config["task"]["name"])
