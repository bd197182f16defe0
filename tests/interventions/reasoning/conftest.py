"""Runs in this process, on SAKURA as published or made up, answered by a scripted or tiny model."""

import csv
import json
from types import SimpleNamespace

import numpy as np
import pytest
from hydra import compose, initialize_config_dir

from lalm_bench.run import run
from tests.conftest import ROOT
from tests.models.conftest import checkpoint  # noqa: F401 - a fixture

COLUMNS = ("file", "attribute_label", "single_instruction", "single_answer")
COLUMNS += ("multi_instruction", "multi_answer")
SCRIPTED = (
    *("model=random", "~model.compat", "model.name=scripted"),
    "model._target_=tests.interventions.reasoning.scripted.Scripted",
)
QUIET = ("tracking=none", "figures=false", "progress=false")


@pytest.fixture
def sakura(tmp_path):
    """Overrides for a made-up track of twelve clips and two hops in the published layout."""
    import soundfile

    folder = tmp_path / "sakura" / "data" / "Animal"
    (folder / "audio").mkdir(parents=True)
    animals = ("cat", "dog", "hen", "cow")
    rng = np.random.default_rng(5)
    with open(folder / "metadata.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        for n in range(12):
            right = n % 4
            heard = " ".join(f"({'abcd'[i]}) {animal}" for i, animal in enumerate(animals))
            known = " ".join(
                f"({'abcd'[i]}) as a {animal} does" for i, animal in enumerate(animals)
            )
            single = (f"Which? {heard}", f"({'abcd'[right]}) {animals[right]}")
            multi = (f"How does it move? {known}", f"({'abcd'[right]}) as a {animals[right]} does")
            table.writerow([f"{n:02}.wav", animals[right], *single, *multi])
            soundfile.write(folder / "audio" / f"{n:02}.wav", rng.normal(0, 0.1, 8000), 16000)
    return ("task=sakura", f"task.root={tmp_path / 'sakura'}", "task.track=animal")


@pytest.fixture
def finish(tmp_path):
    """`finish(*overrides)` runs them in this process and returns what lies in the run's folder."""

    def go(*words):
        outputs = f"paths.outputs={tmp_path / 'outputs'}"
        with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            config = compose("config", [*words, *QUIET, outputs])
        return read(run(config))

    return go


def read(folder):
    from pathlib import Path

    folder = Path(folder)
    decisions, responses = (
        [json.loads(line) for line in (folder / name).read_text().splitlines()]
        for name in ("decisions.jsonl", "responses.jsonl")
    )
    return SimpleNamespace(
        folder=folder,
        decisions={row["id"]: row for row in decisions},
        labels={row["id"]: row["label"] for row in decisions},
        keys={row["key"] for row in responses},
        texts=[row["text"] for row in responses],
        metrics=json.loads((folder / "metrics.json").read_text())["metrics"],
        analysis=json.loads((folder / "analysis.json").read_text()),
    )
