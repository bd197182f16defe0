"""Streams of responses: failures stay with their item."""

from __future__ import annotations

import pytest
import torch

from lalm_bench.engine.stream import Prepared, stream
from lalm_bench.errors import AudioError, ConfigError
from lalm_bench.types import Request, Response, Runtime

REQUESTS = [Request(f"i{i}", (), key=f"k{i}", variant="v") for i in range(7)]


def prepared(request):
    return Prepared(request, {})


def answered(items):
    return [Response(p.request.key, p.request.sample_id, "A", variant="v") for p in items]


def run(prepare=prepared, respond=answered, requests=REQUESTS, **options):
    options = {"runtime": Runtime("cpu", 4, 2), "length": lambda r: 1.0, **options}
    return list(stream(requests, prepare, respond, **options))


def test_every_request_gets_one_response_with_its_times():
    got = run()
    assert sorted(r.key for r in got) == [r.key for r in REQUESTS]
    assert all(set(r.timing) == {"featurise_s", "generate_s"} for r in got)


def test_responses_come_before_all_items_are_prepared():
    seen = []

    def prepare(request):
        seen.append(request)
        return prepared(request)

    many = [Request(str(i), (), key=f"{i:03}") for i in range(60)]
    runtime = Runtime("cpu", 2, 1)
    responses = stream(many, prepare, answered, runtime=runtime, length=lambda r: 1.0)
    next(responses)
    assert len(seen) < 20
    responses.close()


@pytest.mark.parametrize("error", [AudioError("x: too quiet"), ValueError("x: too quiet")])
def test_an_item_that_cannot_be_prepared_is_an_error_response(error):
    def prepare(request):
        if request.key == "k2":
            raise error
        return prepared(request)

    got = {r.key: r for r in run(prepare)}
    assert got["k2"].finish == "error"
    assert got["k2"].text == ""
    assert got["k2"].variant == "v"
    assert "too quiet" in got["k2"].error
    assert ("ValueError" in got["k2"].error) == isinstance(error, ValueError)
    assert sum(r.error is None for r in got.values()) == 6


@pytest.mark.parametrize("error", [RuntimeError("bad item"), torch.OutOfMemoryError("full")])
def test_a_batch_that_fails_is_halved_down_to_the_item(error):
    sizes = []

    def respond(items):
        sizes.append(len(items))
        if any(p.request.key == "k1" for p in items):
            raise error
        return answered(items)

    got = {r.key: r for r in run(respond=respond)}
    assert [k for k, r in got.items() if r.finish == "error"] == ["k1"]
    assert len(got) == len(REQUESTS)
    assert max(sizes) == 4


def test_too_large_batches_are_answered_in_smaller_ones():
    def respond(items):
        if len(items) > 2:
            raise torch.OutOfMemoryError("full")
        return answered(items)

    assert all(r.error is None for r in run(respond=respond))


@pytest.mark.parametrize("error", [ConfigError("no seed"), torch.AcceleratorError("device lost")])
def test_what_no_item_is_to_blame_for_ends_the_run(error):
    def respond(items):
        raise error

    with pytest.raises(type(error)):
        run(respond=respond)


def test_only_alike_items_share_a_batch():
    groups = []

    def respond(items):
        groups.append({p.request.key for p in items})
        return answered(items)

    run(respond=respond, alike=lambda p: p.request.key in ("k0", "k3"))
    assert all(g <= {"k0", "k3"} or not g & {"k0", "k3"} for g in groups)
