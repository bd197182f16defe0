"""One run, from a composed configuration to files, figures and a tracked result."""

from __future__ import annotations

import math
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from lalm_bench import provenance, shards, stopping
from lalm_bench.asking import ask, title
from lalm_bench.build import Experiment, build
from lalm_bench.errors import Incomplete, Stopped, one_line
from lalm_bench.identity import Sealer, code_digest
from lalm_bench.preflight import Plan, demand_present, select
from lalm_bench.report import table
from lalm_bench.scoring import delivery, score_run
from lalm_bench.shards import Shard
from lalm_bench.store import ResponseLog, RunFolder, read_json, stat_inputs, write_bytes, write_json
from lalm_bench.tracking.base import Log, Results
from lalm_bench.types import Context, Json, Model, Sample

RUNNING, FINISHED, INCOMPLETE = "running", "finished", "incomplete"
FAILED, STOPPED = "failed", "stopped"
Timing = dict[str, Json]


def run(config: DictConfig, model: Model | None = None) -> str:
    """Run one condition, or continue it, or recognise it as done; return its folder.

    `model`, when given, was built from an equal `config.model` and may be loaded already.

    Raises
    ------
    BenchError
        The input is wrong; nothing was written.
    Incomplete
        Some requests ended in an error. The same command asks them again.
    Stopped
        It was requested. Every answer is stored; the same command continues.
    """
    stopping.check()
    experiment, shard = shards.split(build(config, model))
    if is_finished(experiment):
        _show(experiment, f"already finished, nothing asked: {experiment.folder}")
        return str(experiment.folder)
    demand_present(experiment)
    samples = select(experiment.task.samples(), experiment.limit, experiment.seed)
    experiment.capture.demand_items(samples)
    experiment.model.fetch()
    if shard is not None:
        return _run_shard(experiment, samples, shard)
    plan = _plan(experiment, samples)
    with RunFolder(experiment.folder) as folder:
        results, unanswered = _finish(experiment, plan, folder)
    return _conclude(experiment, results, unanswered)


def _run_shard(experiment: Experiment, samples: list[Sample], shard: Shard) -> str:
    """Ask one part of the run; score the whole if no other part is lacking by then."""
    path = experiment.folder
    plan = _plan(experiment, samples, shard)
    facts = _facts(experiment, {"items": len(samples)})
    with shards.begun(path, shard, lambda whole: _begin(whole, facts)) as part:
        with _recorded(part):
            own = part.file("responses.jsonl")
            store = ResponseLog(own, shards.answers(path, own.name))
            try:
                timing = ask(experiment, plan, store)
            finally:
                store.close()
            part.save_state(status=shards.ASKED, finished=provenance.now(), timing=timing)
        return _score_shards(experiment, samples, shard.of)


def _score_shards(experiment: Experiment, samples: list[Sample], of: int) -> str:
    """Score the whole run, once, if its shards have asked everything."""
    path = experiment.folder
    with RunFolder(path, wait=math.inf, alone=False) as folder:
        if is_finished(experiment):
            _show(experiment, f"finished by another shard: {path}")
            return str(path)
        missing = shards.lacking(path, samples, of)
        if not missing:
            plan = _plan(experiment, samples)
            missing = shards.unasked(path, plan, of)
        folder.save_state(**shards.standing(path, of))
        if missing:
            still = ", ".join(map(str, missing))
            sys.stdout.write(f"stored: {path}; of {of} shards these are still missing: {still}\n")
            return str(path)
        results, unanswered = _finish(experiment, plan, folder, shards.timing(path))
    return _conclude(experiment, results, unanswered)


def merge(config: DictConfig) -> str:
    """Score the run whose shards have asked everything, if none of them did; asks nothing.

    Parameters
    ----------
    config : DictConfig
        Of any of its shards.

    Returns
    -------
    str
        The folder; a line says which shards are missing, if any.

    Raises
    ------
    Incomplete
        Some requests ended in an error.
    """
    experiment, shard = shards.split(build(config))
    if shard is None or is_finished(experiment):
        return str(experiment.folder)
    demand_present(experiment)
    samples = select(experiment.task.samples(), experiment.limit, experiment.seed)
    experiment.model.fetch()
    return _score_shards(experiment, samples, shard.of)


