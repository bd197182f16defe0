import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from lalm_bench.data import half_truth, scenes_and_genres
from lalm_bench.data.assembly import Piece, pack
from lalm_bench.data.compose import compose_task
from lalm_bench.data.scenes_and_genres import COLLECTIONS, label_of
from lalm_bench.errors import DataError
from lalm_bench.types import AudioRef
from tests.tasks.audiomarathon_layouts import clip

RATE = 1000


def tones(path, pitch, seconds=10.0):
    path.parent.mkdir(parents=True, exist_ok=True)
    t = np.arange(round(seconds * RATE)) / RATE
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * pitch * t), RATE, subtype="PCM_16")


def tau(root):
    """Two places of each of three scenes, 26 clips of 10 s, one folder for both metros."""
    for scene, folder in (("metro", "metro"), ("metro_station", "metro"), ("tram", "tram")):
        for place in ("paris-1", "lyon-22"):
            for n in range(26):
                clip(root / folder / f"{scene}-{place}-{n}-a.wav", 10, seed=n)
    return root


lengths = st.lists(st.floats(0.5, 400), max_size=40)


@given(lengths, st.floats(50, 100), st.floats(101, 300))
def test_packing_loses_nothing_and_keeps_order_and_bounds(seconds, low, high):
    pieces = [Piece(AudioRef(str(n)), s) for n, s in enumerate(seconds)]
    groups, rest = pack(pieces, low, high)
    assert all(low <= sum(p.seconds for p in g) <= high + 1e-6 for g in groups)
    assert sorted([*rest, *[p for g in groups for p in g]], key=lambda p: int(p.ref.path)) == pieces
    for group in groups:
        names = [int(p.ref.path) for p in group]
        assert names == sorted(names)


def test_scenes_keep_their_own_name(tmp_path):
    assemblies, facts = scenes_and_genres.plan(COLLECTIONS["tau"], tau(tmp_path), 90, 210, seed=42)
    # 26 clips of a place: 210 s, and 50 s are left over.
    assert facts["by_label"] == {"metro": 2, "metro_station": 2, "tram": 2}
    assert facts["clips_left_over"] == 6 * 5
    assert facts["labels_where_folder_and_name_differ"] == 52
    for a in assemblies:
        places = {"-".join(Path(p.ref.path).stem.split("-")[:3]) for p in a.pieces}
        assert len(places) == 1
        assert a.row["scene_label"] == places.pop().split("-")[0]
        assert a.row["path"].split("/")[0] == a.row["scene_label"]
        numbers = [int(Path(p.ref.path).stem.split("-")[3]) for p in a.pieces]
        assert numbers == list(range(21)), "in the order of their numbers, not as text"


def test_questions_are_right_and_places_balanced(tmp_path):
    for genre in COLLECTIONS["gtzan"].labels[:8]:
        for n in range(4):
            clip(tmp_path / genre / f"{genre}.{n:05d}.wav", 30, seed=n)
    assemblies, _ = scenes_and_genres.plan(COLLECTIONS["gtzan"], tmp_path, 90, 300, seed=1)
    rows = [a.row for a in assemblies]
    assert len(rows) == 8
    assert Counter(r["answer_gt"] for r in rows) == dict.fromkeys("ABCD", 2)
    for row in rows:
        texts = [row[f"choice_{x}"] for x in "abcd"]
        assert len(set(texts)) == 4
        right = texts["ABCD".index(row["answer_gt"])]
        assert right == f"{row['genre_label'].capitalize()} - {row['genre_label']}"
    again, _ = scenes_and_genres.plan(COLLECTIONS["gtzan"], tmp_path, 90, 300, seed=1)
    assert [a.row for a in again] == rows
    other, _ = scenes_and_genres.plan(COLLECTIONS["gtzan"], tmp_path, 90, 300, seed=2)
    assert [a.row for a in other] != rows


@pytest.mark.parametrize(
    ("path", "label"),
    [
        ("metro/metro_station-paris-1-2-a.wav", "metro_station"),
        ("metro-paris-1-2-a.wav", "metro"),
        ("metro_station/0001.wav", "metro_station"),
        ("street/street_traffic-paris-1-2-a.wav", "street_traffic"),
    ],
)
def test_labels(path, label):
    assert label_of(Path(path), COLLECTIONS["tau"].labels)[0] == label


