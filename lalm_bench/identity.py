"""Identities: of an answer (`Request.key`), of a run (its fingerprint), of the code that scores."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import orjson

from lalm_bench import audio
from lalm_bench.digests import file_digest
from lalm_bench.randomness import derive
from lalm_bench.types import Generation, Json, Message, Request, Text

_RUN_PARTS = ("task", "model", "intervention", "pruning", "generation", "seed", "limit")
# Where data lies is not what it is: its bytes enter the fingerprint and the audio digests. How
# fast, how patiently and for what price a server is asked is not what it answers. What others have
# published, an encoder that only compares answers, or a second reading of them changes no answer.
_OUTSIDE = frozenset(
    {
        "root",
        "audio_root",
        "annotations",
        "dataset",
        "endpoint",
        "references",
        "verdicts",
        "encoder",
        "recover",
        "file",
        "recordings",
        "segments",
    }
)


def _hash(payload: bytes, size: int = 16) -> str:
    return hashlib.blake2b(payload, digest_size=size).hexdigest()


def canonical(value: Any) -> bytes:
    """Strict JSON with sorted keys: equal values give equal bytes."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def fingerprint(config: Mapping[str, Any], inputs: Sequence[Path] = ()) -> str:
    """Sixteen hex digits that name a run: equal conditions, equal folder.

    Parameters
    ----------
    config : mapping
        Resolved. Batch size, device, workers, tracking, judge and paths do not enter.
    inputs : sequence of Path
        Annotation files; their content enters, and not where they lie. Files that are not there
        are left out: the run ends before anything is written.
    """
    parts: dict[str, Any] = {name: _inside(config.get(name)) for name in _RUN_PARTS}
    parts["inputs"] = [file_digest(path) for path in inputs if path.is_file()]
    return _hash(canonical(parts), 8)


def _inside(node: Any) -> Any:
    if isinstance(node, Mapping):
        return {k: _inside(v) for k, v in node.items() if k not in _OUTSIDE}
    return node


class Sealer:
    """Gives requests their keys (and, where answers are drawn, their seeds).

    Parameters
    ----------
    model, pruning : mapping
        What an answer depends on besides the request.
    rate : int or None
        Rate the model hears at; None leaves audio out of requests and keys.
    stochastic : bool
        Answers of this model are random even at temperature 0.
    seed : int
        The run's seed.
    """

    def __init__(
        self,
        model: Mapping[str, Json],
        pruning: Mapping[str, Json],
        rate: int | None,
        stochastic: bool,
        seed: int,
    ) -> None:
        self._prefix = canonical([dict(model), dict(pruning)])
        self._rate = rate
        self._stochastic = stochastic
        self._seed = seed

    def seal(self, request: Request) -> Request:
        """The request with its key; AudioError when a clip cannot be read."""
        generation = request.generation
        if self._stochastic or generation.temperature > 0:
            drawn = derive(self._seed, request.sample_id, request.variant, "generation")
            generation = Generation(
                generation.max_new_tokens,
                generation.temperature,
                generation.top_p,
                generation.mode,
                drawn,
            )
        messages = [[m.role, self._parts(m)] for m in request.messages]
        payload = orjson.dumps(
            [
                messages,
                [[c.label, c.text] for c in request.choices],
                request.question if generation.mode == "option_pmi" else None,
                [
                    generation.max_new_tokens,
                    generation.temperature,
                    generation.top_p,
                    generation.mode,
                    generation.seed,
                ],
            ]
        )
        return Request(
            request.sample_id,
            request.messages,
            request.choices,
            request.question,
            generation,
            request.variant,
            _hash(self._prefix + payload),
            request.step,
        )

    def _parts(self, message: Message) -> list[str | list[str]]:
        """Texts as they are, clips as their digests; a deaf model gets no clips."""
        rate = self._rate
        if rate is None:
            return [p.text for p in message.parts if isinstance(p, Text)]
        return [
            p.text if isinstance(p, Text) else [audio.digest(p.source, rate)] for p in message.parts
        ]


@cache
def code_digest() -> str:
    """Digest of this package's source: scores are reused only while it is unchanged."""
    hasher = hashlib.blake2b(digest_size=16)
    root = Path(__file__).parent
    for file in sorted(root.rglob("*.py")):
        hasher.update(str(file.relative_to(root)).encode())
        hasher.update(file.read_bytes())
    return hasher.hexdigest()
