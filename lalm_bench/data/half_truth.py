"""`segment had`: long recordings that are real throughout, or have synthesised parts.

The published set shuffles without a seed, fills up by repeating, and cuts at 300 s, which may take
the only synthesised part away. Here the shuffle is seeded, nothing repeats, and a recording that
is called fake holds at least `min_fake_s` of synthesised sound, whose times are in the table.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lalm_bench.data.assembly import (
    Assembly,
    Piece,
    demand_range,
    pack,
    piece,
    recordings_below,
)
from lalm_bench.errors import AudioError, DataError
from lalm_bench.randomness import derive
from lalm_bench.types import AudioRef

TABLE = "half_truth_meta.json"
SECONDS = 180.0, 300.0
_PART = re.compile(r"(\d+(?:\.\d+)?)-(\d+(?:\.\d+)?)-([TF])")
_QUESTION = "Is this recording fully authentic, or does it contain synthesised segments?"


def plan(
    source: Path, labels: Path, low: float, high: float, seed: int, min_fake_s: float
) -> tuple[list[Assembly], dict[str, Any]]:
    """Recordings to write, and facts of both classes.

    Parameters
    ----------
    source : Path
        Folder of HAD's clips, searched to any depth.
    labels : Path
        HAD's label file: `name start-end-T/start-end-F/... flag` a line, flag 0 for a clip with
        synthesised parts.
    low, high : float
        Seconds; each recording's length is drawn between them.
    seed : int
    min_fake_s : float
        Least synthesised sound of a fake recording, seconds.

    Raises
    ------
    DataError
        A line is malformed or its clip is not there.
    """
    demand_range(low, high)
    pools = _pools(source, labels)
    assemblies: list[Assembly] = []
    facts: dict[str, Any] = {}
    for name, pieces in pools.items():
        # Not cryptography: the shuffle must be the same everywhere.
        rng = random.Random(derive(seed, "had", name))  # noqa: S311
        rng.shuffle(pieces)
        groups, rest = pack(pieces, low, high, lambda rng=rng: rng.uniform(low, high))  # type: ignore[misc]
        kept = [g for g in groups if name == "real" or _fake_seconds(g) >= min_fake_s]
        made = [_assembly(name, n, group) for n, group in enumerate(kept)]
        assemblies += made
        facts[name] = {
            "recordings": len(made),
            "hours": round(sum(a.seconds for a in made) / 3600, 3),
            "joins a minute": round(
                sum(len(a.pieces) - 1 for a in made) / max(sum(a.seconds for a in made), 1e-9) * 60,
                2,
            ),
            "without enough fake": len(groups) - len(kept),
            "parts left over": len(rest),
        }
    if not assemblies:
        raise DataError(f"{source}: neither class reaches {low:g} s; lower --min-s")
    return assemblies, facts


def _pools(source: Path, labels: Path) -> dict[str, list[Piece]]:
    clips: dict[str, Path] = {}
    for clip in recordings_below(source, frozenset({".wav"})):
        if clip.stem in clips:
            raise DataError(f"{clip}: {clips[clip.stem]} has its name; rename one or move it away")
        clips[clip.stem] = clip
    seen: set[str] = set()
    pools: dict[str, list[Piece]] = {"real": [], "fake": []}
    for where, name, parts, has_fake in _read(labels):
        file = clips.get(name)
        if file is None:
            raise DataError(f"{where}: no clip {name}.wav below {source}; complete the clips")
        if name in seen:
            raise DataError(f"{where}: {name} stands in an earlier line already; delete one")
        seen.add(name)
        for start, end, fake in parts:
            try:
                each = piece(AudioRef(str(file), start, end), fake)
            except AudioError as error:
                raise DataError(f"{where}: {error}") from error
            pools["fake" if has_fake else "real"].append(each)
    return pools


def _read(path: Path) -> Iterator[tuple[str, str, list[tuple[float, float, bool]], bool]]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 ({error.reason}); save the file as UTF-8") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); mend --labels") from error
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words:
            continue
        where = f"{path} line {number}"
        found = [_PART.fullmatch(part) for part in words[1].split("/")] if len(words) == 3 else []
        if not found or None in found or words[2] not in ("0", "1"):
            raise DataError(
                f"{where}: not of the form 'name start-end-T/start-end-F flag'; mend the line"
            )
        parts = [(float(m[1]), float(m[2]), m[3] == "F") for m in found if m]
        has_fake = words[2] == "0"
        if any(start >= end for start, end, _ in parts) or any(p[2] for p in parts) != has_fake:
            raise DataError(f"{where}: a part is empty, or the flag contradicts the parts")
        yield where, Path(words[0]).stem, parts, has_fake


def _fake_seconds(pieces: tuple[Piece, ...]) -> float:
    return sum(p.seconds for p in pieces if p.fake)


def _assembly(name: str, number: int, pieces: tuple[Piece, ...]) -> Assembly:
    path = f"{name}/{name}_{number:04d}.wav"
    spans, at = [], 0.0
    for each in pieces:
        if each.fake:
            spans.append([round(at, 3), round(at + each.seconds, 3)])
        at += each.seconds
    row = {
        "path": path,
        "question": _QUESTION,
        "choice_a": "Real",
        "choice_b": "Fake",
        "answer_gt": name.capitalize(),
        "uniq_id": f"{name}_{number:04d}",
        "duration_seconds": round(at, 3),
        "joins": len(pieces) - 1,
        "fake_spans": spans,
    }
    return Assembly(path, pieces, row)
