"""What describes the project agrees with the project."""

import re

import pytest
import yaml

from lalm_bench import __version__
from tests.conftest import ROOT
from tests.docs.pages import prose

README = (ROOT / "README.md").read_text(encoding="utf-8")
GRID = ("task", "model", "intervention", "protocol", "pruning", "judge", "capture", "experiment")
# What others start from, and the absence of a part.
PARTS = {("judge", "base")}


@pytest.mark.parametrize("group", GRID)
def test_the_grid_names_every_option(group):
    (row,) = re.findall(rf"^\| \[?`{group}`.*$", README, re.M)
    there = {path.stem for path in (ROOT / "conf" / group).glob("*.yaml")} - {"none"}
    there -= {name for part, name in PARTS if part == group}
    named = set(re.findall(r"`([\w]+)`", row.partition("|")[2].partition("|")[2]))
    assert there <= named
    assert named <= there


def test_the_readme_is_short():
    assert README.count("\n") < 250


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= citation.keys()
    assert citation["version"] == __version__
    assert citation["license"] == "Apache-2.0"
    assert citation["authors"] == [{"name": "The lalm_bench authors"}]


def test_the_citation_is_valid():
    cffconvert = pytest.importorskip("cffconvert", reason="no cffconvert")
    cffconvert.Citation((ROOT / "CITATION.cff").read_text(encoding="utf-8")).validate()


def test_the_changelog_has_this_version_or_is_on_its_way_there():
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert "## [Unreleased]" in changelog
    headings = re.findall(r"^## \[(.+?)\]", changelog, re.M)
    assert __version__ in headings or f"will be {__version__}" in changelog


def test_prose_says_nothing_of_this_machine():
    for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"):
        assert not re.search(r"(?<![\w.])/(home|root|tmp|work)/", prose(ROOT / name)), name
