"""Synthetic temporal questions: clips that are computed, with an answer known by construction.

The question wording and the construction rules are those of TACoBeLAL's synthetic multiple-choice
suite, which `compat: true` builds again as published. The default mends what made its scores hard
to read:

* **Few distinct items.** A published trivial family holds two or three waveforms, repeated. Here
  onsets, tone lengths, pauses, pitches and levels are drawn for every scene, within margins that
  leave no doubt about the answer.
* **Length tells the answer** (duration order: 2.5 s against 3.4 s; gap: 1.4 s against 3.2 s). Here
  a family has one clip length, and the sounds lie at a random place in it, so neither the length
  nor the leading or trailing silence says more than the sounds do.
* **Constant answers hide.** The published option order leaves up to 55 % of one label. Here each
  combination of template, answer and option order occurs once in every block, so always "A",
  always "high" and always "high when it is A" all score exactly chance over full blocks;
  `meta["answer_type"]` holds the meaning of the right option to make such habits visible.
* **Last is longest** (`time`: durations ascend). Here a duration's place is drawn apart from its
  length.

Run `python -m lalm_bench.tasks.synthetic OUTDIR` to write the clips and their records as files.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from lalm_bench import prompts
from lalm_bench.errors import BenchError, ConfigError, one_line
from lalm_bench.tasks.multiple_choice import MultipleChoice
from lalm_bench.tasks.synthetic.catalogue import (
    FAMILIES,
    LEVELS,
    TRIVIAL,
    Plan,
    balanced_plan,
    find,
)
from lalm_bench.tasks.synthetic.clip import SceneClip
from lalm_bench.tasks.synthetic.published import published_plan
from lalm_bench.types import Choice, Sample


@dataclass(kw_only=True)
class McqSynthetic(MultipleChoice):
    """Multiple-choice questions about computed scenes.

    Parameters
    ----------
    families : sequence of str
        See `scene_catalogue.FAMILIES`.
    difficulties : sequence of str
        Of easy, medium, hard; the trivial families only know easy.
    scenes : int
        Per family and difficulty.
    seed : int
        The dataset's seed.
    compat : bool
        The published construction.

    Raises
    ------
    ConfigError
        Unknown family or difficulty, or a family that has none of the difficulties asked for.
    """

    families: Sequence[str] = TRIVIAL
    difficulties: Sequence[str] = ("easy",)
    scenes: int = 144
    seed: int = 7
    compat: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.families = tuple(self.families)
        self.difficulties = tuple(self.difficulties)
        splits(self.families, self.difficulties)
        for name, least in (("scenes", 1), ("seed", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or value < least:
                raise ConfigError(f"task.{name}={value!r} must be a whole number, at least {least}")

    def samples(self) -> Iterator[Sample]:
        """Scenes of one family and difficulty after the other."""
        for family, difficulty in splits(self.families, self.difficulties):
            yield from scenes(family, difficulty, self.scenes, self.seed, self.compat)


def splits(families: Sequence[str], difficulties: Sequence[str]) -> list[tuple[str, str]]:
    """(family, difficulty) pairs that exist among those asked for; errors as in `McqSynthetic`."""
    if unknown := [d for d in difficulties if d not in LEVELS]:
        raise ConfigError(
            f"task.difficulties: no difficulty {unknown[0]!r}; known are {', '.join(LEVELS)}"
        )
    pairs = []
    for name in families:
        levels = [d for d in difficulties if d in find(name).levels]
        if not levels:
            known = ", ".join(find(name).levels)
            raise ConfigError(
                f"task.families: {name} exists as {known} only; add it to task.difficulties"
            )
        pairs += [(name, level) for level in levels]
    if len(set(pairs)) != len(pairs) or not pairs:
        raise ConfigError("task.families and task.difficulties must name each value once")
    return pairs


def scenes(
    family: str, difficulty: str, count: int, seed: int, compat: bool = False
) -> Iterator[Sample]:
    """The first `count` items of one family and difficulty; nothing is synthesised."""
    stem = f"synth_{family}_{difficulty}_"
    for index in range(count):
        name = f"{stem}{index + 1:06d}"
        if compat:
            plan = published_plan(family, difficulty, index, seed, name)
        else:
            plan = balanced_plan(family, difficulty, index, seed)
        question, choices, target, meta = _wording(family, difficulty, plan)
        clip = SceneClip(family, difficulty, index, seed, compat)
        # The published trivial families hold one waveform an answer, however many items.
        same = compat and family in TRIVIAL
        cluster = f"{stem}{meta['answer_type']}" if same else name
        yield Sample(name, (clip,), question, choices, target, cluster, meta)


@lru_cache(maxsize=2048)
def _wording(
    family: str, difficulty: str, plan: Plan
) -> tuple[str, tuple[Choice, ...], str, dict[str, Any]]:
    """Question, choices, right label and meta; equal items share them, to save memory."""
    chosen = FAMILIES[family]
    template, question = chosen.questions[plan.template]
    choices = tuple(
        Choice(prompts.letter(i), chosen.options[k][1]) for i, k in enumerate(plan.order)
    )
    meta = {
        "family": family,
        "difficulty": difficulty,
        "template": template,
        "answer_type": chosen.options[plan.answer][0],
    }
    return question, choices, choices[plan.order.index(plan.answer)].label, meta


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line of this module; returns the exit status."""
    parser = argparse.ArgumentParser(
        "python -m lalm_bench.tasks.synthetic",
        description="Write synthetic clips and their records, to listen to or to use elsewhere.",
    )
    parser.add_argument("outdir", type=Path)
    parser.add_argument("--families", nargs="+", default=list(TRIVIAL), metavar="NAME")
    parser.add_argument("--difficulties", nargs="+", default=["easy"], metavar="LEVEL")
    parser.add_argument("--scenes", type=int, default=100, help="per family and difficulty")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--compat", action="store_true", help="the published construction")
    chosen = parser.parse_args(arguments)
    from lalm_bench.tasks.synthetic.files import write

    try:
        if chosen.scenes < 1:
            raise ConfigError(f"--scenes must be at least 1, not {chosen.scenes}")
        for family, difficulty in splits(chosen.families, chosen.difficulties):
            items = list(scenes(family, difficulty, chosen.scenes, chosen.seed, chosen.compat))
            print(write(items, chosen.outdir))
    except (BenchError, OSError) as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 2
    return 0
