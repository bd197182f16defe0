"""Runs in shards, and what of them must not depend on shards."""

import pytest
from hydra import compose, initialize_config_dir

from lalm_bench import cli  # noqa: F401 - registers what conf/ interpolates
from lalm_bench import run as running
from tests.conftest import ROOT
from tests.test_run import results, rows

QUIET = ("tracking=none", "figures=false", "progress=false")
SMALL = ("task=mcq_synthetic", "task.scenes=4", "model=random", *QUIET)


@pytest.fixture
def start(tmp_path):
    """`start("whole", *overrides)` runs in this process, results below that folder."""

    def begin(place, *overrides, function=running.run):
        words = [*overrides, f"paths.outputs={tmp_path / place}", "runtime.device=cpu"]
        with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            config = compose("config", words)
        return tmp_path / function(config)

    return begin


def in_shards(start, place, *overrides, order=(2, 0, 1)):
    """The folder after all shards, `order` being the order in which they run."""
    return [start(place, *overrides, f"shards={len(order)}", f"shard={n}") for n in order][-1]


def same(folder):
    """What must not depend on shards: everything but the record of who did what."""
    found = results(folder)
    for name in ("shards", "code", "git"):  # the code may change between two processes
        found["run"].pop(name, None)
    for row in found["responses"]:
        del row["sample_id"]  # equal requests of two items share one answer, and either may ask
    return found


def keys(folder, name="responses.*.jsonl"):
    return [row["key"] for path in sorted(folder.glob(name)) for row in rows(path)]
