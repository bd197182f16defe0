"""Every YAML under conf/ composes and builds: a new file is tested by existing."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from lalm_bench import cli
from lalm_bench.build import build
from lalm_bench.errors import ConfigError, DataError
from lalm_bench.types import Model, Task

CONF = Path(cli.home("conf"))
GROUPS = ("task", "model", "intervention", "pruning", "judge", "capture", "tracking")
OPTIONS = [(g, p.stem) for g in GROUPS for p in sorted((CONF / g).glob("*.yaml"))]
OPTIONS.remove(("judge", "base"))  # what all rubrics share
RUBRICS = [option for group, option in OPTIONS if group == "judge" and option != "none"]
PANELS = {
    "api": ["judge.panel.judge.served_name=stand-in"],
    "local": [],
    "three": [],
}
PARSERS = [p.stem for p in sorted((CONF / "task" / "parser").glob("*.yaml"))]
# Settings without a sensible default.
NEEDED = {
    ("task", "mcq"): ["task.dataset=questions.jsonl"],
    ("model", "hf"): ["model.path=checkpoint"],
    ("model", "api"): ["model.served_name=stand-in"],
    ("intervention", "chain"): ["+intervention@intervention.steps.1=mask"],
    ("capture", "attention"): ["model=qwen2_audio"],
    **{("judge", rubric): PANELS["api"] for rubric in RUBRICS},
}


def experiment(*overrides):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return build(compose("config", list(overrides)))


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_option_builds(group, option):
    builds_on = "baseline: auto" in (CONF / group / f"{option}.yaml").read_text()
    if group == "intervention" and builds_on:
        # With a baseline they are built in tests/interventions/reasoning.
        with pytest.raises(DataError, match=f"intervention={option} builds on the same run"):
            experiment(f"{group}={option}", "paths.outputs=nowhere")
        return
    built = experiment(f"{group}={option}", *NEEDED.get((group, option), []))
    part = getattr(built, group)
    assert part.name == built.config[group]["name"]
    for name in contract(group):
        assert hasattr(part, name), f"{group}={option} lacks {name}"


def contract(group):
    protocol = {"task": Task, "model": Model}.get(group)
    if protocol is None:
        return ()
    public = {n for n in vars(protocol) if not n.startswith("_")}
    return sorted(public | set(protocol.__annotations__))


@pytest.mark.parametrize("panel", [p.stem for p in sorted((CONF / "judge/panel").glob("*.yaml"))])
def test_every_panel_builds(panel):
    built = experiment("judge=binary", f"judge/panel={panel}", *PANELS[panel])
    assert all(model.rate is None for model in built.judge.models.values())


@pytest.mark.parametrize("name", [p.stem for p in sorted((CONF / "experiment").glob("*.yaml"))])
def test_every_experiment_builds(name):
    task = experiment(f"experiment={name}").task
    assert task.missing(True) or next(iter(task.samples())).choices


WAYS = [(g, p.stem) for g in ("protocol", "recover") for p in sorted((CONF / g).glob("*.yaml"))]


@pytest.mark.parametrize(("group", "option"), WAYS)
def test_every_way_to_ask_and_to_read_builds(group, option):
    part = getattr(experiment(f"{group}={option}").task, group)
    assert (part is None) == (option == "none")
    if part is not None:
        with pytest.raises(ConfigError, match=f"task=jasco has no options.*{group}=none"):
            experiment(f"{group}={option}", "task=jasco")


@pytest.mark.parametrize("parser", PARSERS)
def test_every_parser_can_be_chosen(parser):
    built = experiment(f"task/parser={parser}")
    choices = next(iter(built.task.samples())).choices
    # The string match of MMAU takes option texts only; all others take a letter.
    assert "B" in {built.task.parser(text, choices).label for text in ("B", choices[1].text)}


@pytest.mark.parametrize("launcher", ["slurm"])
def test_launchers_are_on_the_search_path(launcher):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", [f"hydra/launcher={launcher}"], return_hydra_config=True)
    assert config.hydra.launcher.gpus_per_node == 1
    assert config.hydra.launcher._target_ == "hydra_plugins.slurm.Slurm"


def test_the_condition_names_the_intervention_and_its_settings():
    assert experiment().condition == "baseline"
    built = experiment("intervention=noise", "intervention.snr_db=-10")
    assert built.condition == "noise_snr_db=-10"
    assert built.folder.parts[-2] == "noise_snr_db=-10"
