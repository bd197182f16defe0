"""From requests to a stream of responses: look ahead, batch, isolate what fails."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol, TypeVar

from lalm_bench import stopping
from lalm_bench.engine.budget import Budget
from lalm_bench.engine.plan import setting
from lalm_bench.engine.prefetch import ahead
from lalm_bench.errors import AudioError, ModelError, one_line
from lalm_bench.types import Json, Request, Response, Runtime

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
    audio : str, optional
        Digest of what is heard; None when nothing is.
    beginning : int
        Tokens up to the end of the audio, which requests on the same audio may share.
    """

    request: Request
    inputs: dict[str, Tensor]
    usage: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    audio: str | None = None
    beginning: int = 0

    @property
    def tokens(self) -> int:
        """Tokens of the prompt and room for the answer."""
        return int(self.inputs["input_ids"].shape[1]) + self.request.generation.max_new_tokens


# Tokens read in one forward pass: enough to fill a GPU, few enough to need little padding.
READ_AT_ONCE = 8192


class Batch(Protocol):
    """Requests that are answered together: read piece by piece as they come, then finished."""

    def read(self, items: Sequence[Prepared]) -> None:
        """Read the next items."""

    def finish(self) -> list[Response]:
        """Responses in the order in which items were read."""


Result = TypeVar("Result")
Prepare = Callable[[Request], Prepared]
# First item -> the batch that answers it and what follows.
Begin = Callable[[Prepared], Batch]


@dataclass
class Traffic:
    """What went through a stream, and what it waited for.

    Parameters
    ----------
    wall_s, waited_s, busy_s : float
        Seconds since the first request was taken up; of these, waiting for features; and in the
        network's own stages.
    decode_s, audio_s : float
        Seconds spent writing, and seconds of audio heard (a clip counts for each of its requests).
    batches, rows, written : int
        `written` are tokens of answers.
    """

    wall_s: float = 0.0
    waited_s: float = 0.0
    busy_s: float = 0.0
    decode_s: float = 0.0
    audio_s: float = 0.0
    batches: int = 0
    rows: int = 0
    written: int = 0
    longest_batch: int = 0

    def note(self, response: Response) -> None:
        """Count one answer."""
        timing, usage = response.timing or {}, response.usage or {}
        self.busy_s += sum(spent for name, spent in timing.items() if name != "featurise_s")
        self.decode_s += timing.get("decode_s", 0.0)
        self.audio_s += usage.get("audio_s", 0.0)
        self.written += int(usage.get("output_tokens", 0))

    def report(self) -> dict[str, Json]:
        """The same as JSON; `idle_share` is the time in which the network had nothing to do.

        `real_time_factor` is the time of all answers over that of the audio heard for them.
        """
        wall, decode = self.wall_s, self.decode_s
        return {
            "batches": self.batches,
            "requests": self.rows,
            "largest_batch": self.longest_batch,
            "answering_s": round(wall, 3),
            "waiting_for_features_s": round(self.waited_s, 3),
            "idle_share": round(1 - self.busy_s / wall, 4) if wall else None,
            "tokens_per_s": round(self.written / decode, 1) if decode and self.written else None,
            "real_time_factor": round(wall / self.audio_s, 6) if self.audio_s else None,
        }


def stream(
    order: Sequence[Request],
    prepare: Prepare,
    begin: Begin,
    *,
    runtime: Runtime,
    budget: Budget,
    traffic: Traffic,
    alike: Callable[[Prepared], Hashable] = lambda item: None,
) -> Iterator[Response]:
    """Answer requests in batches while worker threads prepare the next ones.

    Parameters
    ----------
    order : sequence of Request
        See `plan.ordered`.
    prepare : callable
        One request -> its features; called from worker threads. `AudioError`, `ModelError` and the
        errors by which libraries refuse an input become an error response of that item.
    begin : callable
        Makes an empty batch. A batch that fails is halved until the item that fails is alone;
        running out of memory is mended the same way, and halves the budget.
    alike : callable
        Only items for which it gives equal values may share a batch.

    Raises
    ------
    Stopped
        It was requested: the batch in hand was answered as far as it had grown, and is yielded.
    """

    def attempt(request: Request) -> Prepared | Response:
        started = time.perf_counter()
        try:
            ready = prepare(request)
        except (AudioError, ModelError, ValueError, RuntimeError, IndexError) as error:
            return failure(request, error)
        return replace(ready, seconds=time.perf_counter() - started)

    started, before = time.perf_counter(), traffic.wall_s
    depth = 2 * runtime.batch_size + runtime.workers
    batch = _Growing(begin, budget, runtime.batch_size, alike)
    with closing(ahead(attempt, order, runtime.workers, depth)) as features:
        while True:
            asked = time.perf_counter()
            item = next(features, None)
            traffic.waited_s += time.perf_counter() - asked
            if isinstance(item, Response):
                yield item
                continue
            if len(batch) and (item is None or stopping.requested() or not batch.takes(item)):
                for response in batch.responses():
                    traffic.note(response)
                    yield response
                traffic.batches += 1
                traffic.rows += len(batch)
                traffic.longest_batch = max(traffic.longest_batch, len(batch))
                batch = _Growing(begin, budget, runtime.batch_size, alike)
            if item is not None and not len(batch):
                stopping.check()
            traffic.wall_s = before + time.perf_counter() - started
            if item is None:
                return
            batch.take(item)


