"""Links, anchors, images and paths in what people read exist; other hosts are not asked."""

import re
from urllib.parse import urlsplit

import pytest

from tests.conftest import ROOT
from tests.docs.pages import PAGES, prose, reference

_LINK = re.compile(r"!?\[[^\]]*\]\(([^()\s]+)\)")
_HEADING = re.compile(r"^#{1,6} +(.+?)\s*$", re.M)
_PATH = re.compile(r"`((?:conf|lalm_bench|tests|benchmarks|launchers|docs)/[\w./-]+)`")
_SCRIPT = re.compile(r"`python (benchmarks/\w+\.py)")
# Named in a page as places that the reader fills.
_THE_READERS = {"conf/task/", "lalm_bench/tasks/", "tests/tasks/"}


def anchors(path):
    """Of each heading, as GitHub makes them; ours have no signs that the site treats otherwise."""
    found = set()
    for heading in _HEADING.findall(prose(path)):
        words = re.sub(r"[^\w\- ]", "", heading.lower())
        assert "  " not in words, f"{path.name}: {heading!r} has two anchors"
        found.add(words.strip().replace(" ", "-"))
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page):
    generated = {ROOT / "docs" / place for place in reference().places()}
    for target in _LINK.findall(prose(page)):
        parts = urlsplit(target)
        if parts.scheme or target.startswith("//"):
            assert parts.scheme == "https", f"{target}: a link is https"
            assert re.fullmatch(r"[\w-]+(\.[\w-]+)+", parts.netloc), target
            continue
        assert not target.startswith("/"), f"{target}: paths are relative to the page"
        place = (page.parent / parts.path).resolve() if parts.path else page
        if place in generated:
            assert page.is_relative_to(ROOT / "docs"), f"{target} is on the site only"
            continue
        assert place.exists(), f"{page.name}: {target} does not exist"
        assert place.is_relative_to(ROOT), f"{page.name}: {target} is outside the project"
        if (ROOT / "docs") in page.parents:
            assert (ROOT / "docs") in place.parents, f"{target}: not on the site; name it as code"
        if parts.fragment:
            assert parts.fragment in anchors(place), f"{page.name}: no heading for {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_files_named_in_text_exist(page):
    text = page.read_text()
    named = {*_PATH.findall(text), *_SCRIPT.findall(text)} - _THE_READERS
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


def test_images_on_the_site_are_those_that_programs_made():
    copy, made = ROOT / "docs/images/hearing_curves.svg", ROOT / "outputs/hearing_curves.svg"
    assert copy.read_bytes() == made.read_bytes()


def test_every_image_is_shown_somewhere():
    shown = "".join(page.read_text() for page in PAGES)
    assert [p.name for p in (ROOT / "docs/images").iterdir() if p.name not in shown] == []
