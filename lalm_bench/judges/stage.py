"""`stage=judge`: verdicts on the answers of finished runs, from one judge or a panel.

    python -m lalm_bench stage=judge task=jasco model=qwen2_audio judge=jasco ...
    python -m lalm_bench stage=judge judge=binary 'judge.runs=[FOLDER, FINGERPRINT]' ...

The run's own model is not loaded, and nothing of the run is changed: all lies in
`<run>/judge/<rubric>/`. Each judge of a panel has a log of its own there, so that several may work
at once in jobs of their own (`judge.only=[NAME]`), and each is loaded once for all runs.
"""

from __future__ import annotations

import gc
import math
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from lalm_bench import progress, runs, stopping
from lalm_bench.build import AUTO, Experiment, build
from lalm_bench.errors import ConfigError, DataError, Incomplete, ModelError
from lalm_bench.identity import canonical
from lalm_bench.judges.judge import Judge
from lalm_bench.judges.judged import Judged, metrics_of, rubric_digest, unfinished
from lalm_bench.judges.passes import Pass, Verdict, ask, estimate
from lalm_bench.judges.replies import replies
from lalm_bench.report import table
from lalm_bench.runs import SCORED, find
from lalm_bench.store import ResponseLog, RunFolder, read_json
from lalm_bench.types import Json, Model, Runtime, Task

VERDICTS = "verdicts.jsonl"


@dataclass
class Target:
    """A finished run and its decisions."""

    folder: Path
    state: dict[str, Any]
    rows: list[dict[str, Any]]

    def place(self, judge: Judge) -> Path:
        """Where all that this rubric's judges say of the run lies."""
        return self.folder / "judge" / judge.name


def judge(config: DictConfig) -> str:
    """Ask the judges what they have not said yet, and write what it comes to.

    Returns
    -------
    str
        Folder of the judged run (of the last one, where there are several).

    Raises
    ------
    BenchError
        The input is wrong, or a judge's server is away.
    Incomplete
        Some verdicts ended in an error. The same command asks them again.
    """
    experiment = build(config)
    chosen = experiment.judge
    if not isinstance(chosen, Judge):
        raise ConfigError("stage=judge needs a rubric: choose judge=..., see --help")
    if config.stage == "run" and config.shard is not None and not _is_scored(experiment.folder):
        sys.stdout.write("the judges speak when the last shard has ended\n")
        return str(experiment.folder)
    targets = _targets(chosen, experiment)
    for name in chosen.asked:
        if wanted := chosen.models[name].missing():
            raise DataError(f"judge.panel.{name}: {'; '.join(wanted)}")
    if chosen.dry_run:
        _announce(chosen, targets)
        return str(targets[-1].place(chosen))
    said = _ask_panel(chosen, targets, experiment)
    missing = []
    for target in targets:
        missing += _conclude(chosen, target, experiment, said)
    if missing:
        shown = ", ".join(missing[:3]) + (" ..." if len(missing) > 3 else "")
        raise Incomplete(
            f"{len(missing)} verdicts are missing ({shown}); reasons are in {VERDICTS} below "
            f"{targets[-1].place(chosen)}; the same command asks only them again"
        )
    return str(targets[-1].place(chosen))


def _is_scored(folder: Path) -> bool:
    return (read_json(folder / "run.json") or {}).get("status") in SCORED


def _targets(chosen: Judge, experiment: Experiment) -> list[Target]:
    """The runs to judge, with their decisions."""
    outputs = experiment.config["paths"]["outputs"]
    if not chosen.runs and not (experiment.folder / "run.json").is_file():
        raise DataError(
            f"{experiment.folder}: no run of these settings to judge; run this command with "
            "stage=run first, or name one: judge.runs=[FOLDER]"
        )
    found = []
    for name in chosen.runs or [str(experiment.folder)]:
        folder = find(name, outputs, SCORED)
        rows = list(runs.decisions(folder))
        state = read_json(folder / "run.json")
        if chosen.baseline:
            _join(rows, _baseline(chosen.baseline, folder, outputs))
        concerned = [*filter(chosen.rubric.judges, rows)]
        if not concerned:
            raise DataError(
                f"{folder}: none of its {len(rows)} decisions is for judge={chosen.name}; it wants "
                f"{dict(chosen.rubric.only) or 'any'}"
            )
        chosen.rubric.demand(concerned)
        found.append(Target(folder, state, rows))
    return found


