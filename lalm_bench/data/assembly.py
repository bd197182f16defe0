"""Long recordings made of short ones: planned first, then written, each file in one step."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lalm_bench import audio
from lalm_bench.errors import AudioError, DataError
from lalm_bench.store import read_json, write_json
from lalm_bench.types import AudioRef, AudioSource

PLAN = "segment.json"


@dataclass(frozen=True, slots=True)
class Piece:
    """A clip or a part of one; `fake` says that it was synthesised."""

    ref: AudioRef
    seconds: float
    fake: bool = False


@dataclass(frozen=True, slots=True)
class Assembly:
    """A file to write: its path below the target folder, its pieces in order, its table row."""

    path: str
    pieces: tuple[Piece, ...]
    row: dict[str, Any]

    @property
    def seconds(self) -> float:
        """Duration of the whole."""
        return sum(p.seconds for p in self.pieces)


def recordings_below(folder: Path, suffixes: Collection[str]) -> list[Path]:
    """Files with one of `suffixes` at any depth, sorted; hidden ones are not recordings."""
    return sorted(
        file
        for file in folder.rglob("*")
        if file.suffix.lower() in suffixes and not file.name.startswith(".")
    )


def piece(ref: AudioRef, fake: bool = False) -> Piece:
    """The piece with its duration from the header; AudioError when it cannot be read."""
    return Piece(ref, audio.seconds(AudioSource(ref)), fake)


def pack(
    pieces: Iterable[Piece], low: float, high: float, target: Callable[[], float] | None = None
) -> tuple[list[tuple[Piece, ...]], list[Piece]]:
    """Consecutive pieces in groups of `low` to `high` seconds.

    Parameters
    ----------
    pieces : iterable of Piece
    low, high : float
        Seconds.
    target : callable, optional
        Gives for each group the length at which it is full; as much as fits when left out.

    Returns
    -------
    groups : list of tuple of Piece
    rest : list of Piece
        What is left over because its group stayed below `low`, or is itself longer than `high`.
    """
    groups: list[tuple[Piece, ...]] = []
    rest: list[Piece] = []
    held: list[Piece] = []
    length, full = 0.0, target() if target else high

    def close() -> None:
        nonlocal held, length, full
        if length >= low:
            groups.append(tuple(held))
        else:
            rest.extend(held)
        held, length, full = [], 0.0, target() if target else high

    for each in pieces:
        if each.seconds > high:
            rest.append(each)
            continue
        if held and length + each.seconds > high:
            close()
        held.append(each)
        length += each.seconds
        if length >= full:
            close()
    if held:
        close()
    return groups, rest


def demand_range(low: float, high: float) -> None:
    """DataError unless 0 < low < high."""
    if not 0 < low < high:
        raise DataError(f"--min-s {low:g} and --max-s {high:g}: give 0 < minimum < maximum")


def write(
    assemblies: Sequence[Assembly], folder: Path, rate: int, settings: dict[str, Any]
) -> tuple[int, int]:
    """Write all recordings; one that is there from an earlier start stays.

    The folder must be new, empty, or of the same plan. A kill leaves whole files only.

    Parameters
    ----------
    assemblies : sequence of Assembly
    folder : Path
    rate : int
        Hz; all pieces become mono at this rate.
    settings : dict
        Kept beside the plan's digest.

    Returns
    -------
    tuple of int
        Files written, files that were there.

    Raises
    ------
    DataError
        There is something else in the folder, or it cannot be written to.
    """
    plan = [
        [a.path, [[os.path.basename(p.ref.path), p.ref.start, p.seconds] for p in a.pieces]]
        for a in assemblies
    ]
    digest = hashlib.blake2b(json.dumps([plan, rate]).encode(), digest_size=16).hexdigest()
    try:
        _claim(folder, {**settings, "rate": rate, "plan": digest})
        written = 0
        for assembly in _shown(assemblies):
            target = folder / assembly.path
            if not target.exists():
                _join(assembly, target, rate)
                written += 1
    except OSError as error:
        raise DataError(
            f"{error.filename or folder}: {error.strerror}; make room or choose another folder, "
            "then run again to continue"
        ) from error
    return written, len(assemblies) - written


def _claim(folder: Path, plan: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / PLAN).exists():
        if read_json(folder / PLAN) != plan:
            raise DataError(
                f"{folder}: holds recordings made from other clips or settings ({PLAN}); "
                "choose another folder"
            )
    elif any(folder.iterdir()):
        raise DataError(f"{folder}: not empty; choose a new folder")
    else:
        write_json(folder / PLAN, plan)


def _join(assembly: Assembly, target: Path, rate: int) -> None:
    import soundfile

    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    try:
        with soundfile.SoundFile(
            part, "w", samplerate=rate, channels=1, format="WAV", subtype="PCM_16"
        ) as file:
            for each in assembly.pieces:
                file.write(audio.render(AudioSource(each.ref), rate))
        os.replace(part, target)
    except soundfile.LibsndfileError as error:
        raise DataError(
            f"{target}: cannot be written ({error}); make room or choose another folder, "
            "then run again to continue"
        ) from error
    except AudioError as error:
        raise DataError(f"{assembly.path}: {error}") from error
    finally:
        part.unlink(missing_ok=True)


def _shown(assemblies: Sequence[Assembly]) -> Iterable[Assembly]:
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    return track(
        assemblies, "recordings", console=console, transient=True, disable=not console.is_terminal
    )
