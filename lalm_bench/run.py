"""One run, from a composed configuration to files, figures and a tracked result."""

from __future__ import annotations

import math
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from lalm_bench import progress, provenance
from lalm_bench.build import Experiment, build
from lalm_bench.errors import Incomplete, one_line
from lalm_bench.identity import Sealer, code_digest
from lalm_bench.preflight import Answered, Plan, demand_present, select
from lalm_bench.report import table
from lalm_bench.scoring import delivery, score_run
from lalm_bench.store import ResponseLog, RunFolder, read_json, stat_inputs, write_bytes, write_json
from lalm_bench.tracking.base import Log, Results
from lalm_bench.types import Context, Model, Request, Response, Sample

RUNNING, FINISHED, INCOMPLETE = "running", "finished", "incomplete"
FAILED, STOPPED = "failed", "stopped"


def run(config: DictConfig, model: Model | None = None) -> str:
    """Run one condition, or continue it, or recognise it as done; return its folder.

    `model`, when given, was built from an equal `config.model` and may be loaded already.

    Raises
    ------
    BenchError
        The input is wrong; nothing was written.
    Incomplete
        Some requests ended in an error. The same command asks them again.
    """
    experiment = build(config, model)
    if is_finished(experiment):
        _show(experiment, f"already finished, nothing asked: {experiment.folder}")
        return str(experiment.folder)
    demand_present(experiment)
    samples = select(experiment.task.samples(), experiment.limit, experiment.seed)
    experiment.model.fetch()
    plan = _plan(experiment, samples)
    with RunFolder(experiment.folder) as folder:
        _begin(experiment, folder, plan)
        try:
            with experiment.tracking.track(experiment) as log:
                results, unanswered = _work(experiment, plan, folder, log)
        except BaseException as error:
            text = "".join(traceback.format_exception(error))
            write_bytes(folder.path / "traceback.txt", provenance.public(text).encode())
            status = STOPPED if isinstance(error, KeyboardInterrupt) else FAILED
            message = provenance.public(one_line(error)) or type(error).__name__
            folder.save_state(status=status, finished=provenance.now(), error=message)
            raise
    _show(experiment, f"{results.status}: {results.folder}")
    if unanswered:
        raise Incomplete(_incomplete_message(experiment, unanswered))
    return str(experiment.folder)


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
    )


def _plan(experiment: Experiment, samples: list[Sample]) -> Plan:
    model = experiment.model
    pruning = experiment.config["pruning"]
    sealer = Sealer(model.identity(), pruning, model.rate, model.stochastic, experiment.seed)
    plan = Plan(
        samples,
        experiment.task,
        experiment.intervention,
        experiment.generation,
        sealer,
        Context(experiment.seed, samples),
        hears=model.rate is not None,
        on_error=experiment.config["on_error"],
    )
    plan.check()
    if plan.unasked:
        first = next(iter(plan.unasked.values()))
        sys.stderr.write(f"{len(plan.unasked)} items cannot be asked; {first}\n")
    return plan


def _begin(experiment: Experiment, folder: RunFolder, plan: Plan) -> None:
    """Record what is about to happen."""
    before = folder.state()
    (folder.path / "traceback.txt").unlink(missing_ok=True)
    folder.save_state(
        fingerprint=experiment.fingerprint,
        condition=experiment.condition,
        status=RUNNING,
        started=before.get("started") or provenance.now(),
        starts=before.get("starts", 0) + 1,
        finished=None,
        error=None,
        config=experiment.config,
        model=experiment.model.identity(),
        selection={
            "items": len(plan.samples),
            "requests": sum(map(len, plan.asked)),
            "distinct_requests": len(plan.distinct()),
            "skipped": dict(plan.skipped),
        },
        code=code_digest(),
        versions=provenance.versions(),
        git=provenance.git_state(),
        host=provenance.host(),
    )


def _work(
    experiment: Experiment, plan: Plan, folder: RunFolder, track: Log
) -> tuple[Results, list[str]]:
    """Ask, score, write, track."""
    store = ResponseLog(folder.path / "responses.jsonl")
    try:
        elapsed = _ask(experiment, plan, store)
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
    _write(experiment, plan, results, metrics.headline, unanswered, elapsed)
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


