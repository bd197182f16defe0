"""What a model attends to while it reads a prompt, audio against text."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from lalm_bench import stopping
from lalm_bench.errors import AudioError, ConfigError, ModelError, one_line
from lalm_bench.randomness import derive
from lalm_bench.types import ANSWER, Json, Model, Pruning, Sample

if TYPE_CHECKING:
    from lalm_bench.build import Experiment
    from lalm_bench.capture.watching import Watching
    from lalm_bench.models.hf import HFModel
    from lalm_bench.preflight import Plan
    from lalm_bench.store import ResponseLog

ALL = "all"
_HEADS = ("mean", "groups", "all")
_DTYPES = ("float32", "float16")


@dataclass(frozen=True, kw_only=True)
class AttentionCapture:
    """Reads the prompts of a few items once more, after all are answered.

    Parameters
    ----------
    samples : int
        Items, drawn by the run's seed.
    ids : sequence of str, optional
        These items instead.
    layers : "all" or sequence of int
    heads : str
        mean, groups (of query heads that share a key head) or all.
    full : bool
        Also the attention of all tokens.
    full_mb : float
        Most megabytes that it takes for one prompt.
    dtype : str
        float32 or float16.
    """

    name: str = "attention"
    samples: int = 8
    ids: Sequence[Any] | None = None
    layers: str | Sequence[int] = ALL
    heads: str = "groups"
    full: bool = False
    full_mb: float = 256
    dtype: str = "float32"

    def __post_init__(self) -> None:
        _demand(_whole(self.samples) and self.samples > 0, f"samples={self.samples!r}", "1 or more")
        listed = not isinstance(self.ids, str | int) and self.ids != []
        _demand(listed, f"ids={self.ids!r}", "a list of item ids, or null: capture.ids=[id,id]")
        named = self.layers == ALL or (
            isinstance(self.layers, Sequence)
            and not isinstance(self.layers, str)
            and len(self.layers) > 0
            and all(_whole(number) and number >= 0 for number in self.layers)
            and len(set(self.layers)) == len(self.layers)
        )
        _demand(named, f"layers={self.layers}", "all, or a list of layers from 0, each once: [0,1]")
        _demand(self.heads in _HEADS, f"heads={self.heads}", f"one of {', '.join(_HEADS)}")
        _demand(self.dtype in _DTYPES, f"dtype={self.dtype}", f"one of {', '.join(_DTYPES)}")
        _demand(isinstance(self.full, bool), f"full={self.full!r}", "true or false")
        size = self.full_mb
        number = isinstance(size, int | float) and not isinstance(size, bool)
        _demand(number and size > 0, f"full_mb={size!r}", "a number above 0")

    def check(self, model: Model, pruning: Pruning) -> None:
        """ConfigError where nothing can be captured of `model`; needs no weights."""
        from lalm_bench.models.hf import HFModel
        from lalm_bench.pruning.fitting import demand_prunable

        if not isinstance(model, HFModel):
            raise ConfigError(
                f"capture={self.name}: model {model.name} shows no layers that attend to audio; "
                "take an audio model that transformers runs in this process, or capture=none"
            )
        if model.attn_implementation not in (None, "sdpa"):
            raise ConfigError(
                f"model.attn_implementation={model.attn_implementation}: capture={self.name} "
                "watches sdpa only; leave it out"
            )
        if getattr(pruning, "kind", None) == "prefill" and getattr(pruning, "ratio", 0):
            raise ConfigError(
                f"capture={self.name} shows whole prompts, and pruning={pruning.name} shortens "
                "them while they are read; set pruning=none or capture=none"
            )
        count = demand_prunable(self.name, model).layers
        if self.layers != ALL and count is not None:
            from lalm_bench.capture.watching import demand_layers

            demand_layers(cast("Sequence[int]", self.layers), count, model.name)

    def demand_items(self, samples: Sequence[Sample]) -> None:
        """ConfigError where `ids` names an item that is none of `samples`."""
        known = {sample.id for sample in samples}
        if absent := [name for name in map(str, self.ids or ()) if name not in known]:
            shown = ", ".join(absent[:3]) + (" ..." if len(absent) > 3 else "")
            raise ConfigError(
                f"capture.ids: {shown} are no items of this run; name some that it asks (see "
                "decisions.jsonl and limit), or set capture.samples"
            )

    def settings(self) -> dict[str, Json]:
        """How each prompt is captured."""
        return {
            "layers": ALL if self.layers == ALL else sorted(cast("Sequence[int]", self.layers)),
            "heads": self.heads,
            "full_mb": self.full_mb if self.full else None,
            "dtype": self.dtype,
        }

    def asked(self) -> dict[str, Json]:
        """All settings, as the summary holds them."""
        chosen: dict[str, Json] = {"samples": self.samples}
        if self.ids is not None:
            chosen = {"ids": [str(name) for name in self.ids]}
        return {**chosen, **self.settings()}

    def finished(self, folder: Path) -> bool:
        """Whether `folder` holds a summary of these settings, and nothing has failed."""
        from lalm_bench.capture.files import SUMMARY
        from lalm_bench.store import read_json

        summary = read_json(folder / SUMMARY) or {}
        return summary.get("asked") == self.asked() and not summary.get("failed")

    def take(self, experiment: Experiment, plan: Plan, store: ResponseLog) -> list[Path]:
        """Capture the chosen items' prompts, summarise, draw; see `base.Capture`."""
        from lalm_bench.capture import summary
        from lalm_bench.capture.files import Prompt

        settings, drawing = self.settings(), bool(experiment.config["figures"])
        chosen, left_out = self._chosen(plan, experiment.seed)
        with store.lookup() as answer:
            requests = replace(plan, samples=chosen).requests(answer)
            prompts = [Prompt.of(experiment.folder, request) for _, request in requests]
        watching: Watching | None = None
        captured: list[Prompt] = []
        failed: dict[str, Json] = {}
        for prompt in prompts:
            stopping.check()
            if prompt.request.step != ANSWER:
                left_out[prompt.name] = "there is no reasoning to answer from"
                continue
            if not prompt.is_done(settings, drawing):
                watching = watching or self._watching(experiment)
                try:
                    seen = watching.see(prompt.request)
                    if seen is None:
                        left_out[prompt.name] = "there is no audio in it"
                        continue
                    prompt.write(seen, watching.told(prompt.request, seen), settings, drawing)
                except (ModelError, AudioError) as error:
                    failed[prompt.name] = one_line(error)
                    continue
            captured.append(prompt)
        if failed:
            name, reason = next(iter(failed.items()))
            sys.stderr.write(
                f"capture: {len(failed)} prompts failed; {name}: {reason}; the same command tries "
                "them again\n"
            )
        told: dict[str, Json] = {"asked": self.asked(), "left_out": left_out, "failed": failed}
        return summary.write(experiment, captured, told, drawing)

    def _chosen(self, plan: Plan, seed: int) -> tuple[list[Sample], dict[str, Json]]:
        """Items in the task's order, and why others that were named are left out."""
        asked = [s for s, requests in zip(plan.samples, plan.asked, strict=True) if requests]
        if self.ids is None:
            ranks = sorted(asked, key=lambda sample: derive(seed, "capture", sample.id))
            names = {sample.id for sample in ranks[: self.samples]}
            return [sample for sample in asked if sample.id in names], {}
        names = {str(name) for name in self.ids}
        chosen = [sample for sample in asked if sample.id in names]
        absent = names - {sample.id for sample in chosen}
        why = "the intervention skips it"
        return chosen, {name: plan.unasked.get(name, why) for name in sorted(absent)}

    def _watching(self, experiment: Experiment) -> Watching:
        from lalm_bench.capture.watching import Watching

        model = cast("HFModel", experiment.model)
        layers = None if self.layers == ALL else cast("Sequence[int]", self.layers)
        full_bytes = int(self.full_mb * 1e6) if self.full else None
        return Watching(model, experiment.runtime, layers, self.heads, full_bytes)


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _demand(holds: bool, what: str, allowed: str) -> None:
    if not holds:
        raise ConfigError(f"capture.{what} must be {allowed}")
