"""Reports in a real MLflow server: logged once a title, and opened in its artifact view."""

import base64

import pytest

from lalm_bench.report.__main__ import main
from tests.report.conftest import command, keys, read
from tests.slurm.tracking_server import TrackingServer

pytest.importorskip("mlflow")
EXPERIMENT = "heard"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """`launchers/mlflow-server` on a port of its own."""
    server = TrackingServer(tmp_path_factory.mktemp("mlflow"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def tracked(server, tmp_path_factory):
    """A sweep of two runs that are tracked there: `multirun/<time>`."""
    folder = tmp_path_factory.mktemp("tracked")
    words = ("tracking=mlflow", *server.overrides(EXPERIMENT))
    command(folder, "-m", "task.scenes=2", "intervention=none,mask", *words)
    (sweep,) = (path.parent for path in folder.glob("multirun/*/multirun.yaml"))
    return sweep


@pytest.fixture(scope="module")
def logged(tracked, server, tmp_path_factory):
    """The sweep's report, logged twice: its folder and its run."""
    folder = tmp_path_factory.mktemp("logged") / "report"
    for _ in range(2):
        assert main([str(tracked), "--out", str(folder), "--title", "Noon's", "--mlflow"]) == 0
    (run,) = [r for r in server.runs(EXPERIMENT) if r.data.tags.get("report")]
    return folder, run


def test_a_report_is_one_run_beside_those_that_it_is_about(logged, tracked, server, tmp_path):
    folder, run = logged
    assert run.data.tags["report"] == "Noon's"
    assert run.data.tags["sweep"] == tracked.name
    assert run.info.status == "FINISHED"
    assert run.data.metrics == {}
    others = [r for r in server.runs(EXPERIMENT) if r.info.run_id != run.info.run_id]
    assert len(others) == 2
    assert {r.data.tags["sweep"] for r in others} == {tracked.name}
    client = server.client()
    assert {f.path for f in client.list_artifacts(run.info.run_id)} == {"report.html", "tables"}
    client.download_artifacts(run.info.run_id, "report.html", str(tmp_path))
    assert (tmp_path / "report.html").read_bytes() == (folder / "report.html").read_bytes()


def test_the_sync_of_runs_leaves_reports_alone(logged, tracked, server):
    from lalm_bench.tracking.__main__ import main as tracking

    outputs = tracked.parent.parent / "outputs"
    words = ["sync", "--outputs", str(outputs), "--uri", server.uri, "--experiment", EXPERIMENT]
    assert tracking(words) == 0
    assert len(server.runs(EXPERIMENT)) == 3


def test_a_server_that_is_away_costs_the_logging_alone(logged, tracked, tmp_path, capsys):
    away = "http://127.0.0.1:9"
    words = [str(tracked), "--out", str(tmp_path / "report"), "--clips", "none", "--uri", away]
    assert main(words) == 1
    assert "written but not logged" in capsys.readouterr().err
    assert (tmp_path / "report" / "report.html").is_file()


@pytest.mark.parametrize("words", [["--mlflow"], ["--mlflow", "--title", "t"]])
def test_what_cannot_be_logged_is_refused_before_anything_is_written(words, runs, tmp_path, capsys):
    named = [str(runs["none"]), str(runs["mask"])]
    assert main([*named, "--out", str(tmp_path / "report"), *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert ("--uri" if "--title" in words else "--title") in line
    assert [*tmp_path.iterdir()] == []


def test_a_local_store_that_is_elsewhere_is_not_made_here(tmp_path, monkeypatch, capsys):
    place = tmp_path / "a"
    place.mkdir()
    command(place, "task.scenes=1", "tracking=mlflow", "tracking.uri=sqlite:///mine.db")
    (run,) = (p.parent for p in place.glob("outputs/*/*/*/*/run.json"))
    monkeypatch.chdir(tmp_path)
    assert main([str(run), "--out", "report", "--clips", "none", "--mlflow"]) == 2
    assert "start this where the runs were started" in capsys.readouterr().err
    assert {p.name for p in tmp_path.iterdir()} == {"a"}
    monkeypatch.chdir(place)
    assert main([str(run), "--out", "report", "--clips", "none", "--mlflow"]) == 0
    assert "report.html of run" in capsys.readouterr().out


@pytest.mark.browser
def test_mlflows_artifact_view_plays_a_clip_as_it_was_heard(logged, server, browser):
    folder, run = logged
    page = browser.new_page(viewport={"width": 1500, "height": 900})
    page.set_default_timeout(60_000)
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    place = f"{run.info.experiment_id}/runs/{run.info.run_id}/artifacts/report.html"
    page.goto(f"{server.uri}/#/experiments/{place}")
    frame = page.frame_locator("iframe.mlflow-html-iframe")
    frame.locator("figure.table").first.locator("tbody tr").nth(1).wait_for()
    assert frame.locator("figure.table").first.locator("tbody tr").count() == 2
    frame.get_by_role("link", name="mask").first.click()
    frame.locator(".row").nth(1).click()
    key = keys(folder)["mask"]
    listed = read(folder, key)
    (clip,) = read(folder, f"{key}-0")[1]["clips"]
    frame.locator("#sample h2", has_text=listed["id"][1]).wait_for()
    audio = frame.locator("audio")
    for _ in range(500):
        if audio.evaluate("(a) => a.readyState") >= 1:
            break
        page.wait_for_timeout(20)
    seconds = audio.evaluate("(a) => a.duration")
    assert seconds == pytest.approx(clip["heard"]["seconds"], abs=0.02)
    source = audio.evaluate("(a) => a.currentSrc")
    assert (
        base64.b64decode(source.partition(",")[2]) == (folder / clip["heard"]["src"]).read_bytes()
    )
    assert frame.locator(".axis img").first.evaluate("(i) => i.naturalWidth") > 100
    # No link promises a download that the frame forbids.
    frame.get_by_role("link", name="Overview").click()
    frame.locator("figure.table").first.wait_for()
    assert frame.locator(".files a").count() == 0
    page.close()
    own = (server.uri + "/", "data:", f"blob:{server.uri}/")
    assert [url for url in asked if not url.startswith(own)] == []
