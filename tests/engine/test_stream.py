"""Streams of responses: batches within bounds, and failures stay with their item.

The network is a stand-in that notes what it is given; real ones are in `test_resident`.
"""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lalm_bench.engine.budget import Budget
from lalm_bench.engine.stream import READ_AT_ONCE, Prepared, Traffic, stream
from lalm_bench.errors import AudioError, ConfigError, ModelError
from lalm_bench.types import Generation, Request, Response, Runtime

CPU = torch.device("cpu")


def request(number, **fields):
    return Request(f"i{number}", (), key=f"k{number}", variant="v", **fields)


REQUESTS = [request(n) for n in range(7)]


class Network:
    """Answers every request with its key; fails as told.

    Parameters
    ----------
    most : int
        Rows (or tokens, given by `weight`) beyond which `torch.OutOfMemoryError` is raised.
    where : str
        read or finish: when that shows.
    bad : set of str
        Keys whose batch fails with `error`, always.
    """

    def __init__(self, most=10**9, where="finish", bad=(), error=None, weight=None):
        self.most, self.where, self.bad, self.error = most, where, set(bad), error
        self.weight = weight or (lambda items: len(items))
        self.batches, self.pieces, self.seconds = [], [], {}

    def begin(self, first):
        return _Batch(self, first)


class _Batch:
    def __init__(self, network, first):
        self.network, self.first, self.items, self.sizes = network, first, [], []

    def read(self, items):
        assert self.items or items[0] is self.first
        self.items += items
        self.sizes.append(len(items))
        self._fail("read")

    def finish(self):
        self._fail("finish")
        self.network.batches.append([item.request for item in self.items])
        self.network.pieces.append(self.sizes)
        self.network.seconds |= {item.request.key: item.seconds for item in self.items}
        time.sleep(0.001 * len(self.items))
        return [
            Response(r.key, r.sample_id, r.key, variant=r.variant, timing={"decode_s": 0.001})
            for r in (item.request for item in self.items)
        ]

    def _fail(self, where):
        network = self.network
        if where != network.where:
            return
        if network.weight(self.items) > network.most:
            raise torch.OutOfMemoryError("full")
        if {item.request.key for item in self.items} & network.bad:
            raise network.error


def prepared(tokens=10, audio=None, beginning=0):
    """`prepare` for prompts of `tokens` tokens; each may be a function of the request."""

    def prepare(request):
        of = lambda given: given(request) if callable(given) else given  # noqa: E731
        ids = torch.zeros(1, of(tokens), dtype=torch.long)
        return Prepared(request, {"input_ids": ids}, audio=of(audio), beginning=of(beginning))

    return prepare


def run(network=None, requests=REQUESTS, prepare=None, **given):
    options = {
        "runtime": Runtime("cpu", given.pop("batch_size", 4), 2),
        "budget": Budget(CPU, given.pop("batch_tokens", None)),
        "traffic": Traffic(),
        **given,
    }
    network = network or Network()
    return list(stream(requests, prepare or prepared(), network.begin, **options))


def sizes(network):
    return [len(batch) for batch in network.batches]


def answered(got, requests=REQUESTS):
    """Keys whose response is an answer; every request has one response that is its own."""
    assert sorted(r.key for r in got) == sorted(r.key for r in requests)
    own = {r.key: r for r in requests}
    assert all((r.sample_id, r.variant) == (own[r.key].sample_id, "v") for r in got)
    assert all(r.text == (r.key if r.error is None else "") for r in got)
    assert all((r.finish == "error") == (r.error is not None) for r in got)
    return {r.key for r in got if r.error is None}


# ------------------------------------------------------------------------------- batches


def test_every_request_gets_one_response_in_order():
    network, traffic = Network(), Traffic()
    got = run(network, traffic=traffic)
    assert [r.key for r in got] == [r.key for r in REQUESTS]
    assert answered(got) == {r.key for r in REQUESTS}
    assert sizes(network) == [4, 3]
    report = traffic.report()
    assert (report["batches"], report["requests"], report["largest_batch"]) == (2, 7, 4)
    assert report["answering_s"] >= report["waiting_for_features_s"] >= 0
    assert 0 <= report["idle_share"] <= 1
    assert traffic.busy_s == pytest.approx(7 * 0.001)


