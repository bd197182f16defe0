"""Every command that the documentation shows is understood by the program of today."""

import contextlib
import re
from importlib import import_module

import pytest
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser

from lalm_bench.build import build
from lalm_bench.errors import DataError
from lalm_bench.sweep.composing import composing
from tests.conftest import ROOT
from tests.docs.pages import PAGES, blocks, commands

# Programs besides ours.
OTHERS = {"source", "mlflow", "eval", "sudo", "head", "ls", "grep", "pip", "docker", "make", "cp"}
OTHERS |= {"export", "curl", "sbatch", "squeue"}
FLAGS = {"-m", "--multirun", "--cfg", "--package", "-p", "-c", "--help", "--info"}
# Options that a page makes are tried by test_examples.
OWN = "--config-dir"
SHOWN = [
    pytest.param(page, line, words, id=f"{page.relative_to(ROOT)}:{line}")
    for page in PAGES
    for line, words in commands(page)
]


@pytest.mark.parametrize(("page", "line", "words"), SHOWN)
def test_a_command_is_understood(page, line, words, monkeypatch):
    monkeypatch.chdir(ROOT)
    program = words[0]
    if program == "make":
        assert all(re.search(rf"^{w}:", (ROOT / "Makefile").read_text(), re.M) for w in words[1:])
    elif program.startswith("launchers/"):
        assert (ROOT / program).is_file()
    elif words[:2] == ["python", "-m"]:
        understood(words[2], words[3:])
    elif program == "python":
        made = {block.title for block in blocks(page)}
        assert words[1] in made or (ROOT / words[1]).is_file()
    else:
        assert program in OTHERS, f"{program} is neither ours nor a known program"


def understood(module, words):
    if module == "lalm_bench":
        composes(words)
    elif module == "lalm_bench.sweep" and words[0] == "submit":
        composes(["-m", "hydra/launcher=slurm", *words[2:]])
    else:
        given = parsed(module, words)
        if module == "lalm_bench.data" and hasattr(given, "overrides"):
            composes([f"task={given.name}", *given.overrides, "model=random"])


def parsed(module, words):
    """What the command's own parser makes of the words; argparse exits where it cannot."""
    place = f"{module}.__main__"
    is_package = (ROOT / f"{place.replace('.', '/')}.py").is_file()
    return import_module(place if is_package else module)._parser().parse_args(words)


def composes(words):
    if any(word.startswith(OWN) for word in words):
        return
    settings = [w for w in words if w not in FLAGS and not w.startswith("--")]
    if "--package" in words:
        settings.remove(words[words.index("--package") + 1])
    if "--cfg" in words:
        settings.remove(words[words.index("--cfg") + 1])
    cells = [settings]
    if {"-m", "--multirun"} & {*words}:
        overrides = OverridesParser.create().parse_overrides(settings)
        (cells,) = BasicSweeper.split_arguments(overrides, max_batch_size=None)
    with composing() as composed:
        for cell in cells:
            config = composed(cell)
            with contextlib.suppress(DataError):  # data and baselines are the reader's
                build(config)
