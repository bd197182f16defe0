"""Captured attention of a run, as the page shows it: over the spectrogram, and by layer."""

from __future__ import annotations

import io
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import orjson

from lalm_bench.report import table
from lalm_bench.report.paper import Table
from lalm_bench.report.spectrogram import MOST_COLUMNS
from lalm_bench.store import read_json, write_bytes

# As in `lalm_bench.capture.files`, which loads torch; reports are made without it.
FOLDER = Path("capture", "attention")
SUMMARY, META, TOKENS, HEATMAP = FOLDER / "summary.json", "meta.json", "tokens.json", "heatmap"
_AUDIO, _PADDING = "audio", "audio_padding"
# Times uniform attention, the ends of the colours: the same for all samples, so that they compare.
LEAST, MOST = 0.1, 10.0
_SHADES = 40
# A clip that is rendered may differ by so much from the one that was heard, seconds.
_SAME_LENGTH_S = 0.05

Key = tuple[str, str]


@dataclass(frozen=True)
class Captured:
    """What `capture=attention` left of a run; empty where nothing was captured.

    Parameters
    ----------
    folders : mapping of (id, variant) to Path
    summary : mapping
        Content of `summary.json`.
    """

    folders: Mapping[Key, Path] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)

    def write(self, key: Key, target: Path, home: Path) -> dict[str, Any] | None:
        """Write the pictures of one prompt below `target`; what the page needs, or None.

        Parameters
        ----------
        key : (id, variant)
        target : Path
            Folder of this run's pictures.
        home : Path
            Of the report, which paths are relative to.

        Returns
        -------
        dict
            `layers`, lowest first; `share`, of the last token's attention on audio, and `uniform`,
            what it would be if all that the layer sees got alike, for each of them; `clips`, for
            each clip `picture` and `seconds`, empty where tokens have no known time; `figure`
            (PNG and SVG), where the capture drew one.
        """
        folder = self.folders.get(key)
        meta = None if folder is None else read_json(folder / META)
        if folder is None or not isinstance(meta, dict):
            return None
        target.mkdir(parents=True, exist_ok=True)
        layers = meta["layers"]
        found: dict[str, Any] = {
            "layers": [layer["layer"] for layer in layers],
            "share": [round(layer["last_token"][_AUDIO], 4) for layer in layers],
            "uniform": [round(layer["uniform_audio"], 4) for layer in layers],
            "clips": [],
        }
        if meta["timed"]:
            times, tokens = _times_uniform(folder, layers)
            for clip, seconds in enumerate(meta["clips_s"]):
                file = target / f"{folder.name}-{clip}.png"
                write_bytes(file, strip(times, tokens, clip, seconds))
                shown = {"picture": file.relative_to(home).as_posix(), "seconds": seconds}
                found["clips"].append(shown)
        drawn = [folder / f"{HEATMAP}.{kind}" for kind in ("png", "svg")]
        if all(file.is_file() for file in drawn):
            copies = [target / f"{folder.name}{file.suffix}" for file in drawn]
            for file, copy in zip(drawn, copies, strict=True):
                shutil.copyfile(file, copy)
            found["figure"] = {
                copy.suffix[1:]: copy.relative_to(home).as_posix() for copy in copies
            }
        return found


def read(run: Path) -> Captured:
    """What lies in `<run>/capture/attention/`; prompts whose capture is not whole are left out."""
    summary = read_json(run / SUMMARY)
    if not isinstance(summary, dict):
        return Captured()
    folders = {
        (str(one["id"]), str(one["variant"])): run / FOLDER / PurePath(one["folder"]).name
        for one in summary.get("captured", ())
    }
    return Captured({k: f for k, f in folders.items() if (f / META).is_file()}, summary)


def fits(shown: Mapping[str, Any], number: int, seconds: float) -> str | None:
    """Picture of a clip's attention, if it is the clip that was rendered; its length says so."""
    clips = shown["clips"]
    if number < len(clips) and math.isclose(
        clips[number]["seconds"], seconds, abs_tol=_SAME_LENGTH_S
    ):
        return str(clips[number]["picture"])
    return None


