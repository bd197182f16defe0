"""A right or wrong answer spoken in the clip: a model may believe what it is told.

The published examples of the audio faithfulness study splice a short utterance into the clip at
one or two random places, as loud as the clip. Items that share a clip get their own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lalm_bench.errors import ConfigError, DataError
from lalm_bench.interventions.audio_edit import demand_number, demand_one_of, edit_clips
from lalm_bench.interventions.loudness import SILENT, power
from lalm_bench.randomness import derive
from lalm_bench.speech import Speech, Utterance, spoken
from lalm_bench.types import Choice, Context, Json, Request, Sample, Skip

MODES = ("splice", "concat", "overlay")
ANSWERS = ("right", "wrong")
# A usual level of recorded speech, for a clip that has no level to match.
NOMINAL_DBFS = -26.0


@dataclass(frozen=True)
class SpokenEdit:
    """Put an utterance into a clip, `repeats` times.

    Parameters
    ----------
    utterance : Utterance
    mode : str
        splice | concat | overlay.
    repeats : int
    gain_db : float
        RMS of the utterance over that of the whole clip.
    seed : int
        Draws the places.
    """

    utterance: Utterance
    mode: str
    repeats: int
    gain_db: float
    seed: int

    def content(self) -> Json:
        """What determines the edit; of the utterance what it sounds like, not where it lies."""
        return [self.utterance.content(), self.mode, self.repeats, self.gain_db, self.seed]

    def __call__(self, wave: np.ndarray, rate: int, rng: np.random.Generator) -> np.ndarray:
        """Copy of `wave`, shape (samples,), with the utterance in it; never clipped."""
        said = self._level(wave, rate)
        starts = self._starts(len(wave), len(said), rng)
        if self.mode == "overlay":
            mixed = np.zeros(max(len(wave), starts[-1] + len(said)), np.float32)
            mixed[: len(wave)] = wave
            for start in starts:
                mixed[start : start + len(said)] += said
            return mixed
        cuts = [start - i * len(said) for i, start in enumerate(starts)]
        parts = np.split(wave, cuts)
        between = [part for piece in parts[:-1] for part in (piece, said)]
        return np.concatenate([*between, parts[-1]])

    def facts(self, before: np.ndarray, after: np.ndarray, rate: int) -> dict[str, float]:
        """Where and how loud it is said.

        `spoken_at_<i>` is the first sample of each utterance in the edited clip, `spoken_samples`
        the length of one; `spoken_rms_db`, absent for a silent clip, is its RMS over the clip's.
        """
        said = self._level(before, rate)
        starts = self._starts(len(before), len(said), np.random.default_rng(self.seed))
        facts = {
            "spoken_s": self.repeats * len(said) / rate,
            "inserted_s": (len(after) - len(before)) / rate,
            "spoken_samples": float(len(said)),
            **{f"spoken_at_{i}": float(start) for i, start in enumerate(starts, 1)},
        }
        if (level := power(before)) > SILENT:
            facts["spoken_rms_db"] = 10 * math.log10(power(said) / level)
        return facts

    def _level(self, wave: np.ndarray, rate: int) -> np.ndarray:
        said = spoken(self.utterance, rate)
        level = power(wave)
        level_db = 10 * math.log10(level) if level > SILENT else NOMINAL_DBFS
        gain_db = level_db + self.gain_db - 10 * math.log10(power(said))
        return said * np.float32(10 ** (gain_db / 20))

    def _starts(self, clip: int, said: int, rng: np.random.Generator) -> list[int]:
        """First samples in the edited clip, ascending; utterances never overlap."""
        if self.mode == "concat":
            return [clip + i * said for i in range(self.repeats)]
        # Shares of the length, so that a place stays where it is at every sampling rate.
        shares = np.sort(rng.random(self.repeats))
        free = clip if self.mode == "splice" else max(clip - self.repeats * said, 0)
        return [int(share * (free + 1)) + i * said for i, share in enumerate(shares)]


@dataclass(frozen=True)
class AdversarialAudio:
    """Audio intervention `adversarial_audio`.

    Parameters
    ----------
    speech : Speech
        Who speaks.
    answer : str
        right | wrong: one of the other options, drawn for each item.
    mode : str
        splice: the clip is opened, and nothing of it is lost. concat: after the clip. overlay:
        mixed over it; a clip that is too short grows.
    repeats : int
        How often, each time at a place of its own.
    gain_db : float
        RMS of the utterance over that of the clip, dB.
    """

    speech: Speech
    answer: str = ANSWERS[1]
    mode: str = MODES[0]
    repeats: int = 1
    gain_db: float = 0.0
    name: str = "adversarial_audio"

    def __post_init__(self) -> None:
        demand_one_of("intervention.answer", self.answer, ANSWERS)
        demand_one_of("intervention.mode", self.mode, MODES)
        repeats = self.repeats
        if isinstance(repeats, bool) or not isinstance(repeats, int) or repeats < 1:
            raise ConfigError(f"intervention.repeats={repeats!r} must be a positive whole number")
        demand_number("intervention.gain_db", self.gain_db, -100, 100, "decibels")

    def inputs(self) -> list[Path]:
        """Files that determine what is said."""
        return self.speech.inputs()

    def apply(self, sample: Sample, request: Request, context: Context) -> Request | Skip:
        """Say the answer in every clip.

        Raises
        ------
        ConfigError
            No item of the run has options, or the synthesiser is not installed.
        DataError
            There is no recording of the answer; names the item.
        """
        if not sample.choices:
            if not any(other.choices for other in context.samples):
                raise ConfigError(
                    "intervention=adversarial_audio says one of an item's options, and this task's "
                    "items have none; choose a multiple-choice task"
                )
            return Skip("no options: nothing to say")
        if not request.clips():
            return Skip("no clip to speak into")
        choice = self._choice(sample, request, context.seed)
        if choice is None:
            return Skip("no wrong option to say")
        try:
            utterance = self.speech.say(choice)
        except DataError as error:
            raise DataError(f"item '{sample.id}': {error}") from error
        settings = (self.mode, self.repeats, float(self.gain_db))
        return edit_clips(
            sample, request, context, self.name, lambda seed: SpokenEdit(utterance, *settings, seed)
        )

    def _choice(self, sample: Sample, request: Request, seed: int) -> Choice | None:
        """The option to say, labelled as the request shows it."""
        right = next((c.text for c in sample.choices if c.label == sample.target), None)
        text = right
        if self.answer == "wrong":
            # From the item's own order: every order in which it is asked hears the same option.
            others = [c.text for c in sample.choices if c.text != right]
            if not others:
                return None
            text = others[derive(seed, sample.id, self.name, "option") % len(others)]
        shown = (*request.choices, *sample.choices)
        return next((c for c in shown if c.text == text), None)