def _finish(
    experiment: Experiment, plan: Plan, folder: RunFolder, asked: Timing | None = None
) -> tuple[Results, list[str]]:
    """Do the work and record how it ended; `asked` is its timing where all was asked before."""
    _begin(folder, _facts(experiment, plan.selection))
    with _recorded(folder), experiment.tracking.track(experiment) as log:
        return _work(experiment, plan, folder, log, asked)


def _conclude(experiment: Experiment, results: Results, unanswered: list[str]) -> str:
    _show(experiment, f"{results.status}: {results.folder}")
    if unanswered:
        raise Incomplete(_incomplete_message(experiment, unanswered))
    return str(experiment.folder)


@contextmanager
def _recorded(folder: RunFolder) -> Iterator[None]:
    """Write down why the body ended early."""
    folder.file("traceback.txt").unlink(missing_ok=True)
    try:
        yield
    except BaseException as error:
        if not isinstance(error, Stopped):
            text = "".join(traceback.format_exception(error))
            write_bytes(folder.file("traceback.txt"), provenance.public(text).encode())
        status = STOPPED if isinstance(error, KeyboardInterrupt | Stopped) else FAILED
        message = provenance.public(one_line(error)) or type(error).__name__
        folder.save_state(status=status, finished=provenance.now(), error=message)
        raise


def is_finished(experiment: Experiment) -> bool:
    """True when the stored result is what running again would give.

    Same conditions (the folder), same scoring code and settings, and every input file unchanged.
    """
    state = read_json(experiment.folder / "run.json") or {}
    inputs = read_json(experiment.folder / "inputs.json")
    return (
        not experiment.config["rescore"]
        and state.get("status") == FINISHED
        and state.get("code") == code_digest()
        and state.get("model") == experiment.model.identity()
        # Settings that only score (a metric's weights) are in the task and not in its identity.
        and state.get("config", {}).get("task") == experiment.config["task"]
        and inputs is not None
        and inputs == stat_inputs(inputs)
        and {str(f) for f in experiment.watched()} <= inputs.keys()
        and (experiment.folder / "metrics.json").exists()
        and experiment.capture.finished(experiment.folder)
    )


def _plan(experiment: Experiment, samples: list[Sample], shard: Shard | None = None) -> Plan:
    """The requests of all items, or of a shard's, checked; an intervention knows all items."""
    model = experiment.model
    pruning = experiment.config["pruning"]
    sealer = Sealer(model.identity(), pruning, model.rate, model.stochastic, experiment.seed)
    plan = Plan(
        samples if shard is None else [s for s in samples if shard.holds(s.id)],
        experiment.task,
        experiment.intervention,
        experiment.generation,
        sealer,
        Context(experiment.seed, samples),
        hears=model.rate is not None,
        on_error=experiment.config["on_error"],
        whole=shard is None,
    )
    plan.check()
    if plan.unasked:
        first = next(iter(plan.unasked.values()))
        sys.stderr.write(f"{len(plan.unasked)} items cannot be asked; {first}\n")
    return plan


def _facts(experiment: Experiment, selection: dict[str, Json]) -> dict[str, Any]:
    """What is about to be asked, by which code, where."""
    return {
        "fingerprint": experiment.fingerprint,
        "condition": experiment.condition,
        "config": experiment.config,
        "model": experiment.model.identity(),
        "selection": selection,
        "code": code_digest(),
        "versions": provenance.versions(),
        "git": provenance.git_state(),
        "host": provenance.host(),
    }


def _begin(folder: RunFolder, facts: dict[str, Any]) -> None:
    before = folder.state()
    folder.save_state(
        status=RUNNING,
        started=before.get("started") or provenance.now(),
        starts=before.get("starts", 0) + 1,
        finished=None,
        error=None,
        **facts,
    )


