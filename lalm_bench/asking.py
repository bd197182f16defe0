"""Asking: the open requests of a plan to the model, its answers to the disk."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import ExitStack

from lalm_bench import progress, stopping
from lalm_bench.build import Experiment
from lalm_bench.preflight import Answered, Plan
from lalm_bench.store import ResponseLog
from lalm_bench.types import Json, Request, Response, Sample


def ask(experiment: Experiment, plan: Plan, store: ResponseLog) -> dict[str, Json]:
    """Ask what is unanswered, then what follows from the answers, until nothing does.

    Returns
    -------
    dict
        How long that took, and what the model has to report of it.

    Raises
    ------
    Stopped
        It was requested; what the model had in hand is stored.
    """
    elapsed = 0.0
    with ExitStack() as stack:
        ready = False
        while True:
            stopping.check()
            answered = [store.answered(key) for key in plan.distinct()]
            missing = len(answered) - sum(answered)
            if missing:
                began = time.monotonic()
                if not ready:
                    experiment.model.load(experiment.runtime)
                    stopping.check()
                    stack.enter_context(experiment.pruning(experiment.model))
                    ready = True
                _ask_round(experiment, plan, store, missing, sum(answered))
                elapsed += time.monotonic() - began
            with store.lookup() as answer:
                if not plan.advance(answer):
                    return {"asking_s": elapsed, **experiment.model.report()}


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
            if stopping.requested():
                return  # what was drawn is answered first
            wanted = model.sequential or not store.answered(request.key)
            if wanted and request.key not in seen:
                seen.add(request.key)
                in_flight[request.key] = sample
                yield request

    bar = progress.wanted(experiment.config["progress"])
    name = title(experiment)
    with progress.show(missing, already, bar, name) as shown, store.lookup() as stored:
        for response in model.answer(pending(stored)):
            sample = in_flight.pop(response.key)
            if store.answered(response.key):
                continue
            store.append(response)
            shown.tick(_correct(experiment, plan, sample, response), response.finish == "error")
    stopping.check()


def _correct(
    experiment: Experiment, plan: Plan, sample: Sample, response: Response
) -> float | None:
    """Score one answer for the progress display, where one answer is enough."""
    if response.finish == "error" or response.variant or plan.open:
        return None
    scores = experiment.task.score(sample, [response])
    correct = scores[0].values.get("correct") if len(scores) == 1 else None
    return None if correct is None or math.isnan(correct) else correct


def title(experiment: Experiment) -> str:
    """What a run is called where people read of it."""
    config = experiment.config
    return f"{config['task']['name']} · {config['model']['name']} · {experiment.condition}"
