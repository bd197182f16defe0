"""A server that misbehaves on purpose: nothing is lost, nothing is asked again after its answer."""

from __future__ import annotations

import email.utils
import socket
import threading
import time

import pytest

from lalm_bench.errors import ModelError
from lalm_bench.models.api import ApiModel
from lalm_bench.models.api_endpoint import Endpoint
from lalm_bench.types import Message, Request, Runtime, Text
from tests.openai_server import Server, running

PASSING = ("429", "500", "drop", "garbage", "drip")


def requests(count):
    return [
        Request(f"item{n}", (Message("user", (Text(f"question {n}"),)),), key=f"key{n}")
        for n in range(count)
    ]


def model(url, **endpoint):
    settings = {"backoff_s": 0.01, "timeout_s": 30.0, "max_in_flight": 16, **endpoint}
    made = ApiModel(
        served_name="served", name="api", endpoint=Endpoint(url, **settings), deployment=url
    )
    made.load(Runtime(workers=2))
    return made


def no_threads_left():
    return not [t for t in threading.enumerate() if t.name.startswith(("asking", "prepare"))]


@pytest.mark.parametrize("kind", [*PASSING, "all"])
def test_every_answer_arrives_once_whatever_goes_wrong_first(kind):
    """Each request fails twice before it is answered; `all` mixes the ways."""

    def fault(number, before, body):
        if before >= 2:
            return None
        return PASSING[(number + before) % len(PASSING)] if kind == "all" else kind

    count = 40
    server = Server(fault=fault)
    with running(server) as url:
        asked = model(url, max_in_flight=count, timeout_s=1.5 if kind in ("drip", "all") else 30)
        answers = list(asked.answer(requests(count)))
    assert sorted(a.sample_id for a in answers) == sorted(f"item{n}" for n in range(count))
    assert {a.finish for a in answers} == {"stop"}
    assert list(server.successes.values()) == [1] * count
    assert set(server.attempts.values()) == {3}
    names = {"drop": "dropped", "drip": "timeout"}
    causes = [names.get(k, k) for k in (PASSING if kind == "all" else (kind,))]
    retries = asked.report()["retries"]
    assert set(retries) == set(causes)
    assert sum(retries.values()) == 2 * count
    assert no_threads_left()


def test_an_answer_keeps_its_item_when_others_are_retried():
    """The reply repeats the question, so a mix-up would show."""

    def reply(asked):
        text = asked["messages"][0]["content"]
        return {"choices": [{"message": {"content": text}, "finish_reason": "stop"}]}

    server = Server(fault=lambda n, before, body: "500" if before < n % 3 else None, reply=reply)
    with running(server) as url:
        for answer in model(url).answer(requests(60)):
            assert answer.text == f"question {answer.sample_id.removeprefix('item')}"


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_kept_by_every_request(form):
    """One 429 that says when to come back stops all from asking until then."""
    later = "2"
    if form == "date":  # which has no fractions of a second
        later = email.utils.formatdate(time.time() + 3, usegmt=True)
    refused_at = []

    def fault(number, before, body):
        if number == 5 and before == 0:
            refused_at.append(time.monotonic())
            return "429_later"
        return None

    server = Server(latency=0.05, fault=fault, retry_after=later)
    with running(server) as url:
        answers = list(model(url, max_in_flight=4).answer(requests(40)))
    assert {a.finish for a in answers} == {"stop"}
    (moment,) = refused_at
    asked = sorted(m for moments in server.moments.values() for m in moments)
    assert not [m for m in asked if moment + 0.8 < m < moment + 1.5]
    assert server.attempts.total() == 41


def test_a_wait_of_hours_is_told_rather_than_waited_for():
    server = Server(fault=lambda *_: "429_later", retry_after="7200")
    with running(server) as url, pytest.raises(ModelError, match=r"asks to wait 7200 s"):
        list(model(url).answer(requests(5)))


def test_a_refused_request_is_an_error_of_its_own_and_not_asked_again():
    server = Server(fault=lambda number, *_: "400" if number % 4 == 0 else None)
    with running(server) as url:
        asked = model(url)
        answers = list(asked.answer(requests(40)))
    failed = [a for a in answers if a.finish == "error"]
    assert len(failed) == 10
    assert {(a.text, a.error) for a in failed} == {
        ("", "the server refuses this request (400: test fault 400; key ***)")
    }
    assert set(server.attempts.values()) == {1}
    assert asked.report()["refused"] == 10


