"""Whole runs of model=api, the command line in one process and the stand-in server in another."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter

import pytest

from tests.conftest import ROOT, environment

QUIET = ("tracking=none", "figures=false")
# Audio is rendered by the run itself, so every request differs.
TASK = ("task=mcq_synthetic", "task.scenes=72", *QUIET)
ITEMS = 7 * 72


@contextlib.contextmanager
def serving(*words):
    """A stand-in server in a process of its own; gives its base URL."""
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "tests" / "openai_server.py"), *words],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process.stdout.readline().strip()
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=10)


def stats(url):
    with urllib.request.urlopen(f"{url.removesuffix('/v1')}/stats") as reply:
        return json.load(reply)


def api(url, *words):
    return (
        *("model=api", "model.served_name=stand-in", f"model.endpoint.base_url={url}"),
        *("model.endpoint.backoff_s=0.02", *words),
    )


def lines(folder, name="responses.jsonl"):
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


def only(folders):
    (folder,) = folders.values()
    return folder


def test_a_run_end_to_end(bench, run_folders):
    with serving("--latency", "0.01") as url:
        prices = "model.endpoint.prices={input: 2, output: 10}"
        bench(*TASK, *api(url, prices), check=0)
        seen = stats(url)
    folder = only(run_folders())
    assert folder.parts[-3] == "stand-in"
    metrics = json.loads((folder / "metrics.json").read_text())
    values, timing = metrics["metrics"], metrics["timing"]
    assert (values["n"], values["n_errors"]) == (ITEMS, 0)
    assert 0.2 < values["accuracy"] < 0.8  # letters drawn blindly
    assert len(lines(folder, "decisions.jsonl")) == ITEMS
    assert seen["attempts"] == seen["successes"] == seen["requests"]
    assert timing["requests"] == seen["requests"]
    assert timing["connections"] == seen["connections"] <= 64
    assert timing["cost"] == pytest.approx(seen["requests"] * (50 * 2 + 2 * 10) / 1e6)
    assert timing["requests_per_s"] > 20


def test_the_key_is_in_no_file_of_the_run(bench, run_folders, tmp_path):
    (tmp_path / ".env").write_text("SERVER_KEY=sk-found-in-a-file-0123456789\n")
    with serving("--latency", "0", "--faults", "400", "500") as url:
        words = api(url, "model.endpoint.api_key_env=SERVER_KEY", "limit=20")
        done = bench(*TASK, *words, check=1)
    folder = only(run_folders())
    errors = [r for r in lines(folder) if r["finish"] == "error"]
    assert len(errors) == 10
    for said in (done.stdout, done.stderr, *(f.read_text() for f in folder.glob("*.*"))):
        assert "sk-" not in said


@pytest.mark.parametrize("limit", [8, 32])
def test_kill_half_way_asks_only_what_was_in_flight_again(bench, run_folders, tmp_path, limit):
    with serving("--latency", "0.05") as url:
        words = (*TASK, *api(url, f"model.endpoint.max_in_flight={limit}"))
        process = subprocess.Popen(
            [sys.executable, "-m", "lalm_bench", *words, "paths.outputs=outputs"],
            cwd=tmp_path,
            env=environment(ROOT),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for_answers(process, tmp_path, ITEMS // 2)
        process.send_signal(signal.SIGKILL)
        process.wait()
        folder = only(run_folders())
        kept = lines(folder)
        before = stats(url)
        assert ITEMS // 2 <= len(kept) < ITEMS - 2 * limit, "the kill came too late"
        assert before["attempts"] <= len(kept) + limit

        bench(*words, "paths.outputs=outputs", check=0)
        after = stats(url)
    rows = lines(folder)
    assert rows[: len(kept)] == kept
    assert max(Counter(r["key"] for r in rows).values()) == 1
    assert {r["finish"] for r in rows} == {"stop"}
    assert len(lines(folder, "decisions.jsonl")) == ITEMS
    asked_again = after["attempts"] - after["requests"]
    assert asked_again == before["attempts"] - len(kept) <= limit
    assert after["answered_twice"] <= limit


def test_ctrl_c_stops_cleanly(run_folders, tmp_path):
    with serving("--latency", "0.2") as url:
        process = subprocess.Popen(
            [
                *(sys.executable, "-X", "dev", "-m", "lalm_bench"),
                *(*TASK, *api(url), "paths.outputs=outputs"),
            ],
            cwd=tmp_path,
            env=environment(ROOT),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        wait_for_answers(process, tmp_path, 30)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=15)
    assert process.returncode == 130
    assert "continues where it left off" in told
    for word in ("Traceback", "destroyed", "never", "unclosed"):
        assert word not in told
    assert json.loads((only(run_folders()) / "run.json").read_text())["status"] == "stopped"


def wait_for_answers(process, tmp_path, count):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        logs = list((tmp_path / "outputs").rglob("responses.jsonl"))
        if logs and logs[0].read_bytes().count(b"\n") >= count:
            return
        time.sleep(0.005)
    raise AssertionError("no answers in time")


def test_every_fault_at_once_in_a_whole_run(bench, run_folders):
    faults = ("429", "500", "drop", "garbage")
    with serving("--latency", "0.01", "--times", "2", "--faults", *faults) as url:
        words = api(url, "model.endpoint.max_in_flight=adaptive", "limit=120")
        bench(*TASK, *words, check=0)
        seen = stats(url)
    folder = only(run_folders())
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["metrics"]["n_errors"] == 0
    assert seen["successes"] == seen["requests"]
    assert seen["answered_twice"] == 0
    assert sum(metrics["timing"]["retries"].values()) == 2 * seen["requests"]


def test_a_server_that_is_away_is_one_line_and_nothing_is_asked(bench):
    done = bench(*TASK, *api("http://127.0.0.1:9/v1"), check=2)
    assert done.stderr.count("\n") <= 2  # and the line that counts what was answered
    assert "http://127.0.0.1:9/v1 cannot be reached" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_finished_run_is_recognised_without_its_server(bench, run_folders):
    with serving("--latency", "0") as url:
        bench(*TASK, *api(url), "limit=20", check=0)
    done = bench(*TASK, *api(url, "rescore=true"), "limit=20", check=0)
    assert "finished" in done.stdout
    done = bench(*TASK, *api(url), "limit=20", check=0)
    assert "nothing asked" in done.stdout


def test_torch_is_never_imported(bench, tmp_path):
    (tmp_path / "torch.py").write_text("raise SystemExit('torch was imported')\n")
    with serving("--latency", "0") as url:
        bench(*TASK, *api(url), "limit=5", path=(tmp_path,), check=0)
