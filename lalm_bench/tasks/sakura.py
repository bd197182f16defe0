"""SAKURA: hear an attribute (single hop), then reason from it (multi hop).

Yang et al. (2025), arXiv 2505.13237. Layout: `<root>/data/<Track>/metadata.csv` beside `audio/`.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from lalm_bench.errors import ConfigError, DataError
from lalm_bench.tasks.bad_rows import bad_row, demand_whole
from lalm_bench.tasks.multiple_choice import MultipleChoice
from lalm_bench.types import AudioRef, Choice, Json, Metrics, Sample

if TYPE_CHECKING:
    import pandas as pd

TRACKS = ("Animal", "Emotion", "Gender", "Language")
HOPS = ("single", "multi")
IDS = ("stem", "index")
_OPTION = re.compile(r"\(([a-z])\)\s+(.*?)\s*(?=\([a-z]\)\s|$)", re.S)


@dataclass(kw_only=True)
class Sakura(MultipleChoice):
    """Both hops of the chosen tracks.

    Parameters
    ----------
    root : str
        Folder that holds `data/<Track>/`.
    track : str
        `all`, or one of animal, emotion, gender, language.
    hop : str
        `both`, `single` or `multi`.
    ids : str
        `stem`: items are called by their file's name. `index`: by its place among the track's
        sorted file names, from 0, as in result files of the audio faithfulness study.
    """

    shown: ClassVar[tuple[str, ...]] = (
        *("accuracy_single", "accuracy_multi", "accuracy_multi_given_single_right"),
    )

    root: str
    track: str = "all"
    hop: str = "both"
    ids: str = IDS[0]

    def __post_init__(self) -> None:
        super().__post_init__()
        self._tracks = _pick("task.track", self.track.capitalize(), TRACKS, "All")
        self._hops = _pick("task.hop", self.hop, HOPS, "both")
        if self.ids not in IDS:
            raise ConfigError(f"task.ids={self.ids} must be one of {', '.join(IDS)}")

    def inputs(self) -> list[Path]:
        """The tables of the chosen tracks."""
        return [Path(self.root, "data", track, "metadata.csv") for track in self._tracks]

    def missing(self, audio: bool) -> list[str]:
        """Say where the data comes from when a table is not there."""
        absent = [str(path) for path in self.inputs() if not path.is_file()]
        if not absent:
            return []
        return [
            f"{absent[0]} is not there: clone the SAKURA repository (ckyang1124/SAKURA) and set "
            "task.root to the folder that holds its data/"
        ]

    def samples(self) -> Iterator[Sample]:
        """Items by track, clip (sorted by name) and hop; a bad row is an item with a fault."""
        for track, table in zip(self._tracks, self.inputs(), strict=True):
            # Rows without a file name come last, so that they move no index.
            rows = sorted(_rows(table, self._hops), key=lambda row: row[1]["file"] or "\U0010ffff")
            for index, (number, row) in enumerate(rows):
                file = row["file"]
                name = Path(file).stem if file else f"line {number}"
                if self.ids == "index" and file:
                    name = str(index)
                for hop in self._hops:
                    identity = f"sakura_{track.lower()}_{name}_{hop}"
                    where = f"{table} row {number} ({file}, {hop} hop)"
                    try:
                        yield self._sample(table, where, identity, track, hop, row)
                    except DataError as error:
                        yield bad_row(identity, error)

    def _sample(
        self, table: Path, where: str, identity: str, track: str, hop: str, row: dict[str, str]
    ) -> Sample:
        demand_whole(row, where)
        file, instruction = row["file"], row[f"{hop}_instruction"]
        answer, attribute = row[f"{hop}_answer"], row["attribute_label"]
        if not file:
            raise DataError(f"{where}: no file name; mend or drop the row")
        question, choices = split_options(instruction)
        found = _OPTION.fullmatch(answer.strip())
        target = Choice(*found.groups()) if found else None
        if target not in choices:
            raise DataError(
                f"{where}: the answer {answer!r} is none of its options; mend or drop the row"
            )
        return Sample(
            identity,
            (AudioRef(str(table.parent / "audio" / file)),),
            question,
            choices,
            target.label,
            f"{track}/{file}",
            {"track": track.lower(), "hop": hop, "attribute": attribute, "answer_type": attribute},
        )

    def metrics(self, decisions: pd.DataFrame) -> Metrics:
        """Shared metrics, plus accuracy by track and hop, and multi-hop given single-hop right.

        A hop counts as right when it is right in every order of its options that was asked.
        `accuracy_<hop>` is the mean over items, `accuracy_<hop>_track_mean` that over tracks.
        """
        metrics = super().metrics(decisions)
        if not len(decisions):
            return metrics
        items = decisions.groupby("id", sort=False).agg(
            {"cluster": "first", "track": "first", "hop": "first", "correct": "mean"}
        )
        tracks: list[Json] = []
        for hop, part in items.groupby("hop"):
            by_track = part.groupby("track")["correct"].agg(["mean", "size"])
            metrics.values[f"accuracy_{hop}"] = float(part["correct"].mean())
            metrics.values[f"accuracy_{hop}_track_mean"] = float(by_track["mean"].mean())
            tracks += [
                {"track": t, "hop": hop, "n": int(n), "accuracy": float(mean)}
                for t, mean, n in by_track.itertuples()
            ]
        metrics.analysis["by_track_and_hop"] = tracks
        wide = items.pivot_table(index="cluster", columns="hop", values="correct")
        if set(HOPS) <= set(wide.columns):
            both = wide.dropna()
            right = both["single"] == 1.0
            for name, given in (("right", both[right]), ("wrong", both[~right])):
                metrics.values[f"accuracy_multi_given_single_{name}"] = (
                    float(given["multi"].mean()) if len(given) else None
                )
                metrics.values[f"n_single_{name}"] = len(given)
        return metrics


def split_options(instruction: str) -> tuple[str, tuple[Choice, ...]]:
    """Split "question (a) x (b) y" into the question and its choices.

    Examples
    --------
    >>> split_options("Who? (a) a cat (b) a dog")
    ('Who?', (Choice(label='a', text='a cat'), Choice(label='b', text='a dog')))
    """
    first = _OPTION.search(instruction)
    question = instruction[: first.start()].strip() if first else instruction.strip()
    choices = tuple(Choice(m[1], m[2]) for m in _OPTION.finditer(instruction))
    return question, choices


def _pick(name: str, wanted: str, known: tuple[str, ...], every: str) -> tuple[str, ...]:
    if wanted == every:
        return known
    if wanted not in known:
        names = ", ".join([every.lower(), *(k.lower() for k in known)])
        raise ConfigError(f"{name}={wanted.lower()} must be one of {names}")
    return (wanted,)


def _rows(table: Path, hops: tuple[str, ...]) -> list[tuple[int, dict[str, str]]]:
    """Rows with the line they end in; DataError when the file is no table with all columns."""
    parts = [f"{hop}_{part}" for hop in hops for part in ("instruction", "answer")]
    try:
        with open(table, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            for name in ("file", "attribute_label", *parts):
                if name not in (reader.fieldnames or ()):
                    raise DataError(f"{table}: no column {name!r}; restore the published table")
            return [(reader.line_num, row) for row in reader]
    except UnicodeDecodeError as error:
        raise DataError(f"{table}: not UTF-8 ({error.reason}); save the table as UTF-8") from error
    except (OSError, csv.Error) as error:
        raise DataError(f"{table}: cannot be read ({error}); restore the published one") from error
