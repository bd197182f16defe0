"""model=api against a real server: `transformers serve` with a tiny Qwen2-Audio checkpoint."""

from __future__ import annotations

import importlib.util
import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

from lalm_bench.models.api import ApiModel
from lalm_bench.models.api_endpoint import Endpoint
from lalm_bench.models.hf import HFModel
from lalm_bench.types import Generation, Runtime
from tests.conftest import environment

LACKING = [m for m in ("fastapi", "uvicorn", "openai") if importlib.util.find_spec(m) is None]
pytestmark = pytest.mark.skipif(
    bool(LACKING), reason=f"transformers[serving] lacks {', '.join(LACKING)}"
)


@pytest.fixture(scope="module")
def served(checkpoint, tmp_path_factory):
    """(folder of the checkpoint, base URL) of a running server."""
    folder = checkpoint("qwen2_audio")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("serve") / "log.txt"
    start = "from transformers.cli.transformers import main; main()"
    with log.open("w") as out:
        process = subprocess.Popen(
            [
                *(sys.executable, "-c", start, "serve", str(folder)),
                *("--host", "127.0.0.1", "--port", str(port)),
                *("--device", "cpu", "--dtype", "float32"),
            ],
            stdout=out,
            stderr=subprocess.STDOUT,
            env=environment() | {"OMP_NUM_THREADS": "1"},
        )
    try:
        wait_until_healthy(process, f"http://127.0.0.1:{port}/health", log)
        yield folder, f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(30)


def wait_until_healthy(process, url, log):
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=5)
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.2)
        else:
            return
    raise AssertionError(f"the server did not start: {log.read_text()[-2000:]}")


def model(served, **fields):
    folder, url = served
    made = ApiModel(
        served_name=str(folder),
        name="api",
        endpoint=Endpoint(url, max_in_flight=4, max_retries=1, backoff_s=0.05, timeout_s=60),
        deployment=url,
        **fields,
    )
    made.load(Runtime(workers=2))
    return made


@pytest.fixture
def requests(ask, clips):
    drawn = Generation(max_new_tokens=12)
    asked = [
        ask(f"clip{n}", "Which event?", path, generation=drawn) for n, path in enumerate(clips)
    ]
    return [
        *asked,
        ask("two", "Compare them.", clips[0], clips[2], generation=drawn),
        ask("text", "Answer with the letter only.", generation=drawn),
    ]


@pytest.mark.parametrize("form", ["input_audio", "audio_url"])
def test_the_server_answers_what_the_network_in_this_process_answers(served, requests, form):
    """Exact: the same weights, and float samples that lose nothing on the way."""
    remote = model(served, audio_form=form, sample_format="float32")
    heard = {r.sample_id: r for r in remote.answer(requests)}
    local = HFModel(name="local", path=str(served[0]), dtype="float32")
    local.load(Runtime(device="cpu", batch_size=4, workers=1))
    expected = {r.sample_id: r for r in local.answer(requests)}
    assert {k: (r.text, r.finish) for k, r in heard.items()} == {
        k: (r.text, r.finish) for k, r in expected.items()
    }
    assert len({r.text for r in heard.values()}) > 3
    for name, answer in heard.items():
        for count in ("input_tokens", "output_tokens"):
            assert answer.usage[count] == expected[name].usage[count], (name, count)


def test_a_model_that_the_server_does_not_have_is_an_error_that_says_so(served, requests):
    other = model((f"{served[0]}-other", served[1]))
    answers = list(other.answer(requests))
    assert {a.finish for a in answers} == {"error"}
    assert "Server is pinned to" in answers[0].error


def test_a_field_that_the_server_refuses_is_an_error_that_says_so(served, requests):
    (answer,) = model(served, extra_body={"top_k": 5}).answer(requests[:1])
    assert answer.finish == "error"
    assert "Unexpected fields in the request: {'top_k'}" in answer.error


def test_a_whole_run_through_the_command_line(served, bench, run_folders):
    folder, url = served
    bench(
        *("task=mcq_synthetic", "limit=8", "tracking=none", "figures=false"),
        *("model=api", f"model.served_name={folder}", "model.name=tiny"),
        *(f"model.endpoint.base_url={url}", "model.endpoint.max_in_flight=4"),
        check=0,
    )
    (done,) = run_folders().values()
    rows = [json.loads(line) for line in (done / "responses.jsonl").read_text().splitlines()]
    assert len(rows) == 8
    assert {r["finish"] for r in rows} <= {"stop", "length"}
    assert all(r["usage"]["input_tokens"] > 40 and r["usage"]["audio_s"] > 0.3 for r in rows)
