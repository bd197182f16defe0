"""The site builds without a warning, is drawn and searched, and asks no other host anything."""

import os
import re
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.conftest import ROOT
from tests.docs.pages import reference


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("material", reason="no mkdocs-material (pip install '.[docs]')")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=240,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return folder


def test_every_page_is_built(site):
    built = {path.relative_to(site).with_suffix(".md").as_posix() for path in site.rglob("*.html")}
    written = {p.relative_to(ROOT / "docs").as_posix() for p in (ROOT / "docs").rglob("*.md")}
    assert written | reference().places() <= built
    assert not (site / "generate").exists()


def test_nothing_is_asked_of_another_host(site):
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        asked = re.findall(r"<(?:script|img|iframe|source)[^>]*\bsrc=[\"']?(?:https?:)?//", text)
        asked += re.findall(r"<link[^>]*rel=[\"']?(?:stylesheet|preconnect)[^>]*https?://", text)
        assert asked == [], page.name


@pytest.fixture(scope="module")
def served(site):
    handler = partial(SimpleHTTPRequestHandler, directory=str(site))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.browser
@pytest.mark.parametrize("width", [1280, 390])
def test_pages_are_drawn_and_searched(served, browser, width):
    page = browser.new_page(viewport={"width": width, "height": 900})
    faults, asked = [], []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
    page.on("request", lambda request: asked.append(request.url))
    for name in ("index", "tutorial", "reference/intervention", "explanation/originals"):
        page.goto(f"{served}/{name}.html")
        page.locator("h1").wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate("[...document.images].every(i => i.naturalWidth > 0)")
    page.goto(f"{served}/index.html")
    page.keyboard.press("/")
    query = page.get_by_role("textbox", name="Search")
    query.wait_for()
    query.press_sequentially("snr_db")
    found = page.locator(".md-search-result__link")
    found.first.wait_for()
    assert any("reference/intervention.html" in link.get_attribute("href") for link in found.all())
    page.close()
    assert faults == []
    assert [url for url in asked if not url.startswith((served, "data:", "blob:"))] == []