def _times_uniform(
    folder: Path, layers: Sequence[Mapping[str, Any]]
) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Attention of the last token, (layers, audio tokens), in multiples of uniform; the tokens."""
    weights = np.load(folder / "attn.npy", allow_pickle=False).astype(np.float64)
    tokens = orjson.loads((folder / TOKENS).read_bytes())
    heard = [place for place, token in enumerate(tokens) if token["kind"] == _AUDIO]
    seeing = [min(layer["reach"] or len(tokens), len(tokens)) for layer in layers]
    # Layers with fewer groups than others are filled with NaN.
    mean = np.nanmean(weights, axis=1)[:, heard]
    return mean * np.array(seeing)[:, None], [tokens[place] for place in heard]


def strip(
    times: np.ndarray, tokens: Sequence[Mapping[str, Any]], clip: int, seconds: float
) -> bytes:
    """A PNG of one clip: time from left to right over its whole length, the last layer on top.

    Parameters
    ----------
    times : numpy.ndarray
        Shape (layers, audio tokens), multiples of uniform attention.
    tokens : sequence of mapping
        Each `clip` and `seconds` (from, to).
    clip : int
    seconds : float
        Of the clip. Tokens behind it stand for silence that the model appends, and are cut off.

    Notes
    -----
    Shades are logarithmic from 0.1 to 10 times uniform; where no token sounds it is transparent.
    """
    from PIL import Image

    own = [place for place, token in enumerate(tokens) if token["clip"] == clip]
    columns = max(1, min(MOST_COLUMNS, 4 * len(own)))
    middles = (np.arange(columns) + 0.5) * seconds / columns
    starts = np.array([tokens[place]["seconds"][0] for place in own])
    ends = np.array([tokens[place]["seconds"][1] for place in own])
    shades = np.full((len(times), columns), _SHADES, np.uint8)
    if own:
        at = np.clip(np.searchsorted(starts, middles, side="right") - 1, 0, None)
        inside = (starts[at] <= middles) & (middles < ends[at])
        part = np.clip(times[:, own][:, at[inside]], LEAST, MOST)
        scale = np.log(part / LEAST) / math.log(MOST / LEAST)
        shades[:, inside] = np.round(scale * (_SHADES - 1)).astype(np.uint8)
    image = Image.fromarray(shades[::-1], mode="P")
    image.putpalette(_palette())
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True, transparency=_SHADES)
    return out.getvalue()


@lru_cache(maxsize=1)
def _palette() -> bytes:
    """Of cividis, which reads alike with every colour vision, and one colour for nothing."""
    from matplotlib import colormaps

    colours = colormaps["cividis"](np.linspace(0, 1, _SHADES))[:, :3]
    return bytes((colours * 255).round().astype(np.uint8).tobytes()) + b"\0\0\0"


def overview(shown: Sequence[tuple[str, str, Captured]]) -> Table | None:
    """Mean share of attention on audio over layers and prompts, one row a run that was captured.

    Parameters
    ----------
    shown : sequence of (key, name, Captured)
        Each run: its key on the page, and what it is called.
    """
    having = [row for row in shown if row[2].summary.get("layers")]
    if not having:
        return None
    columns = ["run", "prompts", "last token", "text behind the audio", "uniform"]
    columns += ["appended silence", "not captured"]
    rows = []
    for _, name, captured in having:
        layers = captured.summary["layers"]
        later = [row["later_text"]["audio"] for row in layers if row["later_text"]]
        means = [
            _mean([row["last_token"]["audio"] for row in layers]),
            _mean(later),
            _mean([row["uniform_audio"] for row in layers]),
            _mean([row[_PADDING] for row in layers]),
        ]
        lost = len(captured.summary.get("failed") or {}) + len(
            captured.summary.get("left_out") or {}
        )
        row = [name, table.number(captured.summary["prompts"]), *map(table.number, means)]
        rows.append([*row, table.number(lost)])
    note = (
        "Mean over layers and captured prompts of the share of attention that audio tokens get: "
        "from the last token of the prompt, and from its text behind the audio. Uniform is the "
        "share if the last token attended to all that it sees alike; appended silence is the part "
        "of the last token's share that goes to what the model puts behind a clip."
    )
    keys = [key for key, _, _ in having]
    return Table("attention", "Share of attention on audio", columns, rows, note, keys)


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
