import multiprocessing
import os
import signal

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lalm_bench.errors import StoreError
from lalm_bench.store import ResponseLog, RunFolder, read_json, write_json
from lalm_bench.types import Response


def answer(n, text="A", **more):
    return Response(key=f"{n:032x}", sample_id=f"item{n}", text=text, **more)


def log_with(path, count):
    log = ResponseLog(path)
    for n in range(count):
        log.append(answer(n, text=f"text {n}"))
    return log


def test_answers_survive_reopening(tmp_path):
    log_with(tmp_path / "r.jsonl", 5).close()
    again = ResponseLog(tmp_path / "r.jsonl")
    assert len(again) == 5
    keys = [f"{n:032x}" for n in (4, 0, 9, 2)]
    assert [r and r.text for r in again.read(keys)] == ["text 4", "text 0", None, "text 2"]


def test_each_answer_is_on_disk_at_once(tmp_path):
    log_with(tmp_path / "r.jsonl", 3)  # never closed
    assert len((tmp_path / "r.jsonl").read_bytes().splitlines()) == 3


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(1, 400))
def test_a_torn_tail_costs_only_the_torn_answers(tmp_path_factory, cut):
    path = tmp_path_factory.mktemp("torn") / "r.jsonl"
    log_with(path, 8).close()
    whole = path.read_bytes()
    kept = max(0, len(whole) - cut)
    path.write_bytes(whole[:kept])
    complete = whole[:kept].count(b"\n")
    log = ResponseLog(path)
    assert len(log) == complete
    assert log.repaired == (kept > 0 and not whole[:kept].endswith(b"\n"))
    assert [log.answered(f"{n:032x}") for n in range(8)] == [n < complete for n in range(8)]
    for n in range(complete, 8):
        log.append(answer(n, text=f"text {n}"))
    log.close()
    assert path.read_bytes() == whole


def test_a_damaged_line_in_the_middle_is_named_and_nothing_is_touched(tmp_path):
    path = tmp_path / "r.jsonl"
    log_with(path, 3).close()
    lines = path.read_bytes().splitlines(keepends=True)
    lines[1] = b'{"key": 12\n'
    path.write_bytes(b"".join(lines))
    with pytest.raises(StoreError, match="line 2"):
        ResponseLog(path)
    assert path.read_bytes() == b"".join(lines)


def test_errors_are_asked_again_and_replaced(tmp_path):
    log = ResponseLog(tmp_path / "r.jsonl")
    log.append(answer(1, text="", finish="error", error="broken"))
    assert not log.answered(f"{1:032x}")
    assert log.errors() == 1
    assert list(log.read([f"{1:032x}"])) == [None]
    log.append(answer(1, text="B"))
    log.append(answer(1, text="", finish="error", error="late"))
    assert log.errors() == 0
    log.close()
    again = ResponseLog(tmp_path / "r.jsonl")
    assert [r.text for r in again.read([f"{1:032x}"])] == ["B"]


def test_strict_json(tmp_path):
    write_json(tmp_path / "x.json", {"a": float("nan")})
    assert (tmp_path / "x.json").read_text() == '{\n  "a": null\n}\n'
    (tmp_path / "y.json").write_text("{nope")
    with pytest.raises(StoreError, match=r"y\.json"):
        read_json(tmp_path / "y.json")
    assert read_json(tmp_path / "z.json") is None


def test_text_of_any_kind_round_trips(tmp_path):
    log = ResponseLog(tmp_path / "r.jsonl")
    text = 'line\nbreak "quote" \\ \u2028 \U0001f3b5 \x00'
    log.append(answer(1, text=text, usage={"n": 1}, scores={"A": -0.5}))
    (back,) = log.read([f"{1:032x}"])
    assert (back.text, back.usage, back.scores) == (text, {"n": 1}, {"A": -0.5})
    assert len(orjson.loads((tmp_path / "r.jsonl").read_bytes())) > 3


def test_half_a_surrogate_pair_does_not_stop_a_run(tmp_path):
    log = ResponseLog(tmp_path / "r.jsonl")
    log.append(answer(1, text="A \ud83c"))
    (back,) = log.read([f"{1:032x}"])
    assert back.text == "A ?"


def _hold(path, ready):
    with RunFolder(path):
        ready.set()
        signal.pause()


def test_a_folder_has_one_owner_and_a_dead_one_lets_go(tmp_path):
    ready = multiprocessing.get_context("fork").Event()
    holder = multiprocessing.get_context("fork").Process(target=_hold, args=(tmp_path, ready))
    holder.start()
    assert ready.wait(10)
    with pytest.raises(StoreError, match="another process"), RunFolder(tmp_path):
        pass
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    with RunFolder(tmp_path) as folder:
        folder.save_state(status="running")
        assert folder.state() == {"status": "running"}