def test_clips_without_a_label_or_place_are_refused(tmp_path):
    clip(tmp_path / "zoo" / "lion.wav", 10)
    with pytest.raises(DataError, match="neither its name nor its folder"):
        scenes_and_genres.plan(COLLECTIONS["tau"], tmp_path, 90, 210, 1)
    (tmp_path / "zoo").rename(tmp_path / "tram")
    with pytest.raises(DataError, match=r"lion\.wav: not named like"):
        scenes_and_genres.plan(COLLECTIONS["tau"], tmp_path, 90, 210, 1)
    with pytest.raises(DataError, match="no recordings"):
        scenes_and_genres.plan(COLLECTIONS["tau"], tmp_path / "none", 90, 210, 1)
    with pytest.raises(DataError, match="minimum < maximum"):
        scenes_and_genres.plan(COLLECTIONS["tau"], tmp_path, 210, 90, 1)


def test_the_command_makes_what_the_task_reads(tool, tmp_path):
    words = ("segment", "tau", tau(tmp_path / "clips"), tmp_path / "long", "--rate", RATE)
    done = tool(*words, check=0)
    assert "6 items" in done.stdout
    task, _ = compose_task("tau", [f"task.root={tmp_path / 'long'}"])
    samples = task.samples()
    assert Counter(s.meta["scene_label"] for s in samples) == {
        "metro": 2,
        "metro_station": 2,
        "tram": 2,
    }
    assert all(s.meta["seconds"] == pytest.approx(210) for s in samples)
    first = tmp_path / "long" / "tram" / "tram-paris-1_000.wav"
    joined, _ = soundfile.read(first)
    part, _ = soundfile.read(tmp_path / "clips" / "tram" / "tram-paris-1-2-a.wav")
    assert np.abs(joined[20 * RATE : 30 * RATE] - part).max() < 1e-4
    # Started again after a kill: what is whole stays, what is lost comes back.
    before = first.stat().st_mtime_ns
    (tmp_path / "long" / "metro" / "metro-paris-1_000.wav").unlink()
    (tmp_path / "long" / "acoustic_scene_task_meta.json").unlink()
    tool(*words, check=0)
    assert first.stat().st_mtime_ns == before
    assert len(task.samples()) == 6
    done = tool(*words, "--max-s", 150, check=2)
    assert "other clips or settings" in done.stderr
    assert "lies among the clips" in tool(*words[:3], tmp_path / "clips" / "x", check=2).stderr
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("")
    assert "not empty" in tool(*words[:3], tmp_path / "other", check=2).stderr


@pytest.mark.parametrize(
    ("option", "value"),
    [("--rate", "0"), ("--rate", "-5"), ("--min-s", "0"), ("--min-s", "nan"), ("--max-s", "inf")],
)
def test_numbers_that_cannot_be_are_refused_before_anything_is_written(
    tool, tmp_path, option, value
):
    clip(tmp_path / "clips" / "metro" / "metro-paris-1-0-a.wav", 100)
    words = ("segment", "tau", tmp_path / "clips", tmp_path / "long")
    done = tool(*words, option, value, check=2)
    assert done.stderr.count("\n") == 1
    assert f"{option} {value}: give a number above 0" in done.stderr
    assert not (tmp_path / "long").exists()


def test_a_full_disk_is_one_line_and_the_same_command_continues(tool, tmp_path):
    words = ("segment", "tau", tau(tmp_path / "clips"), tmp_path / "long", "--rate", RATE)
    done = tool(*words, check=2, max_file_kb=300)
    assert "make room" in done.stderr
    assert done.stderr.count("\n") == 1
    assert [p.name for p in (tmp_path / "long").rglob("*") if p.is_file()] == ["segment.json"]
    tool(*words, check=0)


def test_what_a_mac_leaves_beside_recordings_is_none(tmp_path):
    root = tau(tmp_path)
    (root / "tram" / "._tram-paris-1-0-a.wav").write_bytes(b"Mac OS X")
    _, facts = scenes_and_genres.plan(COLLECTIONS["tau"], root, 90, 210, seed=42)
    assert facts["clips"] == 6 * 26


