"""What listeners with a narrow ear share: one clip in, the option that it sounds most like out."""

from __future__ import annotations

import re
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from lalm_bench import audio
from lalm_bench.engine.prefetch import ahead
from lalm_bench.errors import AudioError, one_line
from lalm_bench.models.base import ModelBase
from lalm_bench.types import Choice, Request, Response, Runtime

CANNOT_TELL = "I cannot tell."
RATE = 16_000


@dataclass(kw_only=True)
class Listener(ModelBase, ABC):
    """A recogniser that names the option whose words score highest on the clip.

    It answers only where it understands every option; otherwise it says "I cannot tell.", because
    the best of the options that it knows would be an answer to another question. Where it does
    understand them it always chooses, also on silence, and so falls to chance and not below.

    Parameters
    ----------
    name : str
    path : str
        Its weights.
    """

    name: str
    path: str | None = None
    rate: int | None = field(default=RATE, init=False)

    def __post_init__(self) -> None:
        self._workers = 1

    def load(self, runtime: Runtime) -> None:
        """Load the network, unless an earlier run did."""
        self._workers = runtime.workers
        self._load(runtime)

    def answer(self, requests: Iterable[Request]) -> Iterator[Response]:
        """One answer per request, in order; an unreadable clip is an error of its own."""
        yield from ahead(self._answer, requests, self._workers, 2 * self._workers)

    @abstractmethod
    def _load(self, runtime: Runtime) -> None:
        """Bring the weights into memory."""

    @abstractmethod
    def _understand(self, option: str) -> object | None:
        """What to listen for, or None for words outside its map; `option` is `plain`."""

    @abstractmethod
    def _score(self, wave: np.ndarray, sought: Sequence[object]) -> np.ndarray:
        """How much the clip sounds like each; called from worker threads.

        Parameters
        ----------
        wave : numpy.ndarray
            float32, shape (samples,), 16 kHz.
        sought : sequence
            What `_understand` gave for each option.

        Returns
        -------
        numpy.ndarray
            Shape (options,); higher is likelier.
        """

    def _unheard(self, samples: int) -> int:
        """How many samples at the end of a clip it does not hear."""
        return 0

    def _answer(self, request: Request) -> Response:
        started = time.perf_counter()
        text, finish, error = CANNOT_TELL, "stop", None
        usage: dict[str, float] = {}
        sought = [self._understand(plain(choice)) for choice in request.choices]
        clips = request.clips()
        if sought and all(s is not None for s in sought) and len(clips) == 1:
            try:
                wave = audio.render(clips[0], RATE, usage)
                usage["truncated_s"] = self._unheard(len(wave)) / RATE
                text = request.choices[int(np.argmax(self._score(wave, sought)))].label
            except AudioError as unreadable:
                text, finish = "", "error"
                error = f"{request.sample_id}: {one_line(unreadable)}"
        return Response(
            request.key,
            request.sample_id,
            text,
            finish,
            request.variant,
            usage=usage or None,
            timing={"listen": time.perf_counter() - started},
            error=error,
        )


def plain(choice: Choice) -> str:
    """The option's words in lower case, without article and closing punctuation.

    Examples
    --------
    >>> plain(Choice("a", "A Dog."))
    'dog'
    """
    return re.sub(r"^(an?|the)\s+", "", choice.text.strip().lower()).rstrip(" .!?,;:")
