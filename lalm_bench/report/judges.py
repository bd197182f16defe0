"""Tables of a report on what judges made of its runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lalm_bench.compare.loaded import Run
from lalm_bench.report import table
from lalm_bench.report.leaderboard import with_interval
from lalm_bench.report.paper import Table, file_name
from lalm_bench.report.verdicts import Verdicts

_MOST_VALUES = 5
_ALPHA = "judge_alpha_"
_NOTE = (
    "Scores here are made of verdicts: where a rubric decides what is right, accuracy is the "
    "judges'. Malformed: share of the verdicts that could not be read. Alpha is Krippendorff's, "
    "over the judges (1: they always agree, 0: as by chance). Judges disagree: answers to which "
    "two judges gave different numbers, of those with a verdict; a filter of the samples."
)

Row = tuple[str, str, Verdicts]


def tables(
    keys: Mapping[str, str], names: Mapping[str, str], said: Sequence[tuple[Run, Verdicts]]
) -> Iterator[Table]:
    """For each rubric a table of the runs, and where several judges spoke one of the judges.

    Parameters
    ----------
    keys, names : mapping
        Fingerprint -> key of the run on the page, and what it is called.
    said : sequence of (Run, Verdicts)
    """
    rubrics = list(dict.fromkeys(name for _, verdicts in said for name in verdicts.rubrics))
    for rubric in rubrics:
        having = [
            (keys[run.fingerprint], names[run.fingerprint], verdicts)
            for run, verdicts in said
            if rubric in verdicts.rubrics
        ]
        headline = list(
            dict.fromkeys(n for *_, v in having for n in v.rubrics[rubric].get("headline", ()))
        )[:_MOST_VALUES]
        yield _panel(rubric, having, headline)
        found = _alone(rubric, having, headline)
        if found is not None:
            yield found


def _panel(rubric: str, having: Sequence[Row], headline: Sequence[str]) -> Table:
    values = {key: v.rubrics[rubric].get("metrics", {}) for key, _, v in having}
    alphas = list(dict.fromkeys(n for v in values.values() for n in v if n.startswith(_ALPHA)))
    titles = [f"alpha {name.removeprefix(_ALPHA)}" for name in alphas]
    columns = ["run", "answers", *headline, "malformed", *titles, "judges disagree"]
    rows, data = [], []
    for key, name, verdicts in having:
        own = values[key]
        apart = [d for at in verdicts.said if (d := verdicts.disagree(at, rubric)) is not None]
        row = [name, table.number(own.get("n_answers", own.get("n")))]
        row += [with_interval(own, n) for n in headline]
        row += [table.number(own.get(n)) for n in ("judge_malformed_rate", *alphas)]
        rows.append([*row, f"{sum(apart)} of {len(apart)}"])
        facts: dict[str, Any] = {"run": name, "judges disagree": rows[-1][-1]}
        data.append(facts | {n: v for n, v in own.items() if "[" not in n})
    keys = [key for key, *_ in having]
    title = f"Judged by {rubric}"
    return Table(f"judged_{file_name(rubric)}", title, columns, rows, _NOTE, keys, data)


def _alone(rubric: str, having: Sequence[Row], headline: Sequence[str]) -> Table | None:
    """Each judge for itself; None where no run had two."""
    shown = [
        (key, name, row)
        for key, name, verdicts in having
        if len(rows := verdicts.analyses.get(rubric, {}).get("by_judge") or ()) > 1
        for row in rows
    ]
    if not shown:
        return None
    rated = [name for name in headline if any(name in row for *_, row in shown)]
    columns = ["run", "judge", "verdicts", *rated, "malformed"]
    rows = [
        [
            name,
            str(row["value"]),
            table.number(row.get("n")),
            *[table.number(row.get(n)) for n in (*rated, "malformed_rate")],
        ]
        for _, name, row in shown
    ]
    title = f"Judged by {rubric}: each judge alone"
    about = [key for key, *_ in shown]
    return Table(f"judged_{file_name(rubric)}_alone", title, columns, rows, "", about)
