"""Paired results at the end of a real sweep, whichever launcher ran it."""

import json
import subprocess
import sys

import pytest

from tests.conftest import ROOT, environment

SMALL = ("task.scenes=6", "tracking=none", "figures=false")
LOCAL_GPUS = (
    "hydra/launcher=local_gpus",
    "hydra.launcher.devices=cpu",
    "hydra.launcher.per_device=2",
)
SUBMITIT = ("hydra/launcher=submitit_local", "hydra.launcher.timeout_min=5")


@pytest.fixture
def paired(tmp_path):
    """The families of the newest sweep, or None."""

    def read():
        newest = max((tmp_path / "multi").iterdir())
        file = newest / "paired.json"
        return json.loads(file.read_text())["families"] if file.exists() else None

    return read


def accuracy(run):
    """What the run itself reports."""
    with open(f"{run['folder']}/metrics.json") as file:
        return json.load(file)["metrics"]["accuracy"]


@pytest.mark.parametrize("launcher", [(), LOCAL_GPUS, SUBMITIT], ids=["basic", "gpus", "submitit"])
def test_every_cell_is_compared_with_its_own_baseline(bench, paired, launcher):
    words = ("model=signal,random", "intervention=none,mask,silence")
    done = bench("-m", *launcher, *words, *SMALL, check=0)
    hearing, guessing = sorted(paired(), key=lambda family: -family["baseline"]["value"])
    assert [run["label"] for run in hearing["runs"]] == ["mask", "silence"]
    for family in (hearing, guessing):
        before = accuracy(family["baseline"])
        assert family["baseline"]["value"] == pytest.approx(before)
        for run in family["runs"]:
            assert run["n"] == 42
            assert run["delta"] == pytest.approx(accuracy(run) - before)
    mask, silence = hearing["runs"]
    assert (hearing["baseline"]["value"], silence["value"]) == (1.0, 0.0)
    assert silence["answers"]["right_to_null"] == 42
    assert mask["high"] < 0
    assert mask["p_holm"] < 1e-3
    assert {gain["run"]: gain["gain"] for gain in hearing["audio_gain"]}["baseline"] == 1.0
    # Who does not listen does not mind.
    for run in guessing["runs"]:
        assert (run["delta"], run["p"], run["notes"]) == (0.0, 1.0, ["no item changed"])
    assert "audio gain" in done.stdout
    assert "paired results: " in done.stdout


@pytest.mark.parametrize("launcher", [(), LOCAL_GPUS], ids=["basic", "gpus"])
def test_a_failed_cell_hides_no_other(bench, paired, launcher):
    sweep = ("-m", *launcher, "intervention=none,silence", "seed=0.5,1")
    done = bench(*sweep, *SMALL, check=1 if launcher else 2)
    assert "seed=0.5 must be a whole number" in done.stdout + done.stderr
    (family,) = paired()
    assert [run["label"] for run in family["runs"]] == ["silence"]
    assert "silence" in done.stdout


def test_a_falling_curve_and_the_level_that_changes_nothing(bench, paired, tmp_path):
    levels = ("intervention=mask", "intervention.ratio=0,0.3,0.9")
    bench("-m", *levels, "task.scenes=6", "figures=true", check=0)
    (family,) = paired()
    assert family["baseline"]["condition"]["intervention.ratio"] == 0
    values = [point["value"] for point in family["curves"][0]["points"]]
    assert values == sorted(values, reverse=True)
    assert values[-1] < 0.5
    newest = max((tmp_path / "multi").iterdir())
    assert {p.suffix for p in newest.glob("curve_*")} == {".png", ".svg"}


def test_an_earlier_baseline_is_found_and_a_missing_one_is_told(bench, paired):
    sweep = ("-m", "intervention=mask,silence", *SMALL)
    done = bench(*sweep, check=0)
    assert paired() is None
    assert "2 cells have no baseline; make it: python -m lalm_bench" in done.stderr
    command = done.stderr.partition("python -m lalm_bench ")[2].splitlines()[0].split()
    bench(*command, check=0)
    bench(*sweep, check=0)
    (family,) = paired()
    assert [run["label"] for run in family["runs"]] == ["mask", "silence"]


def test_a_sweep_of_baselines_says_nothing(bench, paired):
    done = bench("-m", "model=random", "seed=1,2", *SMALL, check=0)
    assert paired() is None
    assert "compared" not in done.stdout + done.stderr


def test_a_run_alone_leaves_no_notes(bench, tmp_path):
    bench("model=random", *SMALL, check=0)
    assert not (tmp_path / "multi").exists()


def test_the_tables_of_a_sweep_can_be_made_again(bench, paired, tmp_path):
    bench("-m", "intervention=none,mask", *SMALL, check=0)
    before = paired()
    sweep = max((tmp_path / "multi").iterdir())
    (sweep / "paired.json").unlink()
    command = [sys.executable, "-m", "lalm_bench.compare", "--sweep", str(sweep)]
    subprocess.run(command, check=True, cwd=tmp_path, env=environment(ROOT), timeout=120)
    assert paired() == before


def test_the_callback_costs_a_run_nothing():
    code = "import sys, lalm_bench.compare.sweep; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment(ROOT)
    )
    heavy = {"numpy", "pandas", "scipy", "matplotlib", "torch", "lalm_bench.compare.pairs"}
    assert "lalm_bench.compare.sweep" in done.stdout
    assert not heavy & set(done.stdout.split())