def test_traffic_adds_up_over_calls():
    traffic = Traffic()
    assert traffic.report()["idle_share"] is None
    run(traffic=traffic)
    first = traffic.wall_s
    run(traffic=traffic)
    assert traffic.wall_s > first > 0
    assert (traffic.batches, traffic.rows) == (4, 14)


def test_no_request_is_no_batch():
    network = Network()
    assert run(network, requests=[]) == []
    assert network.batches == []


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 3000), min_size=1, max_size=30),
    st.integers(1, 9),
    st.integers(1, 20_000),
)
def test_batches_keep_to_rows_and_tokens_and_fill_them(tokens, batch_size, batch_tokens):
    requests = [request(n, generation=Generation(16)) for n in range(len(tokens))]
    length = {r.key: t + 16 for r, t in zip(requests, tokens, strict=True)}
    network = Network()
    got = run(
        network,
        requests,
        prepared(lambda r: length[r.key] - 16),
        batch_size=batch_size,
        batch_tokens=batch_tokens,
    )
    assert answered(got, requests) == set(length)
    weights = [[length[r.key] for r in batch] for batch in network.batches]
    for batch in weights:
        assert len(batch) <= batch_size
        assert len(batch) == 1 or len(batch) * max(batch) <= batch_tokens
    for batch, following in pairwise(weights):
        more = [*batch, following[0]]
        assert len(more) > batch_size or len(more) * max(more) > batch_tokens


def test_only_equal_settings_share_a_batch_whatever_their_seeds():
    drawn = [Generation(16, 0.7, seed=seed) for seed in (1, 2, 3)]
    generations = [Generation(16), Generation(16), *drawn, Generation(16, 0.6, seed=4)]
    requests = [request(n, generation=g) for n, g in enumerate(generations)]
    network = Network()
    assert len(answered(run(network, requests), requests)) == 6
    assert sizes(network) == [2, 3, 1]


def test_only_alike_items_share_a_batch():
    network = Network()
    run(network, alike=lambda item: item.request.key in ("k0", "k3"))
    keys = [[r.key for r in batch] for batch in network.batches]
    assert keys == [["k0"], ["k1", "k2"], ["k3"], ["k4", "k5", "k6"]]


def test_responses_come_before_all_items_are_prepared():
    seen = []

    def prepare(request):
        seen.append(request)
        return prepared()(request)

    many = [request(n) for n in range(60)]
    given = {"runtime": Runtime("cpu", 2, 1), "budget": Budget(CPU), "traffic": Traffic()}
    responses = stream(many, prepare, Network().begin, **given)
    next(responses)
    assert len(seen) < 20
    responses.close()


# -------------------------------------------------------------------------- forward passes


