"""Judges' passes as processes: killed, stopped, side by side, behind a run, in a sweep."""

import json
import signal
import subprocess
import sys
import time

import pytest

from tests.conftest import ROOT, environment
from tests.judges.conftest import NAMES, QUIET, expected, judged, metrics, opinion, rows, scripted
from tests.openai_server import running


@pytest.fixture
def process(tmp_path):
    """`process(*words)`: the command line at work; whatever still runs is ended."""
    begun = []

    def start(*words):
        first = [w for w in words if w == "-m"]
        paths = ("paths.outputs=outputs", "paths.multirun=multi")
        rest = [w for w in words if w != "-m"]
        command = (sys.executable, "-m", "lalm_bench", *first, *QUIET, *paths, *rest)
        made = subprocess.Popen(
            command,
            cwd=tmp_path,
            env=environment(ROOT),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        begun.append(made)
        return made

    yield start
    for made in begun:
        if made.poll() is None:
            made.kill()
        made.communicate()


def wait_for(server, successes, process):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        if server.successes.total() >= successes:
            return
        time.sleep(0.005)
    raise AssertionError("no verdicts in time")


@pytest.mark.parametrize(
    ("sign", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130), (signal.SIGTERM, 143)]
)
def test_a_pass_that_is_stopped_half_way_goes_on(stage, answered, one, process, sign, code):
    run = answered(items=10)
    folder = stage("run", *run)
    server = scripted(opinion, latency=0.05)
    with running(server) as url:
        words = ("stage=judge", *run, "judge=jasco", *one(url, max_in_flight=2))
        begun = process(*words)
        wait_for(server, 30, begun)
        begun.send_signal(sign)
        _, said = begun.communicate(timeout=30)
        assert begun.returncode == code
        assert "Traceback" not in said
        log = folder / "judge" / "jasco" / "judge" / "verdicts.jsonl"
        kept = log.read_bytes()
        assert 20 <= kept.count(b"\n") < 80, "it was stopped too late to test anything"
        # What was on its way when it was stopped may be asked again; what is on disk may not.
        asked = server.stats()["answered_twice"]
        assert asked == 0
        log.write_bytes(kept[:-20] if sign == signal.SIGKILL else kept)  # a torn line
        place = stage("judge", *words[1:])
    assert log.read_bytes().startswith(kept[: kept[:-20].rfind(b"\n") + 1])
    assert server.stats()["answered_twice"] <= 3
    replies = rows(log)
    assert len(replies) == len({r["key"] for r in replies}) == 80
    decided = rows(place / "decisions.jsonl")
    assert len(decided) == 80
    assert all((r["rating[judge]"], r["orientation[judge]"]) == expected(r) for r in decided)


def test_two_judges_at_work_at_once_leave_one_whole_result(stage, answered, three, process):
    run = answered(items=4)
    folder = stage("run", *run)
    server = scripted(opinion, latency=0.03)
    with running(server) as url:
        words = ("stage=judge", *run, "judge=jasco", *three(url, max_in_flight=4))
        begun = [process(*words, f"judge.only=[{name}]") for name in NAMES]
        begun.append(process(*words, "judge.only=[llama]"))  # and one that is in the way
        ends = [made.communicate(timeout=60)[1] for made in begun]
        codes = [made.returncode for made in begun]
    assert codes[1:3] == [0, 0]
    assert sorted((codes[0], codes[3])) in ([0, 0], [0, 2]), ends
    for code, said in zip(codes, ends, strict=True):
        assert code == 0 or "another process is working" in said
    assert server.stats()["answered_twice"] == 0
    place = folder / "judge" / "jasco"
    state = json.loads((place / "run.json").read_text())
    assert (state["status"], state["judge"]["to_come"], state["judge"]["missing"]) == (
        "finished",
        [],
        [],
    )
    for row in rows(place / "decisions.jsonl"):
        for name in NAMES:
            assert (row[f"rating[{name}]"], row[f"orientation[{name}]"]) == expected(row)


def test_the_command_line_says_in_one_line_what_is_wrong(stage, answered, one, process):
    run = answered(items=1)
    stage("run", *run)
    away = process("stage=judge", *run, "judge=jasco", *one("http://127.0.0.1:9/v1"))
    said = away.communicate(timeout=60)[1]
    assert away.returncode == 2
    assert said.startswith("error: judge.panel.judge: ")
    assert said.count("\n") == 1


def test_a_run_and_its_judge_in_one_command_and_in_a_sweep(answered, one, process, tmp_path):
    run = answered(items=1)
    server = scripted(opinion)
    with running(server) as url:
        both = process(*run, "judge=jasco", *one(url))
        assert both.communicate(timeout=60)[1].count("rror") == 0
        assert both.returncode == 0
        assert [metrics(place)["n_answers"] for place in judged(tmp_path)] == [8]
        answered(lambda i, k: f"answer 2 {k}", items=1, file="other.csv")
        paths = ",".join(str(tmp_path / name) for name in ("answers.csv", "other.csv"))
        swept = [w for w in run if not w.startswith("model.path")]
        words = ("-m", "stage=judge", *swept, f"model.path={paths}", "judge=jasco", *one(url))
        process(*(w for w in words if w != "stage=judge")).communicate(timeout=90)
        assert len(judged(tmp_path)) == 2
        calls = len(server.bodies)
        done = process(*words)
        done.communicate(timeout=90)
    assert done.returncode == 0
    assert len(server.bodies) == calls == 16


def test_the_judges_of_a_run_in_shards_speak_when_the_last_has_ended(one, process, tmp_path):
    run = ("task=mcq_synthetic", "task.scenes=2", "model=random", "judge=binary")
    server = scripted(lambda asked: '{"correct": true}')
    with running(server) as url:
        for shard in (0, 1):
            part = process(*run, "shards=2", f"shard={shard}", *one(url))
            said, wrong = part.communicate(timeout=60)
            assert part.returncode == 0, wrong
            assert ("the judges speak when" in said) == (shard == 0)
            assert len(server.bodies) == 0 if shard == 0 else len(server.bodies) > 0
    (place,) = judged(tmp_path)
    assert (metrics(place)["n"], metrics(place)["accuracy"]) == (14, 1.0)
