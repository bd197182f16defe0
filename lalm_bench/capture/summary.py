"""What a run's captured prompts have in common: the share of attention on audio, by layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lalm_bench.capture.files import FOLDER, PADDING, SUMMARY, Prompt
from lalm_bench.capture.tokens import KINDS
from lalm_bench.store import write_json
from lalm_bench.types import Json

if TYPE_CHECKING:
    from lalm_bench.build import Experiment

FIGURE = "share_by_layer"
ASKING = ("last_token", "later_text")


def write(
    experiment: Experiment, prompts: Sequence[Prompt], told: Mapping[str, Json], drawing: bool
) -> list[Path]:
    """Write `summary.json` and its figure; all files of the capture.

    Parameters
    ----------
    prompts : sequence of Prompt
        Captured.
    told : mapping
        What the summary says besides: `asked`, `left_out` and `failed`.
    """
    metas = [prompt.meta() for prompt in prompts]
    layers = over_prompts(metas)
    folder = experiment.folder / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    drawn: list[Path] = []
    if drawing and layers:
        from lalm_bench.asking import title
        from lalm_bench.capture.figures import share_by_layer

        drawn = share_by_layer(folder / FIGURE, title(experiment), layers, len(metas))
    captured = [
        {"id": meta["id"], "variant": meta["variant"], "folder": prompt.path.name}
        for meta, prompt in zip(metas, prompts, strict=True)
    ]
    content = {**told, "prompts": len(prompts), "layers": layers, "captured": captured}
    write_json(experiment.folder / SUMMARY, content)
    inside = [file for prompt in prompts for file in prompt.files()]
    return [experiment.folder / SUMMARY, *drawn, *inside]


def over_prompts(metas: Sequence[Mapping[str, Any]]) -> list[dict[str, Json]]:
    """Each layer: mean over prompts of each kind's share, and the range of that of audio.

    Parameters
    ----------
    metas : sequence of mapping
        Contents of `meta.json`, of one model and one choice of layers.
    """
    rows: list[dict[str, Json]] = []
    for same in zip(*(meta["layers"] for meta in metas), strict=True):
        row: dict[str, Json] = {name: same[0][name] for name in ("layer", "kind", "reach")}
        for asking in ASKING:
            shares = [layer[asking] for layer in same if layer[asking] is not None]
            row[asking] = None
            if shares:
                audio = [share["audio"] for share in shares]
                means = {kind: float(np.mean([s[kind] for s in shares])) for kind in KINDS}
                row[asking] = {**means, "audio_low": min(audio), "audio_high": max(audio)}
        row[PADDING] = float(np.mean([layer["last_token"][PADDING] for layer in same]))
        row["uniform_audio"] = float(np.mean([layer["uniform_audio"] for layer in same]))
        rows.append(row)
    return rows
