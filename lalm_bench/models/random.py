"""Uniform guesses: the floor that every listener must clear."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from lalm_bench.models.base import ModelBase
from lalm_bench.types import Json, Request, Response

PUBLISHED_SEED = 7


@dataclass
class RandomModel(ModelBase):
    """Names one of the item's option labels at random; hears and reads nothing.

    Parameters
    ----------
    name : str
    compat : bool
        False: the guess is a function of `generation.seed` alone, so order, batches and resume
        cannot change it. True: TACoBeLAL's baseline, one `random.Random(7)` that draws for request
        after request in their order; every call of `answer` starts it afresh and stands for a run.

    Notes
    -----
    Both forms are stochastic: the pipeline must not let requests with equal text share an answer.
    """

    name: str = "random"
    compat: bool = False
    stochastic: bool = field(default=True, init=False)

    def __post_init__(self) -> None:
        self.sequential = self.compat

    def identity(self) -> dict[str, Json]:
        """Which rule draws."""
        return {"rule": "random.Random(7).choice" if self.compat else "seed modulo options"}

    def answer(self, requests: Iterable[Request]) -> Iterator[Response]:
        """One guess per request; a request without options or seed gets an error."""
        rng = random.Random(PUBLISHED_SEED)  # noqa: S311
        for request in requests:
            choices, seed = request.choices, request.generation.seed
            if not choices:
                yield _refusal(request, "no options to choose from; model=random needs a choice")
            elif self.compat:
                yield _guess(request, rng.choice(choices).label)
            elif seed is None:
                yield _refusal(request, "generation.seed is not set; a guess needs one")
            else:
                # A derived seed is uniform over 63 bits: the remainder's bias is below 1e-17.
                yield _guess(request, choices[seed % len(choices)].label)


def _guess(request: Request, label: str) -> Response:
    return Response(request.key, request.sample_id, label, variant=request.variant)


def _refusal(request: Request, reason: str) -> Response:
    return Response(
        request.key,
        request.sample_id,
        "",
        finish="error",
        variant=request.variant,
        error=f"{request.sample_id}: {reason}",
    )