def test_prompts_are_read_in_passes_of_bounded_size():
    network = Network()
    run(network, prepare=prepared(READ_AT_ONCE // 3), batch_tokens=10**6, batch_size=7)
    assert network.pieces == [[2, 2, 2, 1]], "three and their answers exceed a pass"
    network = Network()
    run(network, prepare=prepared(READ_AT_ONCE + 5), batch_tokens=10**6, batch_size=3)
    assert network.pieces == [[1, 1, 1], [1, 1, 1], [1]]


def test_prompts_on_one_clip_share_a_pass_in_which_it_counts_once():
    requests = [request(n) for n in range(9)]
    size = READ_AT_ONCE // 2
    prepare = prepared(size, audio=lambda r: r.key < "k5", beginning=size - 10)
    network = Network()
    run(network, requests, prepare, batch_tokens=10**6, batch_size=9)
    assert network.pieces == [[5, 4]]
    own = prepared(size, audio=lambda r: r.key, beginning=size - 10)
    network = Network()
    run(network, requests, own, batch_tokens=10**6, batch_size=9)
    assert network.pieces == [[1] * 9]


# ------------------------------------------------------------------------------- failures


@pytest.mark.parametrize(
    "error",
    [AudioError("x: too\nquiet"), ModelError("x: too quiet"), ValueError("x: too quiet"),
     RuntimeError("x: too quiet"), IndexError("x: too quiet")],
)  # fmt: skip
def test_an_item_that_cannot_be_prepared_is_an_error_response(error):
    def prepare(request):
        if request.key == "k2":
            raise error
        return prepared()(request)

    network = Network()
    got = run(network, prepare=prepare)
    assert answered(got) == {r.key for r in REQUESTS} - {"k2"}
    (bad,) = (r for r in got if r.error)
    foreign = not isinstance(error, AudioError | ModelError)
    assert bad.error == f"{type(error).__name__}: x: too quiet" if foreign else "x: too quiet"
    assert sizes(network) == [4, 2], "it takes no place in a batch"


def test_what_is_no_items_fault_is_not_taken_for_one():
    def prepare(request):
        raise KeyError("a mistake of ours")

    with pytest.raises(KeyError):
        run(prepare=prepare)


@pytest.mark.parametrize("where", ["read", "finish"])
@pytest.mark.parametrize(
    "error", [RuntimeError("bad item"), ModelError("bad item"), torch.OutOfMemoryError("bad item")]
)
def test_a_batch_that_fails_is_halved_down_to_the_item(where, error):
    network = Network(where=where, bad={"k1"}, error=error)
    budget = Budget(CPU)
    got = run(network, budget=budget)
    assert answered(got) == {r.key for r in REQUESTS} - {"k1"}
    (bad,) = (r for r in got if r.error)
    assert bad.error.endswith("bad item")
    if isinstance(error, torch.OutOfMemoryError):
        # Of 4, of 2; the one alone is not too large, it is broken.
        assert (budget.halved, sizes(network)) == (2, [1, 2, 1, 1, 1])
    else:
        assert (budget.halved, sizes(network)) == (0, [1, 2, 3])


@pytest.mark.parametrize("where", ["read", "finish"])
def test_a_batch_that_does_not_fit_is_halved_and_so_is_the_budget(where):
    requests = [request(n, generation=Generation(16)) for n in range(64)]
    network, budget, traffic = Network(most=10, where=where), Budget(CPU, 100_000), Traffic()
    got = run(network, requests, prepared(84), budget=budget, batch_size=32, traffic=traffic)
    assert [r.key for r in got] == [r.key for r in requests]
    assert answered(got, requests) == {r.key for r in requests}
    # 32 rows of 100 tokens fail, then twice 16; then 8 fit, and so does what follows.
    assert budget.halved == 3
    assert budget.tokens == 32 * 100 // 2 // 2 // 2 == 400
    assert sizes(network) == [8] * 4 + [4] * 8
    assert traffic.report()["requests"] == 64


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 400), min_size=1, max_size=25),
    st.integers(50, 3000),
    st.sets(st.integers(0, 24)),
    st.sampled_from(["read", "finish"]),
)
def test_nothing_is_lost_or_answered_twice_whatever_fails(tokens, memory, bad, where):
    requests = [request(n) for n in range(len(tokens))]
    length = {r.key: t for r, t in zip(requests, tokens, strict=True)}
    broken = {f"k{n}" for n in bad} & set(length)
    network = Network(
        memory,
        where,
        broken,
        RuntimeError("bad"),
        lambda items: len(items) * max(length[i.request.key] for i in items),
    )
    budget = Budget(CPU)
    got = run(network, requests, prepared(lambda r: length[r.key]), budget=budget, batch_size=8)
    too_long = {key for key, size in length.items() if size > memory}
    assert answered(got, requests) == set(length) - broken - too_long
    assert sum(map(len, network.batches)) == len(answered(got, requests))


@pytest.mark.parametrize("where", ["read", "finish"])
@pytest.mark.parametrize("error", [ConfigError("no seed"), torch.AcceleratorError("device lost")])
def test_what_no_item_is_to_blame_for_ends_the_run(where, error):
    network = Network(where=where, bad={"k5"}, error=error)
    with pytest.raises(type(error)):
        run(network)
    assert network.batches == [REQUESTS[:4]], "the batch before it was answered"


def test_preparing_is_timed_for_each_item_and_is_not_the_networks_time():
    def prepare(request):
        time.sleep(0.03 if request.key == "k1" else 0)
        return prepared()(request)

    network, traffic = Network(), Traffic()
    run(network, prepare=prepare, traffic=traffic)
    assert network.seconds["k1"] >= 0.03 > max(v for k, v in network.seconds.items() if k != "k1")
    assert traffic.waited_s > 0.02
    assert 0 < traffic.busy_s < traffic.wall_s - traffic.waited_s