def _baseline(name: str, folder: Path, outputs: str) -> Path:
    if name != AUTO:
        return find(name, outputs, SCORED)
    from lalm_bench.compare.groups import finished_before
    from lalm_bench.compare.loaded import load

    run = load(folder)
    found = finished_before(run, canonical(run.config["pruning"]))
    if found is None or found.folder == folder:
        raise DataError(
            f"{folder}: no other run of the same settings without intervention was found; run it "
            "first, or name one: judge.baseline=FOLDER"
        )
    return found.folder


def _join(rows: list[dict[str, Any]], baseline: Path) -> None:
    """Give each row what the baseline decided on the same item and variant."""
    other = {(r["id"], r.get("variant")): r for r in runs.decisions(baseline)}
    for row in rows:
        found = other.get((row["id"], row.get("variant")))
        if found is None:
            raise DataError(
                f"item '{row['id']}' is not in the baseline run {baseline}; finish that run, or "
                "name another: judge.baseline=FOLDER"
            )
        row |= {f"baseline_{k}": found.get(k) for k in ("text", "reasoning", "label", "label_text")}


def _pass(chosen: Judge, name: str, target: Target) -> Pass:
    rubric = chosen.rubric
    return Pass(chosen, name, [r for r in target.rows if rubric.judges(r) and rubric.asks(r)])


def _announce(chosen: Judge, targets: list[Target]) -> None:
    """Print what a pass would ask."""
    total = 0
    for name in chosen.asked:
        for target in targets:
            place = target.place(chosen) / name / VERDICTS
            found = estimate(_pass(chosen, name, target), place)
            calls = found.calls - found.stored
            total += calls
            sys.stdout.write(
                f"{name}: {calls} calls, {found.characters} characters of prompts "
                f"({found.stored} of {found.calls} said already; {found.quoted} answers hold "
                f"lines that are set as quotations): {target.folder}\n"
            )
    again = ", and at most as many second questions" if chosen.rubric.reask else ""
    sys.stdout.write(f"dry run: {total} calls{again}; nothing was asked\n")


def _ask_panel(
    chosen: Judge, targets: list[Target], experiment: Experiment
) -> dict[str, dict[str, Json]]:
    """Let all speak: judges on servers at the same time, judges in this process in turn."""
    remote = [name for name in chosen.asked if hasattr(chosen.models[name], "endpoint")]
    bar = progress.wanted(experiment.config["progress"]) and len(remote) < 2  # bars do not mix
    said: dict[str, dict[str, Json]] = {}

    def speak(name: str) -> None:
        said[name] = _ask_all(chosen, name, targets, experiment, bar)

    with ThreadPoolExecutor(max(len(remote), 1), thread_name_prefix="judge") as pool:
        try:
            asking = [pool.submit(speak, name) for name in remote]
            for done in as_completed(asking):
                done.result()
        except BaseException as error:
            # The others end at their next safe place; what they were told is stored.
            stopping.request(type(error).__name__)
            pool.shutdown(wait=True, cancel_futures=True)
            stopping.forget()
            raise
    for name in chosen.asked:
        if name not in remote:
            speak(name)
            gc.collect()  # before the next judge asks for memory
    return said


def _ask_all(
    chosen: Judge, name: str, targets: list[Target], experiment: Experiment, bar: bool
) -> dict[str, Json]:
    """Let one judge speak on all runs; its memory is free afterwards. How it went."""
    # A model of its own, so that its weights go when this function ends.
    model: Model = replace(chosen.models[name])  # type: ignore[type-var]
    model.fetch()
    load = _Loading(model, experiment.runtime)
    began = time.monotonic()
    for target in targets:
        with RunFolder(target.place(chosen) / name) as folder:
            log = ResponseLog(folder.path / VERDICTS)
            try:
                ask(_pass(chosen, name, target), model, log, bar, load)
            except ModelError as error:
                raise ModelError(f"judge.panel.{name}: {error}") from error
            finally:
                log.close()
    facts: dict[str, Json] = {"identity": model.identity(), "asking_s": time.monotonic() - began}
    return facts | model.report()


