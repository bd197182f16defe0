"""What a user meets at the command line: help, mistakes, exit codes."""

import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from tests.conftest import ROOT, environment
from tests.test_run import record

HEAVY = ("numpy", "pandas", "torch", "transformers", "mlflow", "scipy", "soundfile", "submitit")


def imported(bench, *words):
    done = bench(*words, python=("-X", "importtime"), check=0)
    return {line.split("|")[-1].strip() for line in done.stderr.splitlines() if "|" in line}


@pytest.mark.parametrize("words", [("--help",), ("--cfg=job",), ("--info=all",)])
def test_looking_imports_nothing_heavy(bench, words):
    modules = imported(bench, *words)
    assert "hydra.main" in modules
    found = {name for name in modules if name.split(".")[0] in HEAVY}
    assert not found


def test_help_names_groups_and_settings(bench):
    text = bench("--help", check=0).stdout
    for word in (
        "task:",
        "sakura",
        "intervention:",
        "runtime:",
        "batch_size",
        "python -m lalm_bench",
    ):
        assert word in text


def bad(bench, *overrides):
    """The one line of an error; asserts exit code 2 and that nothing was written."""
    done = bench(*overrides, check=2)
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert done.stdout == ""
    assert not bench.outputs.exists()
    return lines[0]


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (("task.scnes=3",), ("task.scnes", "did you mean 'scenes'")),
        (("tsk=mcq",), ("'tsk'", "did you mean 'task'")),
        (("task=mcq_ordr",), ("mcq_ordr", "did you mean 'mcq_order'", "sakura")),
        (("model=voxtrl",), ("voxtrl", "did you mean 'voxtral'")),
        (("nosuchgroup=x",), ("nosuchgroup",)),
        (("intervention=mask", "intervention.ratio=1.2"), ("intervention.ratio=1.2", "0 to 1")),
        (("intervention=mask", "intervention.ratio=-0.1"), ("intervention.ratio=-0.1",)),
        (("intervention=mask", "intervention.ratio=high"), ("intervention.ratio='high'",)),
        (("intervention=noise", "intervention.snr_db=.inf"), ("intervention.snr_db",)),
        (("limit=0",), ("limit=0",)),
        (("runtime.batch_size=0",), ("runtime.batch_size=0",)),
        (("generation.mode=guess",), ("generation.mode='guess'", "option_pmi")),
        (("task=mcq",), ("task.dataset must be set",)),
        (("task=sakura", "task.root=nowhere"), ("nowhere", "clone the SAKURA")),
        (("task=sakura", "task.track=cat"), ("task.track=cat", "animal")),
        (("task=mcq_order",), ("lalm_bench.tasks.tacos",)),
        (("task.prompt=hello",), ("task.prompt", "{question}")),
        (("+x",), ("+x",)),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_a_mistake_gets_one_line_that_helps(bench, overrides, words):
    line = bad(bench, *overrides)
    assert line.startswith("error: ")
    for word in words:
        assert word in line


@pytest.fixture
def records(tmp_path, wav):
    """Write a record file and its clips; returns the overrides that select it."""

    def write(*lines):
        wav("audio/0.wav")
        (tmp_path / "d.jsonl").write_text("\n".join(lines) + "\n")
        return (
            *("task=mcq", f"task.dataset={tmp_path / 'd.jsonl'}"),
            f"task.audio_root={tmp_path / 'audio'}",
        )

    return write


def test_two_items_with_one_id(bench, records):
    line = bad(bench, *records(record("twin", "0.wav"), record("twin", "0.wav")))
    assert "twin" in line


def test_a_line_that_is_not_json(bench, records):
    overrides = records(record("a", "0.wav"), "{broken")
    line = bad(bench, *overrides, "on_error=stop")
    assert "d.jsonl" in line
    assert re.search(r"\b2\b", line)


def test_a_missing_recording(bench, records):
    line = bad(bench, *records(record("lost", "gone.wav")))
    assert "lost" in line
    assert "gone.wav" in line


def test_an_unreadable_wav(bench, records, tmp_path):
    overrides = records(record("item7", "noise.wav"))
    (tmp_path / "audio" / "noise.wav").write_bytes(b"RIFFxxxxWAVEjunk")
    line = bad(bench, *overrides)
    assert "item7" in line
    assert "noise.wav" in line


def test_an_empty_wav(bench, records, tmp_path):
    overrides = records(record("item8", "empty.wav"))
    soundfile.write(tmp_path / "audio" / "empty.wav", [], 16000)
    assert "item8" in bad(bench, *overrides)


@pytest.mark.parametrize("content", [b"\x89PNG", "nan", None])
def test_one_bad_clip_is_an_error_of_its_item_alone(bench, records, tmp_path, content):
    overrides = [*records(record("good", "0.wav"), record("bad", "bad.wav")), "tracking=none"]
    bad_clip = tmp_path / "audio" / "bad.wav"
    if content == "nan":
        soundfile.write(bad_clip, np.array([0.0, np.nan] * 800), 16000, subtype="FLOAT")
    elif content is not None:
        bad_clip.write_bytes(content)
    if content != "nan":  # whose header is sound: only reading it all tells
        assert "bad.wav" in bad(bench, *overrides, "on_error=stop")
    done = bench(*overrides, check=1)
    assert "bad" in done.stderr
    folder = next(bench.outputs.rglob("metrics.json")).parent
    metrics = json.loads((folder / "metrics.json").read_text())["metrics"]
    assert (metrics["n"], metrics["n_errors"]) == (1, 1)
    assert json.loads((folder / "analysis.json").read_text())["unanswered"] == ["bad"]
    assert json.loads((folder / "run.json").read_text())["status"] == "incomplete"
    shutil.copy(tmp_path / "audio" / "0.wav", bad_clip)
    bench(*overrides, check=0)


def test_a_deaf_model_needs_no_recordings(bench, records):
    bench(*records(record("lost", "gone.wav")), "model=random", "tracking=none", check=0)


def test_a_sweep_makes_one_run_a_cell(bench, run_folders):
    words = ("-m", "model=random", "task.scenes=2", "seed=1,2", "tracking=none", "figures=false")
    bench(*words, check=0)
    assert len(run_folders()) == 2


def test_the_wheel_works_outside_the_checkout(tmp_path):
    """Configuration and launchers travel inside the package."""
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    wheel = [*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(tmp_path), str(ROOT)]
    subprocess.run(wheel, check=True, timeout=300)
    (built,) = tmp_path.glob("*.whl")
    site = tmp_path / "site"
    subprocess.run([*pip, "install", "--no-deps", "--target", str(site), str(built)], check=True)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "lalm_bench", "task.scenes=1", "tracking=none"),
            *("figures=false", "hydra/launcher=slurm"),
        ],
        cwd=tmp_path,
        env=environment(site),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    where = [sys.executable, "-c", "import lalm_bench; print(lalm_bench.__file__)"]
    used = subprocess.run(
        where, cwd=tmp_path, env=environment(site), capture_output=True, text=True
    )
    assert used.stdout.startswith(str(site))
