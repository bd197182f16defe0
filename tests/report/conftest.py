"""A real sweep, its report, and a browser that opens reports from disk."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from lalm_bench.report.__main__ import main
from tests.conftest import ROOT, environment

CONDITIONS = ("none", "noise", "silence")
RATIOS = (0.2, 0.5, 0.8)
SETTINGS = ("ratio=0.5", "snr_db=10")
DESK = {"width": 1280, "height": 860}


def command(folder, *overrides):
    """Run the command line with results below `folder`."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "lalm_bench"),
            *(word for word in overrides if word.startswith("-")),
            *(f"paths.outputs={folder / 'outputs'}", f"paths.multirun={folder / 'multirun'}"),
            *("tracking=none", "figures=false"),
            *(word for word in overrides if not word.startswith("-")),
        ],
        capture_output=True,
        text=True,
        timeout=280,
        cwd=folder,
        env=environment(ROOT),
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="package")
def sweep(tmp_path_factory):
    """Folders of two sweeps of the signal listener over 42 items: six conditions in all."""
    folder = tmp_path_factory.mktemp("swept")
    command(folder, "-m", "task.scenes=6", f"intervention={','.join(CONDITIONS)}")
    ratios = ",".join(map(str, RATIOS))
    command(folder, "-m", "task.scenes=6", "intervention=mask", f"intervention.ratio={ratios}")
    return sorted(path.parent for path in folder.glob("multirun/*/paired.json"))


@pytest.fixture(scope="package")
def runs(sweep):
    """Condition -> folder of its run; of the masks, the one at 0.5."""
    found = {}
    for state in sweep[0].parent.parent.glob("outputs/*/*/*/*/run.json"):
        intervention = json.loads(state.read_text())["config"]["intervention"]
        if intervention.get("ratio", 0.5) == 0.5:
            found[intervention["name"]] = state.parent
    return found


@pytest.fixture(scope="package")
def report(sweep, tmp_path_factory):
    """The report of the sweep."""
    folder = tmp_path_factory.mktemp("made") / "report"
    assert main([*map(str, sweep), "--out", str(folder), "--title", "Six conditions"]) == 0
    return folder


def read(folder, name):
    """The value that a data script of a report hands to the page."""
    text = (folder / "data" / f"{name}.js").read_text()
    head, tail = f'LB.put("{name}",', ");\n"
    assert text.startswith(head)
    assert text.endswith(tail)
    return json.loads(text[len(head) : -len(tail)])


def keys(folder):
    """Condition -> key of its run in a report; of the masks, the one at 0.5."""
    runs = [(*r["condition"].partition("_"), r["key"]) for r in read(folder, "index")["runs"]]
    return {name: key for name, _, setting, key in runs if setting in ("", *SETTINGS)}


@pytest.fixture
def opened(browser):
    """`opened(folder, "#samples/r1")` is a page; at the end nothing was asked of any host."""
    contexts, asked, said = [], [], []

    def open_(folder, place="", viewport=DESK, file="index.html", **options):
        context = browser.new_context(viewport=viewport, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: said.append(f"error: {error}"))
        page.goto(f"{(folder / file).as_uri()}{place}")
        page.wait_for_selector("body[data-ready]")
        return page

    yield open_
    for context in contexts:
        context.close()
    assert asked
    assert [url for url in asked if not url.startswith(("file://", "data:"))] == []
    assert said == []
