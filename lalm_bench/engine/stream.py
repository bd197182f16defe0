"""From requests to a stream of responses: look ahead, batch, isolate what fails."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from lalm_bench.engine import plan
from lalm_bench.engine.prefetch import ahead
from lalm_bench.errors import AudioError, ModelError, one_line
from lalm_bench.types import Request, Response, Runtime

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Prepared:
    """One request ready for the network.

    Parameters
    ----------
    inputs : dict
        Features of this one item; see `collate`.
    usage : dict
        Facts for `Response.usage`.
    seconds : float
        Time that the features took.
    """

    request: Request
    inputs: dict[str, Tensor]
    usage: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0


Prepare = Callable[[Request], Prepared]
Respond = Callable[[Sequence[Prepared]], list[Response]]


def stream(
    requests: Iterable[Request],
    prepare: Prepare,
    respond: Respond,
    *,
    runtime: Runtime,
    length: Callable[[Request], float],
    alike: Callable[[Prepared], object] | None = None,
) -> Iterator[Response]:
    """Answer requests in batches while worker threads prepare the next ones.

    Parameters
    ----------
    prepare : callable
        One request -> its features; called from worker threads. `AudioError`, `ModelError` and the
        errors by which libraries refuse an input become an error response of that item.
    respond : callable
        A batch -> its responses, in order. A batch that fails is halved until the item that fails
        is alone; running out of memory is mended the same way.
    length : callable
        Request -> what batches are sorted by.
    alike : callable, optional
        Only items for which it gives equal values may share a batch.
    """
    batches = plan.batches(requests, runtime.batch_size, length)

    def attempt(request: Request) -> Prepared | Response:
        started = time.perf_counter()
        try:
            ready = prepare(request)
        except (AudioError, ModelError, ValueError, RuntimeError, IndexError) as error:
            return failure(request, error)
        return replace(ready, seconds=time.perf_counter() - started)

    order = [request for batch in batches for request in batch]
    depth = 2 * runtime.batch_size + runtime.workers
    with closing(ahead(attempt, order, runtime.workers, depth)) as features:
        for batch in batches:
            ready: list[Prepared] = []
            for _ in batch:
                item = next(features)
                if isinstance(item, Response):
                    yield item
                else:
                    ready.append(item)
            for group in plan.alike(ready, alike or (lambda _: None)):
                yield from _isolating(respond, group)


def failure(request: Request, error: Exception) -> Response:
    """An error response; foreign errors carry their type, which often tells more than they do."""
    text = one_line(error)
    if not isinstance(error, AudioError | ModelError):
        text = f"{type(error).__name__}: {text}"
    return Response(
        request.key, request.sample_id, "", "error", variant=request.variant, error=text
    )


def _isolating(respond: Respond, items: Sequence[Prepared]) -> Iterator[Response]:
    import torch

    started = time.perf_counter()
    try:
        responses = respond(items)
    except torch.AcceleratorError:
        raise  # the device is lost; every further item would fail for this one's sake
    except (ModelError, RuntimeError, ValueError, IndexError) as error:
        if len(items) == 1:
            yield failure(items[0].request, error)
            return
        responses = None
    if responses is None:
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        half = len(items) // 2
        yield from _isolating(respond, items[:half])
        yield from _isolating(respond, items[half:])
        return
    share = (time.perf_counter() - started) / len(items)
    for item, response in zip(items, responses, strict=True):
        timing = {"featurise_s": round(item.seconds, 6), "generate_s": round(share, 6)}
        yield replace(response, timing=timing)
