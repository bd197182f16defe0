"""Scenes drawn from a folder of labelled clips, with the annotations that follow from the draw."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from lalm_bench.errors import ConfigError, DataError
from lalm_bench.parsing.compat.tacobelal import normalise
from lalm_bench.randomness import derive
from lalm_bench.tasks.checks import demand_numbers
from lalm_bench.tasks.order.timeline import Row
from lalm_bench.tasks.soundscape.clip import REFERENCE_DBFS, MixedClip, Part
from lalm_bench.types import AudioRef, Clip, Sample

_ENDINGS = frozenset({".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au"})
_CLEAR_S = 0.3  # least distance of onsets, and least overlap, of sounds that overlap
_TRIES = 8


@dataclass(frozen=True, slots=True)
class Sound:
    """One sound of a scene: its label, its place (s) and where it comes from."""

    label: str
    onset: float
    offset: float
    part: Part


@dataclass(kw_only=True)
class Soundscapes:
    """A source of strong captions that is drawn, not annotated.

    The text of a sound is its label. Its onset and offset are those of what can be heard: silence
    at the edges of a recording is cut away, and of several sounds in one recording one is taken.
    Settings are seconds unless said; a scene depends on the settings, its number and the folder.

    Parameters
    ----------
    root : str
        Folder that holds `<label>/<file>`; underscores in a label become blanks.
    scenes : int
    duration : float
        Of a scene.
    events : (int, int)
        Sounds of a scene, least and most; fewer where no more find room.
    event_s, pause_s : (float, float)
        Length of a sound, and pause between sounds that follow each other.
    overlap, together, repeat : float
        Shares of sounds that start during the one before, start with it, or have a label that was
        heard before in the scene.
    level_db : (float, float)
        Level of a sound's loudest 10 ms, relative to the greatest possible.
    background_db : float, optional
        White noise on the same scale; None for silence.
    rate : int
        Hz.
    seed : int
    """

    root: str
    scenes: int = 200
    duration: float = 10.0
    events: Sequence[int] = (2, 5)
    event_s: Sequence[float] = (0.5, 4.0)
    pause_s: Sequence[float] = (0.3, 1.5)
    overlap: float = 0.25
    together: float = 0.15
    repeat: float = 0.15
    level_db: Sequence[float] = (-6.0, 0.0)
    background_db: float | None = -40.0
    rate: int = 16_000
    seed: int = 7

    def __post_init__(self) -> None:
        share = (float, 0, 1)
        demand_numbers(
            self,
            scenes=(int, 1, None),
            duration=(float, 1, 3600),
            overlap=share,
            together=share,
            repeat=share,
            background_db=(float, -200, 0),
            rate=(int, 8000, 192_000),
            seed=(int, 0, None),
            optional=("background_db",),
        )
        for name, least in (("events", 1), ("event_s", 0.1), ("pause_s", 0), ("level_db", -60)):
            pair = getattr(self, name)
            fits = isinstance(pair, list | tuple) and len(pair) == 2
            if not fits or not least <= pair[0] <= pair[1]:
                raise ConfigError(
                    f"task.source.{name}={pair!r} must be [least, most], from {least}; mend it"
                )
        if self.overlap + self.together > 1:
            raise ConfigError("task.source.overlap and .together exceed 1 together; lower one")
        self.counts: Counter[str] = Counter()

    def missing(self, audio: bool) -> list[str]:
        """The folder, where there is none with two labels."""
        if len(self._files) >= 2:
            return []
        return [
            f"{self.root}: not a folder with recordings of two labels or more; set "
            "task.source.root to one that holds <label>/<file>, such as dog/1.wav and rain/1.wav"
        ]

    def inputs(self) -> list[Path]:
        """Every recording: another folder gives other scenes."""
        return [path for files in self._files.values() for path in files]

    def rows(self) -> list[Row]:
        """One row a sound."""
        return [
            (name, sound.label, repr(sound.onset), repr(sound.offset))
            for name, sounds in self._scenes.items()
            for sound in sounds
        ]

    def bad_rows(self) -> list[Sample]:
        """None: the rows are drawn."""
        return []

    def clip(self, name: str) -> Clip:
        """The scene of that name; its recordings are read when it is mixed."""
        background = None if self.background_db is None else REFERENCE_DBFS + self.background_db
        parts = tuple([sound.part for sound in self._scenes[name]])
        seed = derive(self.seed, name, "noise") % 2**32
        return MixedClip(parts, float(self.duration), self.rate, background, seed)

    def __str__(self) -> str:
        return self.root

    @cached_property
    def _files(self) -> dict[str, list[Path]]:
        """Label -> recordings, both sorted; hidden files and other kinds of file are no matter."""
        found: dict[str, list[Path]] = {}
        folders = sorted(Path(self.root).iterdir()) if Path(self.root).is_dir() else []
        for folder in folders:
            if not folder.is_dir() or folder.name.startswith("."):
                continue
            files = [
                path
                for path in sorted(folder.iterdir())
                if path.suffix.lower() in _ENDINGS and not path.name.startswith(".")
            ]
            label = " ".join(folder.name.replace("_", " ").split())
            if any(normalise(label) == normalise(other) for other in found):
                raise DataError(f"{folder}: another folder has this label too; merge the two")
            if files and normalise(label):
                found[label] = files
        return found

    @cached_property
    def _scenes(self) -> dict[str, list[Sound]]:
        scenes = {f"scene_{n:06d}.wav": self._scene(n) for n in range(self.scenes)}
        return {name: sounds for name, sounds in scenes.items() if sounds}

    def _scene(self, number: int) -> list[Sound]:
        rng = random.Random(derive(self.seed, f"scene {number}", "soundscape"))  # noqa: S311
        unused = list(self._files)
        rng.shuffle(unused)
        sounds: list[Sound] = []
        alone = False  # a third sound at once would be hard to tell apart
        for _ in range(rng.randint(*self.events)):
            draw = rng.random()
            style = "after"
            if alone and draw < self.overlap + self.together:
                style = "overlap" if draw < self.overlap else "together"
            again = style == "after" and bool(sounds) and rng.random() < self.repeat
            if not again and not unused:
                break
            label = rng.choice(sounds).label if again else unused.pop()
            drawn = self._sound(label, rng)
            if drawn is None:
                continue
            recording, length, gain_db = drawn
            onset, follows = self._onset(style, sounds, length, rng)
            if onset + length > self.duration:
                break
            part = Part(recording, onset, gain_db)
            sounds.append(Sound(label, onset, onset + length, part))
            alone = follows
        return _moved(sounds, self.duration, rng)

    def _onset(
        self, style: str, sounds: list[Sound], length: float, rng: random.Random
    ) -> tuple[float, bool]:
        """Where a sound of `length` seconds starts, and whether it follows all the others."""
        if not sounds:
            return 0.0, True
        before = sounds[-1]
        room = before.offset - before.onset - 2 * _CLEAR_S
        if style == "together":
            return before.onset, False
        if style == "overlap" and room > 0 and length >= _CLEAR_S:
            return before.onset + _CLEAR_S + rng.random() * room, False
        return max(s.offset for s in sounds) + rng.uniform(*self.pause_s), True

    def _sound(self, label: str, rng: random.Random) -> tuple[AudioRef, float, float] | None:
        """A stretch of one of the label's recordings, its length (s) and its gain (dB)."""
        from lalm_bench.tasks.soundscape.activity import activity

        least, most = self.event_s
        for _ in range(_TRIES):
            path = str(rng.choice(self._files[label]))
            heard = activity(path)
            stretches = heard.stretches(least)
            if not stretches:
                continue
            first, end = rng.choice(stretches)
            longest = min(most, (end - first) * heard.frame_s)
            wanted = math.exp(rng.uniform(math.log(least), math.log(longest)))
            frames = max(round(wanted / heard.frame_s), 1)
            start = rng.randint(first, max(end - frames, first))
            first, end, top = heard.trimmed(start, start + frames)
            length = (end - first) * heard.frame_s
            if length < least:
                continue
            level = REFERENCE_DBFS + rng.uniform(*self.level_db)
            ref = AudioRef(path, round(first * heard.frame_s, 6), round(end * heard.frame_s, 6))
            return ref, length, round(level - top, 3)
        return None


def _moved(sounds: list[Sound], duration: float, rng: random.Random) -> list[Sound]:
    """The sounds as a whole at a random place of the scene; times to the millisecond."""
    spare = duration - max([s.offset for s in sounds], default=0.0)
    shift = rng.uniform(0.0, max(spare, 0.0))
    moved = []
    for sound in sounds:
        onset = math.floor((sound.onset + shift) * 1000) / 1000
        offset = round(onset + sound.offset - sound.onset, 3)
        part = Part(sound.part.recording, onset, sound.part.gain_db)
        moved.append(Sound(sound.label, onset, offset, part))
    return moved
