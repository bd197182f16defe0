"""A sweep in MLflow's own pages, as a browser draws them.

Screenshots go to build/screenshots, or to the folder that LALM_BENCH_SCREENSHOTS names; the two in
the documentation are made with `LALM_BENCH_SCREENSHOTS=docs/images make test-browser`.
"""

from __future__ import annotations

import io
import json
import os
import re
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest

from tests.conftest import ROOT
from tests.slurm.cluster import until
from tests.slurm.command_line import CommandLine

pytestmark = [pytest.mark.slurm, pytest.mark.browser]

EXPERIMENT = "noise"
SNR_DB = (20, 10, 0, -10, -20)
SCREENSHOTS = Path(os.environ.get("LALM_BENCH_SCREENSHOTS", ROOT / "build" / "screenshots"))


@pytest.fixture(scope="module")
def runs(cluster, mlflow_server, tmp_path_factory):
    """Two models under five levels of noise, an array job on the cluster; their MLflow runs."""
    line = CommandLine(tmp_path_factory.mktemp("sweep"), {"SLURM_CONF": cluster.conf})
    line(
        *("-m", "task=mcq_synthetic", "task.scenes=72", "model=random,signal"),
        *("intervention=noise", f"intervention.snr_db={','.join(map(str, SNR_DB))}"),
        *("figures=false", *mlflow_server.overrides(EXPERIMENT)),
        *("hydra/launcher=slurm", "hydra.launcher.cpus_per_task=1", "hydra.launcher.mem_gb=2"),
        check=0,
    )
    found = mlflow_server.runs(EXPERIMENT)
    assert len(found) == 2 * len(SNR_DB)
    return found


@pytest.fixture
def page(browser, mlflow_server):
    """A page that must not ask any other host for anything."""
    page = browser.new_page(viewport={"width": 1500, "height": 900})
    page.set_default_timeout(60_000)
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    yield page
    page.close()
    own = (mlflow_server.uri + "/", "data:", "blob:")
    assert asked
    assert [url for url in asked if not url.startswith(own)] == []


def test_all_runs_are_listed(page, runs, mlflow_server):
    page.goto(_runs_page(mlflow_server, runs))
    page.get_by_text(re.compile(rf"^{len(runs)} matching runs")).wait_for()
    for run in runs:
        page.get_by_text(run.info.run_name, exact=True).first.wait_for()
    _screenshot(page, "mlflow_table")


def test_a_filter_on_a_tag_finds_the_sweeps_half(page, runs, mlflow_server):
    page.goto(_runs_page(mlflow_server, runs, searchFilter="tags.model = 'signal'"))
    page.get_by_text(re.compile(rf"^{len(SNR_DB)} matching runs")).wait_for()


def test_the_chart_view_draws_every_run(page, runs, mlflow_server):
    page.goto(_runs_page(mlflow_server, runs, compareRunsMode="CHART"))
    _close_assistant(page)
    search = page.get_by_placeholder("Search metric charts")
    search.fill("^accuracy$")
    bars = page.locator(".js-plotly-plot .bars .point")
    until(lambda: bars.count() == len(runs), 60, "a bar for every run")
    drawn = page.locator(".js-plotly-plot .bars .point text").all_text_contents()
    assert sorted(drawn) == sorted(f"{run.data.metrics['accuracy']:.2f}" for run in runs)
    search.fill("^accuracy/family")
    until(lambda: bars.count() >= 6 * len(runs), 60, "the charts of the families in view")
    _screenshot(page, "mlflow_chart", "main")


def test_the_compare_view_draws_settings_against_accuracy(page, runs, mlflow_server):
    ids = quote(json.dumps([run.info.run_id for run in runs]))
    experiments = quote(json.dumps([runs[0].info.experiment_id]))
    page.goto(f"{mlflow_server.uri}/#/compare-runs?runs={ids}&experiments={experiments}")
    page.get_by_role("heading", name=f"Comparing {len(runs)} Runs").wait_for()
    _close_assistant(page)
    page.get_by_role("button", name="Clear All").click()
    for box, names in ((0, ("model.name", "intervention.snr_db")), (1, ("accuracy",))):
        page.get_by_role("combobox").nth(box).click(force=True)
        for name in names:
            _choose(page, name)
        page.keyboard.press("Escape")
    axes = page.locator(".js-plotly-plot .axis-title")
    wanted = ["model.name", "intervention.snr_db", "accuracy"]
    until(lambda: axes.all_text_contents() == wanted, 60, "the three axes")
    until(lambda: _coloured_columns(page, axes) > 0.9, 60, "lines from the first axis to the last")
    _screenshot(page, "mlflow_compare", "main", height=600)


def test_the_artifact_view_sets_decisions_side_by_side(page, runs, mlflow_server):
    page.goto(_runs_page(mlflow_server, runs, compareRunsMode="ARTIFACT"))
    _close_assistant(page)
    page.get_by_text("decisions_table.json").first.wait_for()
    page.get_by_text("synth_").first.wait_for()
    # Once in the list of runs, once above its column.
    names = page.get_by_text(runs[0].info.run_name, exact=True)
    until(lambda: names.count() == 2, 60, "a column of the first run")
    _screenshot(page, "mlflow_artifacts", "main")


def _runs_page(server, runs, **query):
    words = "&".join(f"{key}={quote(value)}" for key, value in query.items())
    return f"{server.uri}/#/experiments/{runs[0].info.experiment_id}/runs?{words}"


def _close_assistant(page):
    """A panel that opens by itself, a moment after the page, and takes a third of it."""
    page.get_by_role("button", name="Close", exact=True).first.click()


def _choose(page, name):
    """Choose in the open list, which holds only the options in view: walk down to it."""
    active = page.locator(f"[class*=option-active][title='{name}']")
    for _ in range(300):
        if active.count():
            return page.keyboard.press("Enter")
        page.keyboard.press("ArrowDown")
    raise AssertionError(f"{name} is not among the options")


def _coloured_columns(page, axes):
    """Share of the pixel columns between the first axis and the last in which something is drawn
    that is no shade of grey (as axes and labels are)."""
    from PIL import Image

    boxes = [axes.nth(i).bounding_box() for i in range(axes.count())]
    centres = [round(box["x"] + box["width"] / 2) for box in boxes if box]
    if len(centres) < 2:
        return 0.0
    pixels = np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB")).astype(int)
    top = round(boxes[0]["y"])
    between = pixels[top : top + 400, centres[0] + 5 : centres[-1] - 5]
    return float((np.ptp(between, axis=2) > 40).any(axis=0).mean())


def _screenshot(page, name, part=None, height=None):
    """A picture of the page, or of the upper `height` pixels of a part of it."""
    page.wait_for_timeout(1000)  # for transitions to end
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    clip = page.locator(part).first.bounding_box() if part else None
    if clip and height:
        clip["height"] = height
    page.screenshot(path=SCREENSHOTS / f"{name}.png", clip=clip)
