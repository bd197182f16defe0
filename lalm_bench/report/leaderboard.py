"""Tables of a report: scores beside their yardsticks, published numbers, differences."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from lalm_bench.compare import tables as paired
from lalm_bench.compare.family import CONTROLS, Compared, Family
from lalm_bench.compare.loaded import Run
from lalm_bench.compare.output import EXPLAINED
from lalm_bench.report import table
from lalm_bench.report.paper import Table, file_name
from lalm_bench.store import read_json

# Kinds of interval, the one that knows about shared clips first.
_KINDS = ("_cluster", "_bootstrap", "", "_wilson")
_YARDSTICKS = {
    "chance": "chance",
    "best_constant_answer": "best constant",
    "invalid_rate": "invalid",
}
_MOST_VALUES = 5
# The paired tables' short heads, which a reader who has not met them cannot guess.
_HEADS = {
    "n": "items",
    "delta, points [95 %]": "change, points [95 %]",
    "same, of valid": "same answer",
    "R>W": "right → wrong",
    "W>R": "wrong → right",
    "L>null": "label → none",
    "shows": "detectable, points",
}
_WORDS = (
    "Same answer: share of the items, of those with a valid answer in both runs. Detectable: the "
    "smallest change that so many items reveal with power 80 %."
)


def scores(
    task: str, names: Mapping[str, str], runs: Sequence[Run], families: Sequence[Family]
) -> Table:
    """The leaderboard of one task, one row a run.

    Parameters
    ----------
    task : str
    names : mapping
        Fingerprint -> what the run is called.
    runs : sequence of Run
    families : sequence of Family
        Of these runs, for changes and audio gain.
    """
    values = {run.fingerprint: run.metrics["metrics"] for run in runs}
    headline = list(dict.fromkeys(n for run in runs for n in run.headline))[:_MOST_VALUES]
    yardsticks = {
        name: title
        for name, title in _YARDSTICKS.items()
        if name not in headline and any(v.get(name) is not None for v in values.values())
    }
    changes = {c.run.fingerprint: c for family in families for c in family.cells}
    gains = _gains(families)
    columns = [
        "run",
        "items",
        *[_titled(n, values.values()) for n in headline],
        *yardsticks.values(),
        "errors",
    ]
    columns += ["change, points [95 %]", "p Holm"] * bool(changes)
    controls = {str(gain["control"]) for _, gain in gains.values()}
    over = controls.pop() if len(controls) == 1 else ""
    columns += [f"gain over {over} [95 %]" if over else "audio gain [95 %]"] * bool(gains)
    rows, data = [], []
    for run in runs:
        own, name = values[run.fingerprint], names[run.fingerprint]
        row = [name, table.number(own.get("n")), *[with_interval(own, n) for n in headline]]
        row += [table.number(own.get(n)) for n in yardsticks]
        row.append(table.number(own.get("n_errors")))
        cell = changes.get(run.fingerprint)
        if changes:
            row += [_change(cell), "-" if cell is None else paired.probability(cell.result.p_holm)]
        if gains:
            shown, gain = gains.get(run.fingerprint, ("-", {}))
            row.append(shown if over or not gain else f"{shown} over {gain['control']}")
        rows.append(row)
        data.append(_plain(run, name, own, headline, cell, gains.get(run.fingerprint)))
    note = "Intervals of scores are cluster-robust or bootstrapped by clip, else Wilson." + (
        " Changes are paired with the baseline, item by item; they and gains are in points."
        if changes
        else ""
    )
    return Table(f"leaderboard_{file_name(task)}", f"{task}: scores", columns, rows, note, (), data)


def _plain(
    run: Run,
    name: str,
    own: Mapping[str, Any],
    headline: Sequence[str],
    cell: Compared | None,
    gain: tuple[str, Mapping[str, Any]] | None,
) -> dict[str, Any]:
    config = run.config
    found: dict[str, Any] = {
        "run": name,
        "task": config["task"]["name"],
        "model": config["model"]["name"],
        "condition": run.state.get("condition"),
        "fingerprint": run.fingerprint,
        "n": own.get("n"),
    }
    for metric in headline:
        low, high = ends(own, metric)
        found |= {metric: own.get(metric), f"{metric}_low": low, f"{metric}_high": high}
    found |= {n: own.get(n) for n in (*_YARDSTICKS, "n_errors", "n_skipped")}
    result = None if cell is None else cell.result
    found |= {
        k: None if result is None else getattr(result, k)
        for k in ("delta", "low", "high", "p", "p_holm")
    }
    found |= {f"gain_{k}": v for k, v in (gain[1] if gain else {}).items() if k != "run"}
    return found


def ends(values: Mapping[str, Any], name: str) -> tuple[Any, Any]:
    """Low and high end of a value's interval, the one that knows about shared clips first.

    One without width, of items that all went the same way, would claim certainty: it is none.
    """
    for kind in _KINDS:
        low, high = values.get(f"{name}{kind}_low"), values.get(f"{name}{kind}_high")
        if low is not None and high is not None and low < high:
            return low, high
    return None, None


def with_interval(values: Mapping[str, Any], name: str) -> str:
    """A value and its interval, for people; a dash for none."""
    low, high = ends(values, name)
    shown = table.number(values.get(name))
    return shown if low is None else f"{shown} [{table.number(low)}, {table.number(high)}]"


def _titled(name: str, found: Iterable[Mapping[str, Any]]) -> str:
    """Title of a value's column."""
    return f"{name} [95 %]" if any(ends(values, name)[0] is not None for values in found) else name