def _ask(experiment: Experiment, plan: Plan, store: ResponseLog) -> float:
    """Ask what is unanswered, then what follows from the answers, until nothing does."""
    elapsed = 0.0
    with ExitStack() as stack:
        ready = False
        while True:
            answered = [store.answered(key) for key in plan.distinct()]
            missing = len(answered) - sum(answered)
            if missing:
                began = time.monotonic()
                if not ready:
                    experiment.model.load(experiment.runtime)
                    stack.enter_context(experiment.pruning(experiment.model))
                    ready = True
                _ask_round(experiment, plan, store, missing, sum(answered))
                elapsed += time.monotonic() - began
            with store.lookup() as answer:
                if not plan.advance(answer):
                    return elapsed


def _ask_round(
    experiment: Experiment, plan: Plan, store: ResponseLog, missing: int, already: int
) -> None:
    """Send the requests to the model; each answer is on disk before the next is drawn."""
    model = experiment.model
    in_flight: dict[str, Sample] = {}

    def pending(stored: Answered) -> Iterator[Request]:
        # A sequential model's answers depend on all earlier ones, so it starts from the first.
        seen: set[str] = set()
        for sample, request in plan.requests(stored):
            wanted = model.sequential or not store.answered(request.key)
            if wanted and request.key not in seen:
                seen.add(request.key)
                in_flight[request.key] = sample
                yield request

    bar = progress.wanted(experiment.config["progress"])
    title = _title(experiment)
    with progress.show(missing, already, bar, title) as shown, store.lookup() as stored:
        for response in model.answer(pending(stored)):
            sample = in_flight.pop(response.key)
            if store.answered(response.key):
                continue
            store.append(response)
            shown.tick(_correct(experiment, plan, sample, response), response.finish == "error")


def _correct(
    experiment: Experiment, plan: Plan, sample: Sample, response: Response
) -> float | None:
    """Score one answer for the progress display, where one answer is enough."""
    if response.finish == "error" or response.variant or plan.open:
        return None
    scores = experiment.task.score(sample, [response])
    correct = scores[0].values.get("correct") if len(scores) == 1 else None
    return None if correct is None or math.isnan(correct) else correct


def _write(
    experiment: Experiment,
    plan: Plan,
    results: Results,
    headline: tuple[str, ...],
    unanswered: list[str],
    elapsed: float,
) -> None:
    """Metrics, analysis, table and figures; timing stands apart from what may not vary."""
    folder, title, groups = results.folder, _title(experiment), experiment.task.groups
    timing = {"asking_s": elapsed, **experiment.model.report()}
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
    text = table.markdown(title, results.values, results.analysis, groups, headline)
    write_bytes(folder / "results_table.md", text.encode())
    names = ["decisions.jsonl", "metrics.json", "analysis.json", "results_table.md", "run.json"]
    results.artifacts.extend(folder / name for name in names)
    if experiment.config["figures"]:
        from lalm_bench.report import figures

        shown = tuple(dict.fromkeys((*groups, "answer_type", "n_options")))
        results.artifacts.extend(
            figures.draw(folder / "figures", title, results.analysis, shown, headline)
        )


def _title(experiment: Experiment) -> str:
    config = experiment.config
    return f"{config['task']['name']} · {config['model']['name']} · {experiment.condition}"


def _show(experiment: Experiment, last: str) -> None:
    """Print the stored result, and a last line."""
    stored: dict[str, Any] = read_json(experiment.folder / "metrics.json")
    analysis = read_json(experiment.folder / "analysis.json")
    groups, headline = experiment.task.groups, tuple(stored.get("headline", ()))
    table.terminal(_title(experiment), stored["metrics"], analysis, groups, headline)
    sys.stdout.write(f"{last}\n")


def _incomplete_message(experiment: Experiment, unanswered: list[str]) -> str:
    shown = ", ".join(unanswered[:3]) + (" ..." if len(unanswered) > 3 else "")
    return (
        f"{len(unanswered)} items have no answer ({shown}); reasons are in "
        f"{experiment.folder / 'responses.jsonl'} and analysis.json; the same command asks only "
        "them again"
    )