def _work(
    experiment: Experiment, plan: Plan, folder: RunFolder, track: Log, asked: Timing | None
) -> tuple[Results, list[str]]:
    """Ask, score, write, track."""
    store = ResponseLog(folder.path / "responses.jsonl", shards.answers(folder.path))
    try:
        timing = ask(experiment, plan, store) if asked is None else asked
        store.adopt(plan.keys())
        decisions, unanswered = score_run(plan, store, folder.path / "decisions.jsonl")
    finally:
        store.close()
    metrics = experiment.task.metrics(decisions)
    status = INCOMPLETE if unanswered else FINISHED
    values = {
        **metrics.values,
        **delivery(decisions),
        "n_errors": len(unanswered),
        "n_skipped": sum(plan.skipped.values()),
    }
    results = Results(folder.path, status, values, metrics.analysis, decisions)
    _write(experiment, plan, results, metrics.headline, unanswered, timing)
    results.artifacts.extend(experiment.capture.take(experiment, plan, store))
    track(results)
    inputs = stat_inputs([*experiment.watched(), *sorted(plan.files)])
    write_json(folder.path / "inputs.json", inputs)
    state = folder.save_state(status=status, finished=provenance.now())
    first = next(iter(metrics.headline), "accuracy")
    row = {
        **values,
        "metric": first,
        "value": values.get(first),
        "fingerprint": experiment.fingerprint,
        "task": experiment.config["task"]["name"],
        "model": experiment.config["model"]["name"],
        "condition": experiment.condition,
        "status": status,
        "finished": state["finished"],
        "folder": str(folder.path),
    }
    table.index(Path(experiment.config["paths"]["outputs"]), row)
    return results, unanswered


def _write(
    experiment: Experiment,
    plan: Plan,
    results: Results,
    headline: tuple[str, ...],
    unanswered: list[str],
    timing: Timing,
) -> None:
    """Metrics, analysis, table and figures; timing stands apart from what may not vary."""
    folder, name, groups = results.folder, title(experiment), experiment.task.groups
    metrics = {
        "fingerprint": experiment.fingerprint,
        "headline": list(headline),
        "metrics": results.values,
        "timing": timing,
    }
    write_json(folder / "metrics.json", metrics)
    analysis = {
        **results.analysis,
        "dataset": experiment.task.report(),
        "unanswered": unanswered,
        "unasked": plan.unasked,
        "skipped": dict(plan.skipped),
    }
    if hasattr(experiment.intervention, "report"):
        analysis["intervention"] = experiment.intervention.report()
    write_json(folder / "analysis.json", analysis)
    text = table.markdown(name, results.values, results.analysis, groups, headline)
    write_bytes(folder / "results_table.md", text.encode())
    names = ["decisions.jsonl", "metrics.json", "analysis.json", "results_table.md", "run.json"]
    results.artifacts.extend(folder / name for name in names)
    if experiment.config["figures"]:
        from lalm_bench.report import figures

        shown = tuple(dict.fromkeys((*groups, "answer_type", "n_options")))
        results.artifacts.extend(
            figures.draw(folder / "figures", name, results.analysis, shown, headline)
        )


def _show(experiment: Experiment, last: str) -> None:
    """Print the stored result, and a last line."""
    stored: dict[str, Any] = read_json(experiment.folder / "metrics.json")
    analysis = read_json(experiment.folder / "analysis.json")
    groups, headline = experiment.task.groups, tuple(stored.get("headline", ()))
    table.terminal(title(experiment), stored["metrics"], analysis, groups, headline)
    sys.stdout.write(f"{last}\n")


def _incomplete_message(experiment: Experiment, unanswered: list[str]) -> str:
    shown = ", ".join(unanswered[:3]) + (" ..." if len(unanswered) > 3 else "")
    return (
        f"{len(unanswered)} items have no answer ({shown}); reasons are in "
        f"{experiment.folder / 'responses.jsonl'} and analysis.json; the same command asks only "
        "them again"
    )