def _change(cell: Compared | None) -> str:
    if cell is None:
        return "-"
    return paired.change(cell.result.delta, cell.result.low, cell.result.high)


def _gains(families: Sequence[Family]) -> dict[str, tuple[str, Mapping[str, Any]]]:
    """Fingerprint -> audio gain over the first control there is, shown and plain."""
    found: dict[str, tuple[str, Mapping[str, Any]]] = {}
    for family in families:
        of = {cell.label: cell.run.fingerprint for cell in family.cells}
        of["baseline"] = family.baseline.fingerprint
        ranked = sorted(family.gains, key=lambda g: _rank(str(g["control"])))
        for gain in ranked:
            shown = paired.change(gain["gain"], gain["low"], gain["high"])
            found.setdefault(of[gain["run"]], (shown, gain))
    return found


def _rank(control: str) -> int:
    return next((i for i, name in enumerate(CONTROLS) if control.startswith(name)), len(CONTROLS))


def published(task: str, names: Mapping[str, str], runs: Sequence[Run]) -> Table | None:
    """What others have published beside what these runs scored; None where nothing is known."""
    known: dict[tuple[Any, ...], Mapping[str, Any]] = {}
    for run in runs:
        for reference in run.config["task"].get("references") or ():
            key = tuple(str(reference.get(k)) for k in ("value", "model", "source"))
            known.setdefault(key, reference)
    if not known:
        return None
    shown = list(runs)[:_MOST_VALUES]
    analyses = {run.fingerprint: read_json(run.folder / "analysis.json") or {} for run in shown}
    rows = []
    for reference in sorted(known.values(), key=lambda r: str(r["value"])):
        name = str(reference["value"])
        own = [table.number(_own(run, analyses[run.fingerprint], name)) for run in shown]
        said = (str(reference.get("model", "")), str(reference.get("source", "")))
        rows.append([name, table.number(float(reference["number"])), *said, *own])
    columns = ["value", "published", "model", "source", *[names[r.fingerprint] for r in shown]]
    note = "Published numbers hold for their authors' settings; the task's YAML says which."
    if len(shown) < len(runs):
        note += f" Of {len(runs)} runs the first {len(shown)} are shown."
    stem = f"published_{file_name(task)}"
    return Table(stem, f"{task}: published numbers and these runs", columns, rows, note)


def _own(run: Run, analysis: Mapping[str, Any], name: str) -> float | None:
    """A run's value by the name that a reference gives it: `accuracy/<group>/<value>`."""
    found = run.metrics["metrics"].get(name)
    if found is None and name.count("/") >= 2:
        metric, group, value = name.split("/", 2)
        rows = analysis.get(f"by_{group}") or ()
        found = next((r.get(metric) for r in rows if str(r.get("value")) == value), None)
    return None if found is None else float(found)


def differences(
    family: Family, keys: Mapping[str, str], names: Mapping[str, str]
) -> Iterator[Table]:
    """Paired tables of a family: runs, and audio gain.

    Parameters
    ----------
    family : Family
    keys, names : mapping
        Fingerprint -> key of the run on the page, and what it is called.
    """
    stem = f"paired_{file_name(family.title)}_{family.baseline.fingerprint[:6]}"
    columns, rows = paired.run_rows(family)
    called = {cell.label: names[cell.run.fingerprint] for cell in family.cells}
    called["baseline"] = names[family.baseline.fingerprint]
    about = [keys.get(cell.run.fingerprint) for cell in family.cells]
    notes = [f"{said}." for said in paired.notes(family)]
    notes += [f"Not compared: {line}." for line in family.failed]
    chance = "" if family.chance is None else f", chance {table.number(family.chance)}"
    value = f"{family.measure.name} {table.number(family.value)}{chance}"
    title = f"{family.title}, each run against {called['baseline']} ({value})"
    note = " ".join([*notes, _WORDS, EXPLAINED])
    heads = [_HEADS.get(name, name) for name in columns]
    yield Table(stem, title, heads, _renamed(rows, called), note, about)
    if family.gains:
        heads, gains = paired.gain_rows(family)
        said = (
            "Audio gain is the paired difference from the same items without their audio: in "
            "silence, left out, or that of another item (the control)."
        )
        title = f"{family.title}: audio gain"
        yield Table(f"{stem}_gain", title, heads, _renamed(gains, called), said)


def _renamed(rows: Sequence[list[str]], called: Mapping[str, str]) -> list[list[str]]:
    """Rows whose runs are called as everywhere else in the report."""
    return [[called.get(first, first), *others] for first, *others in rows]


def group_differences(family: Family) -> Iterator[Table]:
    """Each run of a family against the baseline, by group."""
    stem = f"paired_{file_name(family.title)}_{family.baseline.fingerprint[:6]}"
    for cell in family.cells:
        for group in cell.result.groups:
            name = file_name(f"{stem}_{cell.label}_{group}")
            title = f"{family.title}, {cell.label}: by {group}"
            yield Table(name, title, *paired.group_rows(cell, group))


def groups(run: Run, name: str, key: str) -> Iterator[Table]:
    """A run's own numbers by its task's groups."""
    analysis = read_json(run.folder / "analysis.json") or {}
    for group in (*run.config["task"].get("groups", ()), "answer_type"):
        columns, rows = table.group_table(analysis, group, run.headline)
        if rows:
            yield Table(f"groups_{key}_{file_name(group)}", f"{name}: by {group}", columns, rows)
