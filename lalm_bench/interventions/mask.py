"""Take away a share of the clip; stronger levels contain weaker ones.

The placement `published` rebuilds the even blocks of 1.0 s that were measured on the example audio
of the audio faithfulness study: deterministic, and not nested. The regions are those of its guided
masking on JASCO: the share is one of the region, and the rest of the clip stays as it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lalm_bench.errors import ConfigError
from lalm_bench.interventions.audio_edit import (
    demand_number,
    demand_one_of,
    demand_share,
    edit_clips,
)
from lalm_bench.interventions.loudness import power
from lalm_bench.interventions.placement import Spans, around, even, published, scattered
from lalm_bench.interventions.regions import REGIONS, inside, known_speech
from lalm_bench.types import Context, Request, Sample, Skip

PLACEMENTS = ("scattered", "single", "even", "published")


@dataclass(frozen=True)
class MaskEdit:
    """Fill exactly round(ratio * samples of the region) samples with zeros or noise.

    Parameters
    ----------
    ratio : float
    segment_s : float
        Length of a scattered segment or of an even slot, seconds.
    seed : int
    placement, fill, region : str
        See `Mask`.
    speech : tuple of (float, float)
        Start and end of what the regions tell apart, seconds; cut at the end of the clip.
    """

    ratio: float
    segment_s: float
    seed: int
    placement: str = PLACEMENTS[0]
    fill: str = "zeros"
    region: str = REGIONS[0]
    speech: tuple[tuple[float, float], ...] = ()

    def __call__(self, wave: np.ndarray, rate: int, rng: np.random.Generator) -> np.ndarray:
        """Masked copy of `wave`, shape (samples,)."""
        chosen = self.chosen(len(wave), rate, rng)
        masked = wave.copy()
        if self.fill == "zeros":
            masked[chosen] = 0.0
        else:
            # Drawn for the whole clip: a sample that is masked at two levels gets one value.
            noise = rng.standard_normal(len(wave), dtype=np.float32)
            noise *= np.float32(power(wave) ** 0.5)
            np.copyto(masked, noise, where=chosen)
        return masked

    def chosen(self, samples: int, rate: int, rng: np.random.Generator) -> np.ndarray:
        """Which samples are masked: bool, shape (samples,)."""
        region = inside(self.region, self.speech, samples, rate)
        length = samples if region is None else int(region.sum())
        within = np.zeros(length, bool)
        for start, end in self._spans(length, rate, rng):
            within[start:end] = True
        if region is None:
            return within
        chosen = np.zeros(samples, bool)
        chosen[region] = within
        return chosen

    def facts(self, before: np.ndarray, after: np.ndarray, rate: int) -> dict[str, float]:
        """`masked_share`: masked samples over all samples of the clip."""
        region = inside(self.region, self.speech, len(before), rate)
        length = len(before) if region is None else int(region.sum())
        return {"masked_share": round(self.ratio * length) / max(len(before), 1)}

    def _spans(self, length: int, rate: int, rng: np.random.Generator) -> Spans:
        count = round(self.ratio * length)
        segment = max(1, round(self.segment_s * rate))
        if not count:
            return iter(())
        if self.placement == "scattered":
            return scattered(length, count, segment, rng)
        if self.placement == "single":
            return iter((around(length, count, int(rng.integers(length))),))
        if self.placement == "even":
            return even(length, count, round(length / segment))
        return published(length, count, rate)


@dataclass(frozen=True)
class Mask:
    """Audio intervention `mask`.

    Parameters
    ----------
    ratio : float
        Share of the region that is masked, 0 to 1.
    placement : str
        scattered (segments in random order), single (one block around a random place), even (the
        middle of each slot) or published.
    segment_s : float
        Length of a scattered segment or of an even slot, seconds.
    fill : str
        zeros, or noise: white, at the clip's RMS.
    region : str
        all, speech or background: `speech` of the item's meta, as [start, end] in seconds.
    """

    ratio: float
    placement: str = PLACEMENTS[0]
    segment_s: float = 0.25
    fill: str = "zeros"
    region: str = REGIONS[0]
    name: str = "mask"

    def __post_init__(self) -> None:
        demand_share("intervention.ratio", self.ratio)
        demand_number("intervention.segment_s", self.segment_s, 0.001, unit="seconds")
        demand_one_of("intervention.placement", self.placement, PLACEMENTS)
        demand_one_of("intervention.fill", self.fill, ("zeros", "noise"))
        demand_one_of("intervention.region", self.region, REGIONS)
        if self.placement == "published" and self.region != "all":
            raise ConfigError("intervention.placement=published is for intervention.region=all")

    def apply(self, sample: Sample, request: Request, context: Context) -> Request | Skip:
        """Mask every clip; ratio 0 leaves the request, and so its key, as it is.

        Raises
        ------
        ConfigError
            A region is asked for that no item of the run states, or after other edits.
        """
        speech: tuple[tuple[float, float], ...] = ()
        if self.region != "all":
            found = known_speech(sample, request, context, self.region)
            if isinstance(found, Skip):
                return found
            speech = found
        if self.ratio == 0:
            return request
        # Where nothing is drawn, all questions on a clip hear the same one.
        drawn = self.fill == "noise" or self.placement in ("scattered", "single")

        def edit(seed: int) -> MaskEdit:
            return MaskEdit(
                float(self.ratio),
                float(self.segment_s),
                seed if drawn else 0,
                self.placement,
                self.fill,
                self.region,
                speech,
            )

        return edit_clips(sample, request, context, "mask", edit)
