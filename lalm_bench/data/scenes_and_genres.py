"""`segment tau` and `segment gtzan`: clips of one place or genre, joined, with questions.

In the published set the folder of a scene was the text before the first underscore, so `metro` and
`metro_station` shared one (as did both streets), and folders decided the label. Here a label is
read from the file's own name, longest first, and a folder only speaks where the name is silent.
"""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
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
from lalm_bench.errors import DataError
from lalm_bench.prompts import letter
from lalm_bench.randomness import derive
from lalm_bench.types import AudioRef

_OPTIONS = 4
_AUDIO = frozenset({".wav", ".flac", ".au", ".mp3", ".ogg"})


@dataclass(frozen=True)
class Collection:
    """A collection of labelled clips and the table its task reads.

    Parameters
    ----------
    labels : tuple of str
    group : str
        Pattern of what a file name says beyond its label; clips whose first group agrees are
        joined. Empty: all clips of a label are.
    seconds : tuple of float
        Least and most of a joined recording.
    """

    labels: tuple[str, ...]
    group: str
    seconds: tuple[float, float]
    table: str
    label_field: str
    question: str
    dataset: str


COLLECTIONS = {
    "tau": Collection(
        (
            "airport",
            "bus",
            "metro",
            "metro_station",
            "park",
            "public_square",
            "shopping_mall",
            "street_pedestrian",
            "street_traffic",
            "tram",
        ),
        # city-location, then segment and device: airport-lisbon-1000-40000-a
        r"-([a-z]+-\d+)-",
        (90.0, 210.0),
        "acoustic_scene_task_meta.json",
        "scene_label",
        "What is the acoustic scene of this segment?",
        "TAU Urban Acoustic Scenes 2020 Mobile",
    ),
    "gtzan": Collection(
        (
            "blues",
            "classical",
            "country",
            "disco",
            "hiphop",
            "jazz",
            "metal",
            "pop",
            "reggae",
            "rock",
        ),
        "",
        (90.0, 300.0),
        "music_genre_classification_meta.json",
        "genre_label",
        "What is the music genre of this segment?",
        "GTZAN",
    ),
}


def plan(
    collection: Collection, source: Path, low: float, high: float, seed: int
) -> tuple[list[Assembly], dict[str, Any]]:
    """Recordings to write with their questions, and what was left over.

    Parameters
    ----------
    source : Path
        Folder of the clips, searched to any depth.
    low, high : float
        Seconds.
    seed : int
        Of the distractors and of the place of the right option.

    Raises
    ------
    DataError
        No clip; a clip without a label, unreadable, or (where clips are grouped) with another name
        than the collection gives.
    """
    demand_range(low, high)
    groups: defaultdict[tuple[str, str], list[Path]] = defaultdict(list)
    overruled = 0
    files = recordings_below(source, _AUDIO)
    if not files:
        raise DataError(f"{source}: no recordings below it; give the folder of the clips")
    for file in files:
        label, by_folder = label_of(file.relative_to(source), collection.labels)
        overruled += by_folder is not None and by_folder != label
        groups[label, _group(file, label, collection.group)].append(file)
    made: list[tuple[str, str, tuple[Piece, ...]]] = []
    rest: list[Piece] = []
    for (label, group), members in sorted(groups.items()):
        pieces = [piece(AudioRef(str(f))) for f in sorted(members, key=lambda f: _natural(f.stem))]
        packed, left = pack(pieces, low, high)
        rest += left
        stem = f"{label}-{group}" if group else label
        made += [(label, f"{stem}_{n:03d}", pieces) for n, pieces in enumerate(packed)]
    if not made:
        raise DataError(f"{source}: no group of clips reaches {low:g} s; lower --min-s")
    places = _places([name for _, name, _ in made], seed)
    assemblies = [
        Assembly(f"{label}/{name}.wav", pieces, _row(collection, label, name, places[name], seed))
        for label, name, pieces in made
    ]
    return assemblies, {
        "clips": len(files),
        "recordings": len(assemblies),
        "by_label": dict(sorted(Counter(label for label, _, _ in made).items())),
        "clips_left_over": len(rest),
        "labels_where_folder_and_name_differ": overruled,
    }


def label_of(path: Path, labels: Iterable[str]) -> tuple[str, str | None]:
    """The label of a file, and what its folder says where a folder is named like a label.

    Examples
    --------
    >>> label_of(Path("metro/metro_station-paris-1-2-a.wav"), ("metro", "metro_station"))
    ('metro_station', 'metro')
    """
    known = sorted(labels, key=len, reverse=True)
    by_name = next((x for x in known if re.match(rf"{re.escape(x)}(?![a-z])", path.stem)), None)
    by_folder = next((part for part in reversed(path.parts[:-1]) if part in known), None)
    label = by_name or by_folder
    if label is None:
        raise DataError(
            f"{path}: neither its name nor its folder is a label ({', '.join(sorted(known))}); "
            "rename it or move it away"
        )
    return label, by_folder


def _group(file: Path, label: str, pattern: str) -> str:
    if not pattern:
        return ""
    found = re.match(pattern, file.stem.removeprefix(label))
    if found is None:
        raise DataError(
            f"{file.name}: not named like scene-city-location-segment-device, so its place is "
            "unknown; rename it or move it away"
        )
    return found[1]


def _row(collection: Collection, label: str, name: str, place: int, seed: int) -> dict[str, Any]:
    others = [other for other in collection.labels if other != label]
    rng = random.Random(derive(seed, name, "distractors"))  # noqa: S311
    options = rng.sample(others, _OPTIONS - 1)
    options.insert(place, label)
    return {
        "path": f"{label}/{name}.wav",
        collection.label_field: label,
        "question": collection.question,
        **{f"choice_{letter(i).lower()}": _friendly(o) for i, o in enumerate(options)},
        "answer_gt": letter(place),
        "task_name": collection.table.removesuffix("_meta.json"),
        "dataset_name": collection.dataset,
        "uniq_id": name,
    }


def _friendly(label: str) -> str:
    return f"{label.replace('_', ' ').capitalize()} - {label}"


def _places(names: Sequence[str], seed: int) -> dict[str, int]:
    """Each place equally often, dealt in an order that only (seed, name) decides."""
    dealt = sorted(names, key=lambda name: derive(seed, name, "place"))
    return {name: i % _OPTIONS for i, name in enumerate(dealt)}


def _natural(stem: str) -> list[tuple[int, str]]:
    return [(int(p), "") if p.isdigit() else (-1, p) for p in re.split(r"(\d+)", stem)]