class _Growing:
    """A batch that is read while it grows."""

    def __init__(
        self, begin: Begin, budget: Budget, most: int, alike: Callable[[Prepared], Hashable]
    ) -> None:
        self._begin, self._budget, self._most, self._alike = begin, budget, most, alike
        self._items: list[Prepared] = []
        self._piece: list[Prepared] = []
        self._longest = 0
        self._read_tokens = 0
        self._batch: Batch | None = None
        self._error: Exception | None = None
        self._used = budget.begin()

    def __len__(self) -> int:
        return len(self._items)

    def takes(self, item: Prepared) -> bool:
        first = self._items[0]
        return (
            len(self) < self._most
            and setting(item.request.generation) == setting(first.request.generation)
            and self._alike(item) == self._alike(first)
            and self._budget.fits(len(self) + 1, max(self._longest, item.tokens))
        )

    def take(self, item: Prepared) -> None:
        if self._piece and not self._shares_pass(item):
            self._read()
        again = bool(self._piece) and item.audio is not None and item.audio == self._piece[-1].audio
        self._read_tokens += item.tokens - (item.beginning if again else 0)
        self._items.append(item)
        self._piece.append(item)
        self._longest = max(self._longest, item.tokens)

    def responses(self) -> Iterator[Response]:
        """Responses of all items; what fails is halved."""
        responses: list[Response] = []
        self._read()
        if self._error is None:
            assert self._batch is not None  # noqa: S101 - reading made it
            responses = self._guarded(self._batch.finish) or []
        self._batch = None
        if self._error is None:
            self._budget.learn(self._tokens(), self._used)
            yield from responses
            return
        yield from self._halves(self._error)

    def _shares_pass(self, item: Prepared) -> bool:
        if item.audio is not None and item.audio == self._piece[-1].audio:
            return self._read_tokens < 2 * READ_AT_ONCE
        return self._read_tokens + item.tokens <= READ_AT_ONCE

    def _read(self) -> None:
        if self._error is None:
            if self._batch is None:
                self._batch = self._begin(self._piece[0])
            batch, piece = self._batch, self._piece
            self._guarded(lambda: batch.read(piece))
        self._piece, self._read_tokens = [], 0

    def _guarded(self, act: Callable[[], Result]) -> Result | None:
        import torch

        try:
            return act()
        except torch.AcceleratorError:
            raise  # the device is lost; every further item would fail for this one's sake
        except (ModelError, RuntimeError, ValueError, IndexError) as error:
            # Its traceback holds the tensors of the failed attempt.
            self._error = error.with_traceback(None)
            self._batch = None
            return None

    def _tokens(self) -> int:
        return len(self) * self._longest

    def _halves(self, error: Exception) -> Iterator[Response]:
        import torch

        if len(self) == 1:
            yield failure(self._items[0].request, error)
            return
        if isinstance(error, torch.OutOfMemoryError):
            self._budget.halve(self._tokens())
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        middle = len(self) // 2
        for items in (self._items[:middle], self._items[middle:]):
            half = _Growing(self._begin, self._budget, self._most, self._alike)
            for item in items:
                half.take(item)
            yield from half.responses()


def failure(request: Request, error: Exception) -> Response:
    """An error response; foreign errors carry their type, which often tells more than they do."""
    text = one_line(error)
    if not isinstance(error, AudioError | ModelError):
        text = f"{type(error).__name__}: {text}"
    return Response(
        request.key, request.sample_id, "", "error", variant=request.variant, error=text
    )
