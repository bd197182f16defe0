"""A sweep on the devices of one machine; no device is here, so the processor stands in for them."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from lalm_bench import fanout
from lalm_bench.errors import ConfigError
from tests.conftest import ROOT, environment
from tests.test_run import rows

LAUNCHER = ("-m", "hydra/launcher=local_gpus")
CPU = (*LAUNCHER, "hydra.launcher.devices=cpu", "hydra.launcher.per_device=2")
SWEEP = ("task=mcq_synthetic", "task.scenes=2", "model=random", "tracking=none", "figures=false")

# Runs before anything else in every Python process and notes its life and its devices.
WITNESS = """
import atexit, json, os, sys, time
life = {"pid": os.getpid(), "argv": sys.orig_argv, "began": time.monotonic(),
        "devices": os.environ.get("CUDA_VISIBLE_DEVICES"), "torch": "torch" in sys.modules}
def note():
    life["ended"] = time.monotonic()
    with open(os.path.join(os.environ["WITNESS"], f"{life['pid']}.json"), "w") as file:
        json.dump(life, file)
atexit.register(note)
"""


@pytest.fixture
def witness(tmp_path):
    """`path` to put first, `env` to add, and `lives()` of the cells that ran, in starting order."""

    class Witness:
        path = tmp_path / "witness"
        env = {"WITNESS": str(tmp_path / "lives")}  # noqa: RUF012

        def lives(self):
            found = [json.loads(p.read_text()) for p in (tmp_path / "lives").iterdir()]
            cells = [f for f in found if "lalm_bench" in f["argv"] and "-m" not in f["argv"][3:]]
            return sorted(cells, key=lambda f: f["began"])

    (tmp_path / "lives").mkdir()
    Witness.path.mkdir()
    (Witness.path / "sitecustomize.py").write_text(WITNESS)
    return Witness()


def most_at_once(lives):
    """Largest number of lives that overlap."""
    changes = sorted([(f["began"], 1) for f in lives] + [(f["ended"], -1) for f in lives])
    count, most = 0, 0
    for _, change in changes:
        count += change
        most = max(most, count)
    return most


def metrics(folders):
    return {
        name: json.loads((folder / "metrics.json").read_text())["metrics"]
        for name, folder in folders.items()
    }


def test_two_at_a_time_give_what_one_after_another_gives(bench, run_folders, tmp_path, witness):
    done = bench(*CPU, *SWEEP, "seed=1,2,3,4", path=(witness.path,), env=witness.env, check=0)
    spread = metrics(run_folders())
    lives = witness.lives()
    assert len(lives) == len({f["pid"] for f in lives}) == 4
    assert most_at_once(lives) == 2
    assert {(f["devices"], f["torch"]) for f in lives} == {("", False)}
    lines = done.stdout.splitlines()
    assert [line.split()[:3] for line in lines[1:]] == [[str(n), "cpu", "done"] for n in range(4)]
    assert [line.split()[4] for line in lines[1:]] == [f"seed={n}" for n in (1, 2, 3, 4)]
    for line in lines[1:]:
        assert "finished: " in (tmp_path / line.split()[-1]).read_text()

    for folder in run_folders().values():
        folder.rename(tmp_path / folder.name)
    bench("-m", *SWEEP, "seed=1,2,3,4", check=0)
    assert metrics(run_folders()) == spread
    assert len(spread) == 4


def test_a_failing_cell_sinks_no_other(bench, run_folders):
    done = bench(*CPU, *SWEEP, "seed=1,0.5,2,3", check=1)
    assert len(run_folders()) == 3
    assert {m["n"] for m in metrics(run_folders()).values()} == {14}
    lines = done.stdout.splitlines()
    assert [line.split()[2] for line in lines[1:5]] == ["done", "failed", "done", "done"]
    assert lines[5] == "cell 1: error: seed=0.5 must be a whole number"
    assert "1 of 4 cells failed" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_settings_reach_the_cells(bench, run_folders, tmp_path):
    """Lists, quotes, additions, a folder of one's own configurations."""
    (tmp_path / "own" / "task").mkdir(parents=True)
    (tmp_path / "own" / "task" / "mine.yaml").write_text("defaults: [mcq_synthetic]\nname: mine\n")
    words = ("--config-dir=own", "task=mine", "task.families=[gap_trivial],[count_beeps_trivial]")
    prompt = "task.prompt='Hm, {question} {options} =: {labels}'"
    more = ("+note=x", *SWEEP[1:])
    done = bench(*CPU, *words, prompt, *more, check=0)
    assert len(run_folders()) == 2
    states = [json.loads((f / "run.json").read_text()) for f in run_folders().values()]
    assert {s["config"]["task"]["name"] for s in states} == {"mine"}
    assert {s["config"]["task"]["prompt"][:3] for s in states} == {"Hm,"}
    assert {s["config"]["note"] for s in states} == {"x"}
    found = sorted(s["config"]["task"]["families"] for s in states)
    assert found == [["count_beeps_trivial"], ["gap_trivial"]]
    assert "task.families=[gap_trivial]" in done.stdout
    assert "config-dir" not in done.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopping_stops_the_cells_and_loses_nothing(bench, run_folders, tmp_path, witness, number):
    cells = ("task.scenes=144", "model=signal", "seed=1,2,3", "tracking=none", "figures=false")
    where = (f"paths.outputs={tmp_path / 'outputs'}", f"paths.multirun={tmp_path / 'multi'}")
    process = subprocess.Popen(
        [sys.executable, "-m", "lalm_bench", *CPU, *cells, *where],
        cwd=tmp_path,
        env=environment(witness.path, ROOT) | witness.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while len([p for p in tmp_path.rglob("responses.jsonl") if p.stat().st_size > 5000]) < 2:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(number)
    out, said = process.communicate(timeout=60)
    assert process.returncode == 130, out + said
    assert "0 of 3 cells had ended" in said
    assert "continues where it left off" in said
    assert "Traceback" not in said
    lives = witness.lives()
    assert len(lives) == 2, "the third cell must not have started"
    for life in lives:
        with pytest.raises(ProcessLookupError):
            os.kill(life["pid"], 0)
    states = [json.loads((f / "run.json").read_text()) for f in run_folders().values()]
    assert [s["status"] for s in states] == ["stopped"] * 2
    kept = {n: rows(f / "responses.jsonl") for n, f in run_folders().items()}

    bench(*CPU, *cells, check=0)
    assert len(run_folders()) == 3
    for name, folder in run_folders().items():
        after = rows(folder / "responses.jsonl")
        assert len(after) == 1008
        assert after[: len(kept.get(name, []))] == kept.get(name, [])


def test_a_cell_that_does_not_stop_is_killed_on_the_second_signal(tmp_path, witness):
    """A stand-in for lalm_bench, in a folder of its own, that ignores Ctrl-C."""
    package = tmp_path / "stubborn" / "lalm_bench"
    package.mkdir(parents=True)
    stubborn = "import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    stubborn += "open(__import__('os').environ['READY'], 'w').close()\ntime.sleep(100)\n"
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(stubborn)
    parent = (
        "import os, pathlib, sys\n"
        "from lalm_bench import fanout\n"
        f"os.environ['PYTHONPATH'] = {str(package.parent)!r}\n"
        f"cell = fanout.Cell(0, 'x', (), pathlib.Path({str(tmp_path / 'log')!r}))\n"
        f"os.chdir({str(tmp_path)!r})\n"
        "fanout.run([cell], fanout.slots('cpu'))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", parent],
        env=environment(ROOT) | {"READY": str(tmp_path / "ready")},
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 30
    while not (tmp_path / "ready").exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert time.monotonic() - began < 10


# ------------------------------------------------------------------ devices


@pytest.fixture
def torch_that_counts(tmp_path):
    """`torch_that_counts(n)`: a folder whose `torch` sees n devices: CUDA cannot be here."""

    def make(count):
        folder = tmp_path / f"torch{count}"
        folder.mkdir()
        text = f"class cuda:\n    @staticmethod\n    def device_count():\n        return {count}\n"
        (folder / "torch.py").write_text(text)
        return folder

    return make


def test_each_cell_sees_its_own_device_only(bench, witness, torch_that_counts):
    path = (witness.path, torch_that_counts(2))
    done = bench(*LAUNCHER, *SWEEP, "seed=1,2,3,4", path=path, env=witness.env, check=0)
    lives = witness.lives()
    assert sorted({f["devices"] for f in lives}) == ["0", "1"]
    # The first two start together, and either may be the first to be seen.
    assert sorted(f["devices"] for f in lives[:2]) == ["0", "1"]
    for device in "01":
        assert most_at_once([f for f in lives if f["devices"] == device]) == 1
    assert {line.split()[1] for line in done.stdout.splitlines()[1:]} == {"cuda:0", "cuda:1"}


@pytest.mark.parametrize(
    ("mask", "devices", "per_device", "expected"),
    [
        (None, "auto", 1, ["0", "1", "2"]),
        (None, "auto", 2, ["0", "1", "2", "0", "1", "2"]),
        (None, 2, 1, ["0", "1"]),
        (None, [2, 0], 1, ["2", "0"]),
        ("5,3,4", "auto", 1, ["5", "3", "4"]),
        ("5,3,4", [1], 1, ["3"]),
        ("GPU-8f,GPU-1c,GPU-0a", 2, 1, ["GPU-8f", "GPU-1c"]),
        (None, "cpu", 3, ["", "", ""]),
    ],
)
def test_slots(monkeypatch, torch_that_counts, mask, devices, per_device, expected):
    monkeypatch.setenv("PYTHONPATH", str(torch_that_counts(3)))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if mask:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", mask)
    assert [slot.visible for slot in fanout.slots(devices, per_device)] == expected


@pytest.mark.parametrize(
    ("count", "devices", "per_device", "words"),
    [
        (0, "auto", 1, "torch sees no CUDA device here.*devices=cpu"),
        (0, 2, 1, "torch sees no CUDA device"),
        (2, 3, 1, "no device 2, CUDA shows 2"),
        (2, [0, 2], 1, "no device 2, CUDA shows 2"),
        (2, [0, 0], 1, "must be auto"),
        (2, 0, 1, "must be auto"),
        (2, True, 1, "must be auto"),
        (2, "gpu", 1, "must be auto"),
        (2, [], 1, "must be auto"),
        (2, "auto", 0, "per_device=0"),
        (2, "auto", "two", "per_device='two'"),
    ],
)
def test_devices_that_are_not_there(
    monkeypatch, torch_that_counts, count, devices, per_device, words
):
    monkeypatch.setenv("PYTHONPATH", str(torch_that_counts(count)))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with pytest.raises(ConfigError, match=words):
        fanout.slots(devices, per_device)


def test_no_device_is_one_line_and_nothing_is_written(bench, tmp_path, torch_that_counts):
    none = torch_that_counts(0)
    done = bench(*LAUNCHER, *SWEEP, "seed=1,2", path=(none,), check=2)
    assert done.stderr.count("\n") == 1
    assert "hydra.launcher.devices=auto: torch sees no CUDA device here" in done.stderr
    assert not bench.outputs.exists()
    assert not (tmp_path / "multi").exists()


# ------------------------------------------------------------------ where Hydra finds it


def test_other_launchers_still_work_beside_it(bench, run_folders):
    """submitit pickles all of Hydra's state, the list of launchers included, for its workers."""
    bench("-m", "hydra/launcher=submitit_local", *SWEEP, "seed=1,2", check=0)
    assert len(run_folders()) == 2


def test_the_wheel_brings_it_along(tmp_path):
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    wheel = [*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(tmp_path), str(ROOT)]
    subprocess.run(wheel, check=True, timeout=300)
    (built,) = tmp_path.glob("*.whl")
    site = tmp_path / "site"
    subprocess.run([*pip, "install", "--no-deps", "--target", str(site), str(built)], check=True)
    done = subprocess.run(
        [sys.executable, "-m", "lalm_bench", *CPU, *SWEEP, "seed=1,2"],
        cwd=tmp_path,
        env=environment(site),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(" done ") == 2
