"""Decoded clips: loaded once, bounded, shared by threads, and never written into."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import soundfile

from lalm_bench import audio
from lalm_bench.interventions.mask import MaskEdit
from lalm_bench.interventions.noise import NoiseEdit
from lalm_bench.run import run
from lalm_bench.types import AudioRef, AudioSource
from lalm_bench.wave_cache import WaveCache, memory_share
from tests.interventions.clips import composed


def wave(samples=1000):
    return np.ones(samples, np.float32)


@pytest.fixture
def decoded(monkeypatch):
    """Paths in the order in which they are decoded, starting with nothing held."""
    paths = []
    decode = audio.decode
    monkeypatch.setattr(audio, "decode", lambda ref: paths.append(ref.path) or decode(ref))
    audio.waves.clear()
    return paths


def test_what_is_held_is_not_loaded_again_and_cannot_be_written_into():
    cache = WaveCache(1 << 20)
    first = cache.get("a", wave)
    assert cache.get("a", lambda: pytest.fail("loaded twice")) is first
    assert (cache.hits, cache.misses) == (1, 1)
    with pytest.raises(ValueError, match="read-only"):
        first[0] = 2


def test_memory_is_bounded_and_what_is_held_stays():
    cache = WaveCache(3 * wave().nbytes)
    for _ in range(3):
        for key in range(5):
            cache.get(key, wave)
    assert sum(w.nbytes for w in cache._held.values()) == 3 * wave().nbytes
    assert cache.misses == 5 + 2 + 2


def test_what_is_of_no_use_any_more_gives_way():
    cache = WaveCache(3 * wave().nbytes)
    for key in range(3):
        cache.get(("old", key), wave)
    for _ in range(20):
        for key in range(3):
            cache.get(("new", key), wave)
    cache.misses = 0
    for key in range(3):
        cache.get(("new", key), wave)
    assert cache.misses == 0


def test_without_memory_nothing_is_held():
    cache = WaveCache(0)
    for _ in range(3):
        cache.get("a", wave)
    assert (cache.hits, cache.misses) == (0, 3)


def test_threads_load_a_clip_once():
    cache, loads = WaveCache(1 << 20), []

    def load():
        loads.append(threading.get_ident())
        time.sleep(0.05)
        return wave()

    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda _: cache.get("a", load), range(32)))
    assert len(loads) == 1
    assert all(g is got[0] for g in got)


def test_a_failure_reaches_all_who_wait_and_is_not_kept():
    cache = WaveCache(1 << 20)

    def fail():
        time.sleep(0.05)
        raise OSError("no such clip")

    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(cache.get, "a", fail) for _ in range(4)]
    assert all(isinstance(c.exception(), OSError) for c in calls)
    assert cache.get("a", wave)[0] == 1


def test_a_sweep_may_hold_more_than_a_run_and_never_all_memory(monkeypatch):
    monkeypatch.setattr(audio, "waves", WaveCache(1 << 20))
    audio.keep_clips()
    assert audio.waves.limit == max(1 << 20, memory_share())
    assert memory_share() <= 1 << 29


def test_a_clip_is_decoded_once_for_all_its_edits_and_callers_own_what_they_get(wav, decoded):
    path = str(wav(rate=44_100, channels=2))
    plain = AudioSource(AudioRef(path))
    first = audio.render(plain, 16_000)
    expected = first.copy()
    first[:] = 9  # as a feature extractor might
    for ratio in (0.2, 0.4, 0.6, 0.8, 0.9):
        for snr_db in (20, 10, 0, -10, -20):
            edits = (MaskEdit(ratio, 0.25, 1), NoiseEdit(snr_db, 1))
            audio.render(AudioSource(AudioRef(path), edits), 16_000)
    assert np.array_equal(audio.render(plain, 16_000), expected)
    assert decoded == [path]


def test_rates_parts_and_changed_files_are_told_apart(wav, decoded):
    path = str(wav(seconds=2.0))
    waves = [
        audio.render(AudioSource(AudioRef(path, *part)), rate)
        for part in ((), (0.5, 1.0))
        for rate in (16_000, 8_000)
    ]
    assert [len(w) for w in waves] == [32_000, 16_000, 8_000, 4_000]
    wav(seconds=1.0, pitch=300.0)
    assert len(audio.render(AudioSource(AudioRef(path)), 16_000)) == 16_000
    assert len(decoded) == 5


def test_a_sweep_in_one_process_decodes_each_clip_once(tmp_path, decoded):
    """Five ratios by five SNRs, as the basic launcher runs them."""
    items = tmp_path / "items.jsonl"
    with open(items, "w") as file:
        for number in range(4):
            tone = 0.3 * np.sin(2 * np.pi * (300 + 100 * number) * np.arange(8000) / 16_000)
            soundfile.write(tmp_path / f"{number}.wav", tone, 16_000)
            row = {
                "id": f"i{number}",
                "audio_filename": f"{number}.wav",
                "question": "How many beeps did you hear?",
                "options": [{"label": x, "text": t, "type": "n"} for x, t in ("A1", "B2")],
                "answer_label": "A",
                "answer_text": "1",
            }
            file.write(f"{json.dumps(row)}\n")
    for ratio in (0.2, 0.4, 0.6, 0.8, 0.9):
        for snr_db in (20, 10, 0, -10, -20):
            run(
                composed(
                    *("task=mcq", f"task.dataset={items}", f"task.audio_root={tmp_path}"),
                    *(f"paths.outputs={tmp_path / 'outputs'}", "intervention=chain"),
                    "+intervention@intervention.steps.1=mask",
                    "+intervention@intervention.steps.2=noise",
                    f"intervention.steps.1.ratio={ratio}",
                    f"intervention.steps.2.snr_db={snr_db}",
                )
            )
    assert sorted(decoded) == sorted(str(tmp_path / f"{n}.wav") for n in range(4))
    assert len([*(tmp_path / "outputs").rglob("run.json")]) == 25