def had(root, fakes=60, reals=60):
    lines = []
    for n in range(fakes):
        tones(root / "wav" / f"fake{n}.wav", 100, 12)
        lines.append(f"fake{n} 0.00-5.00-T/5.00-7.50-F/7.50-12.00-T 0")
    for n in range(reals):
        tones(root / "wav" / f"real{n}.wav", 200, 12)
        lines.append(f"real{n} 0-12-T 1")
    (root / "labels.txt").write_text("\n".join(lines))
    return root


def test_half_truth_recordings_hold_what_they_are_called(tmp_path):
    had(tmp_path)
    plan = half_truth.plan(tmp_path / "wav", tmp_path / "labels.txt", 180, 300, 42, 1.0)
    assemblies, facts = plan
    assert facts["fake"]["recordings"] >= 2
    assert facts["real"]["recordings"] >= 2
    used = [p.ref for a in assemblies for p in a.pieces]
    assert len(used) == len(set(used)), "nothing repeats"
    for a in assemblies:
        assert 180 <= a.seconds <= 300
        fake = sum(end - start for start, end in a.row["fake_spans"])
        assert (fake >= 1.0) == (a.row["answer_gt"] == "Fake")
        assert fake == pytest.approx(sum(p.seconds for p in a.pieces if p.fake), abs=0.01)
    again = half_truth.plan(tmp_path / "wav", tmp_path / "labels.txt", 180, 300, 42, 1.0)
    assert again == plan
    _, facts = half_truth.plan(tmp_path / "wav", tmp_path / "labels.txt", 180, 300, 42, 1000.0)
    assert facts["fake"]["recordings"] == 0
    assert facts["fake"]["without enough fake"] >= 2


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("fake0 0-1-T", "not of the form"),
        ("fake0 0-1-X 1", "not of the form"),
        ("fake0 1-1-T 1", "a part is empty"),
        ("fake0 0-1-T 0", "contradicts"),
        ("absent 0-1-T 1", "no clip absent.wav"),
        ("fake0 90-95-T 1", "outside"),
    ],
)
def test_bad_label_lines_are_named(tmp_path, line, said):
    had(tmp_path, 1, 1)
    (tmp_path / "labels.txt").write_text("real0 0-12-T 1\r\n" + line + "\r\n")
    with pytest.raises(DataError, match=said) as error:
        half_truth.plan(tmp_path / "wav", tmp_path / "labels.txt", 180, 300, 42, 1.0)
    assert "line 2" in str(error.value)


def test_nothing_is_taken_twice(tmp_path):
    had(tmp_path, 1, 1)
    labels = tmp_path / "labels.txt"
    labels.write_text("real0 0-12-T 1\nreal0.wav 0-12-T 1\n")
    with pytest.raises(DataError, match="line 2: real0 stands in an earlier line"):
        half_truth.plan(tmp_path / "wav", labels, 180, 300, 42, 1.0)
    tones(tmp_path / "wav" / "dev" / "real0.wav", 100, 12)
    with pytest.raises(DataError, match="has its name"):
        half_truth.plan(tmp_path / "wav", labels, 180, 300, 42, 1.0)


def test_the_half_truth_command(tool, tmp_path):
    had(tmp_path)
    words = ("segment", "had", tmp_path / "wav", tmp_path / "long", "--rate", RATE)
    assert "--labels" in tool(*words, check=2).stderr
    assert not (tmp_path / "long").exists()
    tool(*words, "--labels", tmp_path / "labels.txt", check=0)
    task, _ = compose_task("had", [f"task.root={tmp_path / 'long'}"])
    samples = task.samples()
    assert {s.target for s in samples} == {"A", "B"}
    rows = json.loads((tmp_path / "long" / half_truth.TABLE).read_text())
    row = next(r for r in rows if r["answer_gt"] == "Fake")
    wave, _ = soundfile.read(tmp_path / "long" / row["path"])
    assert len(wave) / RATE == pytest.approx(row["duration_seconds"], abs=0.01)
