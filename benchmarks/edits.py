"""What changing a clip costs: times real time on one core, a JSON line a figure, then a table.

    python benchmarks/edits.py [--seconds 10] [--rate 16000]

Each figure is the CPU time of `audio.render` on a clip of real length that is already decoded: the
edit, its facts and the copy that the model gets; the best of five rounds over a second of work.
`sweep` is a grid of 5 mask ratios x 5 SNRs over recordings on disk, with and without the decoded
clips kept, in clips decoded and seconds.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from lalm_bench import audio  # noqa: E402
from lalm_bench.interventions.babble import recordings  # noqa: E402
from lalm_bench.interventions.bandwidth import BandwidthEdit  # noqa: E402
from lalm_bench.interventions.gain import GainEdit  # noqa: E402
from lalm_bench.interventions.mask import MaskEdit  # noqa: E402
from lalm_bench.interventions.noise import NoiseEdit  # noqa: E402
from lalm_bench.interventions.reverse import ReverseEdit  # noqa: E402
from lalm_bench.interventions.shuffle_segments import ShuffleEdit  # noqa: E402
from lalm_bench.interventions.speed import SpeedEdit  # noqa: E402
from lalm_bench.types import AudioRef, AudioSource  # noqa: E402

# What the project holds itself to, times real time per core; None: no bar.
BAR = 1000.0
RATIOS, SNRS = (0.2, 0.4, 0.6, 0.8, 0.9), (-20.0, -10.0, 0.0, 10.0, 20.0)


def edits(folder: str) -> dict[str, tuple[object, float | None]]:
    """The edits that are measured, and the bar of each."""
    voices = recordings(folder)
    return {
        "mask": (MaskEdit(0.5, 0.25, 1), BAR),
        "mask[single]": (MaskEdit(0.5, 0.25, 1, "single"), BAR),
        "mask[even]": (MaskEdit(0.5, 0.25, 1, "even"), BAR),
        "mask[noise]": (MaskEdit(0.5, 0.25, 1, "scattered", "noise"), BAR),
        "noise[rescale]": (NoiseEdit(0.0, 1), BAR),
        "noise[clip]": (NoiseEdit(0.0, 1, "white", "clip"), BAR),
        "noise[float]": (NoiseEdit(0.0, 1, "white", "float"), BAR),
        "noise[pink]": (NoiseEdit(0.0, 1, "pink"), BAR),
        "noise[babble of 6]": (NoiseEdit(0.0, 1, "babble", "rescale", voices), None),
        "gain": (GainEdit(6.0, "clip"), None),
        "reverse": (ReverseEdit(), None),
        "shuffle_segments": (ShuffleEdit(0.5, 1), None),
        "speed": (SpeedEdit(1.25), None),
        "resample": (BandwidthEdit(8000), None),
    }


def real_time(source: AudioSource, seconds: float, rate: int) -> float:
    """Seconds of audio rendered in a second of CPU time."""
    audio.render(source, rate, {})
    rounds, best = 1, 0.0
    while True:
        began = time.process_time()
        for _ in range(rounds):
            audio.render(source, rate, {})
        spent = time.process_time() - began
        if spent >= 0.2:
            break
        rounds *= 4
    for _ in range(5):
        began = time.process_time()
        for _ in range(rounds):
            audio.render(source, rate, {})
        best = max(best, rounds * seconds / (time.process_time() - began))
    return best


def sweep(clips: list[str], rate: int, limit: int) -> dict[str, float]:
    """A grid of masks and noises in one process: clips decoded, wall seconds."""
    before, audio.waves.limit = audio.waves.limit, limit
    audio.waves.clear()
    began = time.perf_counter()
    for ratio in RATIOS:
        for snr_db in SNRS:
            for clip in clips:
                chain = (MaskEdit(ratio, 0.25, 1), NoiseEdit(snr_db, 1))
                audio.render(AudioSource(AudioRef(clip), chain), rate, {})
    found = {"decoded": audio.waves.misses, "s": round(time.perf_counter() - began, 3)}
    audio.waves.limit = before
    return found


def record(folder: str, count: int, seconds: float, rate: int) -> list[str]:
    """Stereo recordings of noise bursts, 16 bit."""
    rng, files = np.random.default_rng(0), []
    for number in range(count):
        wave = 0.1 * rng.standard_normal((round(seconds * rate), 2))
        files.append(f"{folder}/{number}.flac")
        soundfile.write(files[-1], wave, rate)
    return files


def main() -> None:
    """Measure, print one JSON line a figure, then a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rate", type=int, default=16_000)
    chosen = parser.parse_args()
    rate, seconds, figures = chosen.rate, chosen.seconds, []
    audio.keep_clips()
    with tempfile.TemporaryDirectory() as folder:
        (clip, *others) = record(folder, 20, seconds, 44_100)
        voices = Path(folder, "voices")
        voices.mkdir()
        record(str(voices), 6, seconds, rate)
        for name, (edit, bar) in edits(str(voices)).items():
            value = real_time(AudioSource(AudioRef(clip), (edit,)), seconds, rate)
            met = None if bar is None else value >= bar
            figures.append(
                {"figure": name, "value": round(value), "unit": "x real time", "met": met}
            )
        kept = sweep([clip, *others], rate, audio.waves.limit)
        anew = sweep([clip, *others], rate, 0)
        figures.append(
            {
                "figure": "sweep of 25 cells x 20 clips",
                "value": kept["decoded"],
                "unit": "clips decoded",
                "met": kept["decoded"] == 20,
                "s": kept["s"],
                "without_cache": anew,
            }
        )
    for figure in figures:
        print(json.dumps(figure))
    print()
    for figure in figures:
        met = {True: "met", False: "MISSED", None: ""}[figure["met"]]
        print(f"{figure['figure']:32} {figure['value']:>10} {figure['unit']:16} {met}")


if __name__ == "__main__":
    main()