@dataclass
class _Loading:
    """Loads a judge when it is first needed."""

    model: Model
    runtime: Runtime
    done: bool = False

    def __call__(self) -> None:
        if not self.done:
            self.model.load(self.runtime)
            self.done = True


def _conclude(
    chosen: Judge, target: Target, experiment: Experiment, said: dict[str, dict[str, Json]]
) -> list[str]:
    """Read all verdicts, write the judged run and track it; names of the missing ones."""
    place = target.place(chosen)
    with RunFolder(place, wait=math.inf) as folder:
        verdicts, missing, spent = _verdicts(chosen, target)
        later = [n for n in chosen.panel if n not in chosen.asked and n in missing]
        complete = [name for name in chosen.panel if name not in later]
        judged = Judged(place, target.state, target.rows)
        judged.add(chosen, {name: verdicts[name] for name in complete})
        task = _task(target, experiment)
        metrics = metrics_of(judged, chosen, complete, task)
        lost = [f"{name}: {item}" for name in complete for item in missing.get(name, ())]
        for count in dict.fromkeys(key for name in complete for key in spent[name]):
            total = sum(spent[name].get(count, 0) for name in complete)
            metrics.values[f"judge_{count}"] = int(total)
        metrics.values["judge_missing"] = metrics.values["n_errors"] = len(lost)
        before = (folder.state().get("judge") or {}).get("panel", {})
        known = {**before, **said}
        node: dict[str, Any] = experiment.config["judge"]
        state = {
            "judge": {
                "name": chosen.name,
                "rubric": rubric_digest(node["rubric"]),
                "settings": node,
                "panel": {name: known.get(name, {}) | spent[name] for name in complete},
                "to_come": later,
                "missing": lost,
            },
            "config": {**target.state["config"], "judge": node},
            "status": "incomplete" if lost or later else "finished",
        }
        judged.write(chosen, metrics, state, task.groups)
        experiment.tracking.complete([target.folder])
    table.terminal(
        judged.title(chosen), metrics.values, metrics.analysis, task.groups, metrics.headline
    )
    if later:
        sys.stdout.write(f"still to be asked: {', '.join(later)}\n")
    sys.stdout.write(f"judged: {place}\n")
    return lost


def _verdicts(
    chosen: Judge, target: Target
) -> tuple[dict[str, list[Verdict | None]], dict[str, list[str]], dict[str, dict[str, float]]]:
    """Each judge's verdicts, one a row; the rows for which it lacks one; calls and tokens."""
    rubric = chosen.rubric
    found: dict[str, list[Verdict | None]] = {}
    spent: dict[str, dict[str, float]] = {}
    missing: dict[str, list[str]] = {}
    wanted = [rubric.judges(row) and rubric.asks(row) for row in target.rows]
    for name in chosen.panel:
        work = _pass(chosen, name, target)
        # Another process may be writing them.
        with replies(target.place(chosen) / name / VERDICTS) as answer:
            own = [
                work.verdict(row, answer) if asked else None
                for row, asked in zip(target.rows, wanted, strict=True)
            ]
        found[name], spent[name] = own, work.spent()
        rows = [row for row, asked in zip(target.rows, wanted, strict=True) if asked]
        if lost := [*unfinished(rows, [v for v, asked in zip(own, wanted, strict=True) if asked])]:
            missing[name] = lost
    return found, missing, spent


def _task(target: Target, experiment: Experiment) -> Task:
    """The task of the run; somebody else's file may name no code but ours and the command's."""
    if target.folder == experiment.folder:
        return experiment.task
    node = target.state["config"]["task"]
    known = {*_targets_in(experiment.config["task"])}
    foreign = [n for n in _targets_in(node) if not n.startswith("lalm_bench.") and n not in known]
    if foreign:
        raise DataError(
            f"{target.folder}: its task is made by {foreign[0]}, which is not part of lalm_bench; "
            "choose that task on the command line as well"
        )
    task: Task = instantiate(OmegaConf.create(node), _convert_="all")
    return task


def _targets_in(node: Any) -> Iterator[str]:
    if isinstance(node, Mapping):
        if "_target_" in node:
            yield str(node["_target_"])
        for value in node.values():
            yield from _targets_in(value)
    elif isinstance(node, list):
        for value in node:
            yield from _targets_in(value)
