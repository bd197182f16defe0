"""The folder of one captured prompt; `meta.json` is written last and says that it is whole."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from lalm_bench.capture.tokens import AUDIO, KINDS
from lalm_bench.store import read_json, write_bytes, write_json
from lalm_bench.types import Json, Request

if TYPE_CHECKING:
    from lalm_bench.capture.observer import Attended
    from lalm_bench.capture.watching import Told

FOLDER = Path("capture", "attention")
SUMMARY = FOLDER / "summary.json"
META, TOKENS, HEATMAP = "meta.json", "tokens.json", "heatmap"
# The part of the share on audio that goes to silence behind a clip.
PADDING = "audio_padding"
_LONGEST_NAME = 80


@dataclass(frozen=True)
class Prompt:
    """One request whose attention is captured, and where."""

    path: Path
    request: Request

    @classmethod
    def of(cls, run: Path, request: Request) -> Prompt:
        """Below the run folder `run`."""
        return cls(run / FOLDER / folder_name(request.sample_id, request.variant), request)

    @property
    def name(self) -> str:
        """The item, and the variant where there are several."""
        variant = self.request.variant
        return f"{self.request.sample_id} ({variant})" if variant else self.request.sample_id

    def meta(self) -> dict[str, Any]:
        """Content of `meta.json`; empty where there is none."""
        return read_json(self.path / META) or {}

    def is_done(self, settings: Mapping[str, Json], drawing: bool) -> bool:
        """Whether the same prompt was captured in the same way."""
        meta = self.meta()
        return (
            meta.get("key") == self.request.key
            and meta.get("settings") == settings
            and (not drawing or not meta["timed"] or f"{HEATMAP}.png" in meta["files"])
            and all((self.path / name).is_file() for name in meta["files"])
        )

    def files(self) -> list[Path]:
        """All files of a captured prompt."""
        return [self.path / name for name in (*self.meta()["files"], META)]

    def write(
        self, seen: Attended, told: Told, settings: Mapping[str, Json], drawing: bool
    ) -> None:
        """Write everything; what was captured before is gone."""
        self.path.mkdir(parents=True, exist_ok=True)
        (self.path / META).unlink(missing_ok=True)
        for old in self.path.iterdir():
            if old.is_file():
                old.unlink()
        arrays = {"attn": seen.last, "attn_text": seen.text, "shares": seen.shares}
        if seen.full is not None:
            arrays["full"] = seen.full
        for name, array in arrays.items():
            out = io.BytesIO()
            np.save(out, array.astype(str(settings["dtype"])), allow_pickle=False)
            write_bytes(self.path / f"{name}.npy", out.getvalue())
        write_bytes(self.path / TOKENS, orjson.dumps(_tokens(seen, told)))
        names = [*(f"{name}.npy" for name in arrays), TOKENS]
        if drawing and told.soundings is not None:
            from lalm_bench.capture.figures import heatmap

            names += [file.name for file in heatmap(self.path / HEATMAP, self.name, seen, told)]
        counts = np.bincount(seen.kinds, minlength=len(KINDS))
        meta = {
            "id": self.request.sample_id,
            "variant": self.request.variant,
            "key": self.request.key,
            "settings": dict(settings),
            "tokens": {"all": len(seen.ids)}
            | {kind: int(n) for kind, n in zip(KINDS, counts, strict=True)},
            "later_text_tokens": len(seen.queries),
            "axes": {
                "attn.npy": ["layer", "group", "token"],
                "attn_text.npy": ["layer", "group", "token"],
                "shares.npy": ["layer", "group", "later text token", list(KINDS)],
                "full.npy": ["layer", "group", "asking token", "token"],
            },
            "audio_tokens_per_s": told.rate,
            "clips_s": [len(clip.wave) / clip.rate for clip in told.clips],
            "timed": told.soundings is not None,
            "layers": [_layer(seen, told, place) for place in range(len(told.layers))],
            "files": names,
        }
        write_json(self.path / META, meta)


def folder_name(item: str, variant: str) -> str:
    """A name that every file system takes; another one for each item and variant.

    Examples
    --------
    >>> folder_name("clip_7", ""), folder_name("clip_7", "rotated-1")
    ('clip_7', 'clip_7~rotated-1')
    >>> folder_name("a/b", "")
    'a-b.4dc3ecfe'
    """
    plain = f"{item}~{variant}" if variant else item
    safe = "".join(c if c.isascii() and (c.isalnum() or c in "._~=+-") else "-" for c in plain)
    safe = safe.strip(".")[:_LONGEST_NAME]
    if safe == plain and "~" not in item:
        return safe
    digest = hashlib.blake2b(f"{item}\0{variant}".encode(), digest_size=4).hexdigest()
    return f"{safe or 'item'}.{digest}"


def _tokens(seen: Attended, told: Told) -> list[dict[str, Json]]:
    """Each token at its position."""
    rows: list[dict[str, Json]] = []
    sounding = iter(told.soundings or ())
    for number, kind, text in zip(seen.ids.tolist(), seen.kinds.tolist(), told.texts, strict=True):
        row: dict[str, Json] = {"id": number, "kind": KINDS[kind], "text": text}
        if kind == AUDIO and told.soundings is not None:
            when = next(sounding)
            row |= {"clip": when.clip, "seconds": [round(when.start, 4), round(when.end, 4)]}
            if not when.heard:
                row["padding"] = True
        rows.append(row)
    return rows


def _layer(seen: Attended, told: Told, place: int) -> dict[str, Json]:
    """Shares of one layer, means over its groups."""
    groups = ~np.isnan(seen.last[place, :, 0])
    last, later = seen.last[place, groups].mean(0), seen.shares[place, groups]
    reach = told.reach(place)
    visible = seen.kinds if reach is None else seen.kinds[-reach:]
    return {
        "layer": told.layers[place],
        "kind": told.kinds[place],
        "reach": reach,
        "groups": int(groups.sum()),
        "last_token": _by_kind([last[seen.kinds == kind].sum() for kind in range(len(KINDS))])
        | {PADDING: float(last[told.appended(seen.kinds)].sum())},
        "later_text": _by_kind(later.mean((0, 1))) if later.size else None,
        # What audio would get of the last token if it attended to all that it sees alike.
        "uniform_audio": float((visible == AUDIO).mean()),
    }


def _by_kind(values: Any) -> dict[str, Json]:
    return {kind: float(value) for kind, value in zip(KINDS, values, strict=True)}