@pytest.mark.parametrize("kind", PASSING)
def test_a_request_that_never_succeeds_is_an_error_and_harms_no_other(kind):
    server = Server(fault=lambda number, *_: kind if number == 7 else None)
    with running(server) as url:
        answers = list(model(url, max_retries=2, timeout_s=1.5).answer(requests(30)))
    (failed,) = [a for a in answers if a.finish == "error"]
    assert "no answer in 3 attempts, the last: " in failed.error
    assert "sk-abc" not in failed.error
    assert len(answers) == 30
    assert sorted(server.attempts.values()) == [1] * 29 + [3]


@pytest.mark.parametrize("set_key", [True, False])
def test_a_refused_key_ends_the_run_at_once(monkeypatch, set_key):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    if set_key:
        monkeypatch.setenv("OPENAI_API_KEY", "topsecret")
    server = Server(fault=lambda *_: "401")
    with running(server) as url, pytest.raises(ModelError) as refusal:
        list(model(url, max_in_flight=4).answer(requests(1000)))
    text = str(refusal.value)
    assert "access is refused (401: test fault 401; key ***); OPENAI_API_KEY" in text
    assert ("not valid there" in text) == set_key
    assert "topsecret" not in text
    assert len(server.attempts) < 12
    assert no_threads_left()


def test_an_unreachable_server_ends_the_run_at_once():
    with socket.socket() as held:  # bound, never listening
        held.bind(("127.0.0.1", 0))
        began = time.monotonic()
        with pytest.raises(ModelError, match=r"cannot be reached .*start the server"):
            list(model(f"http://127.0.0.1:{held.getsockname()[1]}/v1").answer(requests(1000)))
    assert time.monotonic() - began < 2
    assert no_threads_left()


def test_an_unknown_address_ends_the_run_at_once():
    with pytest.raises(ModelError, match="cannot be reached"):
        list(model("http://no-such-host.invalid/v1").answer(requests(10)))


def test_a_server_that_dies_half_way_ends_the_run_and_loses_no_answer():
    server = Server(latency=0.005)
    with running(server) as url:
        answers = model(url, max_in_flight=4, max_retries=3).answer(requests(10_000))
        taken = [next(answers) for _ in range(50)]
    with pytest.raises(ModelError, match="cannot be reached"):
        taken.extend(answers)
    assert 50 <= len(taken) <= 54
    assert {a.finish for a in taken} == {"stop"}
    assert server.successes.total() <= len(taken) + 4
    assert no_threads_left()


def test_a_server_that_restarts_is_waited_for():
    first, second = Server(latency=0.01), Server()
    taken = []
    with running(first) as url:
        port = int(url.rpartition(":")[2].removesuffix("/v1"))
        answers = model(url, max_in_flight=4, backoff_s=0.2).answer(requests(60))
        taken.extend(next(answers) for _ in range(20))
    with running(second, port):
        taken.extend(answers)
    assert sorted(a.sample_id for a in taken) == sorted(f"item{n}" for n in range(60))
    assert {a.finish for a in taken} == {"stop"}


def test_the_adaptive_limit_settles_below_what_the_server_refuses():
    """More than ten at once get 429; a fixed limit of 64 would be refused most of the time."""
    server = Server(latency=0.01)
    server.fault = lambda *_: "429" if server.busy > 10 else None
    with running(server) as url:
        asked = model(url, max_in_flight="adaptive", max_retries=20, backoff_s=0.02)
        answers = list(asked.answer(requests(600)))
    assert {a.finish for a in answers} == {"stop"}
    assert asked.report()["in_flight_limit"] <= 16
    assert asked.report()["retries"]["429"] < 200


def test_closing_early_leaves_nothing_behind(recwarn, caplog):
    server = Server()
    with running(server) as url:
        answers = model(url, timeout_s=60.0).answer(requests(100))
        next(answers)
        server.latency = 30.0
        began = time.monotonic()
        answers.close()
        assert time.monotonic() - began < 2
        assert no_threads_left()
    assert not recwarn.list
    assert not caplog.records
