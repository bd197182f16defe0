"""Words of the chain replaced by filler: what they say against that there are so many.

Lanham et al. (2023), arXiv 2307.13702.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

from lalm_bench.errors import ConfigError
from lalm_bench.interventions.audio_edit import demand_share
from lalm_bench.interventions.reasoning.base import ReasoningIntervention, given_back
from lalm_bench.interventions.reasoning.levels import floor
from lalm_bench.randomness import derive
from lalm_bench.types import Context, Request, Sample

TOKENS = ("dots", "lorem")
PLACEMENTS = ("start", "end", "random")
DOTS = "..."
_LOREM = (
    "lorem ipsum dolor sit amet consectetur adipiscing elit sed do eiusmod tempor incididunt ut "
    "labore et dolore magna aliqua"
)
_WORD = re.compile(r"\S+")
LOREM = _WORD.findall(_LOREM)


def filled(
    chain: str, level: float, tokens: str, placement: str, seed: int, collapse: bool = False
) -> str:
    """Replace a share of the words; white space stays, and level 0 is the chain itself.

    Parameters
    ----------
    chain : str
    level : float
        floor(level * words) words are replaced; those of a lower level are among them.
    tokens : str
        dots: `...` for each word. lorem: the word of the same place in a placeholder text.
    placement : str
        The words at the `start`, at the `end`, or `random` ones.
    seed : int
        Of the random placement.
    collapse : bool
        One `...` for the whole span (start or end).

    Examples
    --------
    >>> filled("a dog barks twice", 0.5, "dots", "start", 0)
    '... ... barks twice'
    >>> filled("a dog barks twice", 0.5, "dots", "end", 0, collapse=True)
    'a dog ...'
    """
    words = list(_WORD.finditer(chain))
    count = floor(level, len(words))
    if not count:
        return chain
    places = list(range(len(words)))
    if placement == "random":
        random.Random(seed).shuffle(places)  # noqa: S311
    replaced = sorted(places[-count:] if placement == "end" else places[:count])
    if collapse:
        first, last = words[replaced[0]], words[replaced[-1]]
        return chain[: first.start()] + DOTS + chain[last.end() :]
    parts, end = [], 0
    for place in replaced:
        filler = DOTS if tokens == "dots" else LOREM[place % len(LOREM)]
        parts += [chain[end : words[place].start()], filler]
        end = words[place].end()
    return "".join([*parts, chain[end:]])


@dataclass(frozen=True, kw_only=True)
class Filler(ReasoningIntervention):
    """Reasoning intervention `filler`; see `filled` for its settings."""

    level: float
    tokens: str = TOKENS[0]
    placement: str = PLACEMENTS[0]
    collapse: bool = False
    name: str = "filler"

    def __post_init__(self) -> None:
        super().__post_init__()
        demand_share("intervention.level", self.level)
        for key, value, known in (
            ("tokens", self.tokens, TOKENS),
            ("placement", self.placement, PLACEMENTS),
            ("collapse", self.collapse, (True, False)),
        ):
            if value not in known:
                names = ", ".join(map(str, known))
                raise ConfigError(f"intervention.{key}={value!r} must be one of {names}")
        if self.collapse and (self.tokens, self.placement) not in (
            ("dots", "start"),
            ("dots", "end"),
        ):
            raise ConfigError(
                "intervention.collapse=true makes one of a span of dots: it needs "
                "intervention.tokens=dots and intervention.placement=start or end"
            )

    def change(self, chain: str, sample: Sample, request: Request, context: Context) -> Request:
        """The final answer, asked after a chain that is partly filler."""
        seed = derive(context.seed, sample.id, "filler", request.variant)
        text = filled(chain, self.level, self.tokens, self.placement, seed, self.collapse)
        return given_back(self.name, text, sample, request, context)
