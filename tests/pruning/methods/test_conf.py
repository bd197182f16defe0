"""conf/pruning: every method is there, says what its settings mean, and is built with them."""

from dataclasses import fields
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from hydra.utils import instantiate

from lalm_bench import cli
from lalm_bench.pruning.contracts import KEYS, QUERIES
from tests.interventions.clips import composed

CONF = Path(cli.home("conf"), "pruning")
PREFILL = {"random", "frame", "fastv", "dart", "pooling", "merge"}
EVICTION = {"knorm", "snapkv", "tova", "streaming", "keydiff", "expected_attention"}


def settings(name):
    return yaml.safe_load((CONF / f"{name}.yaml").read_text())


def test_every_method_has_its_file():
    assert {p.stem for p in CONF.glob("*.yaml")} == {"none"} | PREFILL | EVICTION


@pytest.mark.parametrize("name", sorted(PREFILL | EVICTION))
def test_it_is_built_with_all_of_its_settings(name):
    node = settings(name)
    method = node["method"]
    pruning = instantiate(composed(f"pruning={name}", "pruning.ratio=0.25").pruning)
    assert pruning.name == name
    assert pruning.ratio == 0.25
    assert pruning.kind == ("prefill" if name in PREFILL else "eviction")
    assert method["_target_"].startswith(f"lalm_bench.pruning.methods.{name}.")
    # A setting that the YAML does not show is a setting that nobody finds.
    own = {field.name: field.default for field in fields(pruning.method)}
    assert {k: v for k, v in method.items() if k != "_target_"} == own


@pytest.mark.parametrize("name", sorted(PREFILL))
def test_prefill_methods_share_what_a_sweep_sets(name):
    node = settings(name)
    assert node["ratio"] == 0.5
    assert node["count"] == "floor"
    assert node["layer"] == (0 if name in ("pooling", "merge") else 2)
    method = build(name)
    assert method.first_layer <= node["layer"]
    assert method.last_layer is None or node["layer"] <= method.last_layer


def test_only_what_draws_depends_on_the_seed():
    seeded = {name for name in PREFILL | EVICTION if "seed" in settings(name)}
    assert seeded == {"random"}
    assert composed("pruning=random", "seed=31").pruning.seed == 31


@pytest.mark.parametrize("name", sorted(PREFILL | EVICTION))
def test_every_setting_has_its_comment(name):
    lines = (CONF / f"{name}.yaml").read_text().splitlines()
    assert lines[0].startswith("# ")
    for before, line in pairwise(lines):
        if line and not line.lstrip().startswith(("#", "_target_", "name:", "method:")):
            assert before.lstrip().startswith("#"), f"{name}.yaml: {line}"


@pytest.mark.parametrize("name", sorted(PREFILL | EVICTION))
def test_queries_come_with_keys(name):
    method = build(name)
    if QUERIES in method.needs:
        assert KEYS in method.needs
        assert 0 < method.window <= 64 or name == "expected_attention"


def build(name):
    return instantiate(settings(name)["method"])
