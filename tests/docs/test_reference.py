"""The reference has every key that there is, with what it means, and every command."""

import re
from functools import cache

import pytest
import yaml

from tests.conftest import ROOT
from tests.docs.pages import reference

FILES = [*(ROOT / "conf").rglob("*.yaml"), *(ROOT / "launchers/hydra").rglob("*.yaml")]


@cache
def told():
    return {(o.group, o.name): o for o in reference().everything()}


def keys(node, prefix=""):
    """Dotted paths of all keys above lists and values."""
    for key, value in node.items() if isinstance(node, dict) else ():
        path = f"{prefix}{key}"
        if path not in ("defaults", "hydra", "_target_"):
            yield path
            yield from keys(value, f"{path}.")


def of(path):
    base = ROOT / ("conf" if (ROOT / "conf") in path.parents else "launchers")
    group = path.parent.relative_to(base).as_posix()
    return told()["" if group == "." else group, path.stem]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_key_is_there_and_means_something(path):
    option = of(path)
    listed = {setting.key for setting in option.settings}
    assert option.about or option.target or not listed
    assert [s.key for s in option.settings if not s.meaning] == []
    for key in keys(yaml.safe_load(path.read_text())):
        # A mapping that is one value stands for its keys; one without words, for itself.
        parents = {key.rsplit(".", n)[0] for n in range(1, key.count(".") + 1)}
        below = any(name.startswith(f"{key}.") for name in listed)
        assert key in listed or below or parents & listed, key


def test_values_and_meanings_are_the_files():
    noise = {s.key: s for s in told()["intervention", "noise"].settings}
    assert noise["snr_db"].value == "10"
    assert noise["snr_db"].meaning == "dB; lower is noisier; null: none"
    assert noise["voices"].meaning == "Recordings mixed into one babble."


def test_a_key_without_comment_means_what_its_class_or_base_says():
    shuffled = {s.key: s for s in told()["task", "sakura"].settings}
    assert "broken down" in shuffled["groups"].meaning  # its class
    voxtral = {s.key: s for s in told()["model", "qwen2_audio"].settings}
    assert voxtral["path"].meaning == "Hub id or local folder."  # model/hf.yaml
    slurm = {s.key: s for s in told()["hydra/launcher", "slurm_site"].settings}
    assert "each is a job" in slurm["pack"].meaning or "share a job" in slurm["pack"].meaning


def test_text_of_yaml_is_no_markup():
    page = reference().pages()["reference/judge.md"]
    table = re.search(r"<table>.*?</table>", page, re.S)[0]
    tags = set(re.findall(r"<(/?\w+)", table))
    assert {t.strip("/") for t in tags} <= {"table", "thead", "tbody", "tr", "th", "td", "code"}


def test_the_commands_say_what_their_help_says():
    page = reference().pages()["reference/commands.md"]
    for command in (
        *("lalm_bench", "lalm_bench.compare", "lalm_bench.report", "lalm_bench.tracking sync"),
        *("lalm_bench.data segment", "lalm_bench.judges check", "lalm_bench.sweep resume"),
        "lalm_bench.analysis rubrics clean",
        *("lalm_bench.tasks.jasco", "lalm_bench.tasks.order", "lalm_bench.tasks.synthetic"),
    ):
        assert re.search(rf"^##+ python -m {re.escape(command)}$", page, re.M), command
    assert "--copy-audio" in page
    assert "a number, all or none" not in page
    assert str(ROOT) not in page
