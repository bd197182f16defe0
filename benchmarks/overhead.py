"""What the orchestrator itself costs, without a language model: a JSON line a figure, a table.

    python benchmarks/overhead.py [--items 100000] [--only NAME ...]

Every figure is a whole process on this machine; `spin` is the time of a fixed pure-Python loop in
the same run, so that figures of different machines or days can be compared as ratios to it.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from figures import show, spin

ROOT = Path(__file__).resolve().parent.parent
FAMILIES = 7


def child(*words: str) -> tuple[float, float]:
    """Run `python *words`; return (wall seconds, peak resident MB)."""
    code = (
        "import resource,runpy,sys\n"
        "sys.argv=sys.argv[1:]\n"
        "try: runpy.run_module('lalm_bench',run_name='__main__',alter_sys=True)\n"
        "finally: print('PEAK',resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,file=sys.stderr)"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code, "lalm_bench", *words], env=env, capture_output=True, text=True
    )
    wall = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(done.stderr)
    peak = next(line for line in done.stderr.splitlines() if line.startswith("PEAK"))
    return wall, int(peak.split()[1]) / 1024


def synthetic(folder: str, items: int) -> list[str]:
    """Overrides of a run of about `items` items that renders no audio."""
    return [
        "model=random",
        f"task.scenes={max(1, items // FAMILIES)}",
        "tracking=none",
        f"paths.outputs={folder}",
    ]


def run_speed(items: int) -> list[dict]:
    """End to end: compose, generate, ask, store, score, write, draw."""
    with tempfile.TemporaryDirectory() as folder:
        base = [child(*synthetic(folder, n)) for n in (FAMILIES, items // 2, items)]
        again = child(*synthetic(folder, items))
    count = items // FAMILIES * FAMILIES
    growth = (base[2][1] - base[1][1]) * 1024 * 1024 / (items - items // 2)
    return [
        figure("items_per_s", count / base[2][0], "items/s", ">= 10000", wall_s=base[2][0]),
        figure("peak_memory", base[2][1], "MB", "< 500"),
        figure("growth", growth, "bytes/item", "< 2048", small_run_mb=base[0][1]),
        figure("recognised_finished", again[0], "s", "< 3"),
    ]


def help_speed() -> list[dict]:
    """Median wall time of looking without running."""
    figures = []
    for words in (["--help"], ["--cfg", "job"], ["--info"]):
        walls = [child(*words)[0] for _ in range(5)]
        name = "_".join(words).strip("-")
        figures.append(figure(name, statistics.median(walls), "s", "< 1"))
    return figures


def audio_speed(seconds: float = 600.0) -> list[dict]:
    """Decode + resample to 16 kHz + digest of 44.1 kHz stereo PCM, in CPU seconds of one core."""
    import numpy as np
    import soundfile

    sys.path.insert(0, str(ROOT))
    from lalm_bench import audio
    from lalm_bench.types import AudioRef, AudioSource

    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        clips = []
        for n in range(20):
            path = Path(folder, f"{n}.wav")
            wave = rng.normal(0, 0.1, (round(44100 * seconds / 20), 2))
            soundfile.write(path, wave, 44100, subtype="PCM_16")
            clips.append(AudioSource(AudioRef(str(path))))
        audio.render(clips[0], 16000)
        began = resource.getrusage(resource.RUSAGE_SELF)
        for clip in clips:
            audio.digest(clip, 16000)
            audio.render(clip, 16000)
        ended = resource.getrusage(resource.RUSAGE_SELF)
    cpu = ended.ru_utime + ended.ru_stime - began.ru_utime - began.ru_stime
    return [figure("audio_real_time_factor", seconds / cpu, "x real time per core", ">= 200")]


def figure(name: str, value: float, unit: str, bar: str, **more: float) -> dict:
    """One result, and whether it meets its bar."""
    sign, limit = bar.split()
    met = value >= float(limit) if sign == ">=" else value < float(limit)
    return {"figure": name, "value": round(value, 3), "unit": unit, "bar": bar, "met": met, **more}


def main() -> None:
    """Measure, print one JSON line a figure, then a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--only", nargs="*", choices=("run", "help", "audio"))
    chosen = parser.parse_args()
    parts = chosen.only or ["run", "help", "audio"]
    yardstick = spin()
    figures = []
    if "run" in parts:
        figures += run_speed(chosen.items)
    if "help" in parts:
        figures += help_speed()
    if "audio" in parts:
        figures += audio_speed()
    show(figures, yardstick, digits=3)


if __name__ == "__main__":
    main()
