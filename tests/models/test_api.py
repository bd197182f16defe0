"""model=api: what it sends, what it reads, what it is; against a stand-in server over HTTP."""

from __future__ import annotations

import io
import json
import math
import threading

import numpy as np
import orjson
import pytest
import soundfile

from lalm_bench import audio
from lalm_bench.errors import ConfigError, ModelError
from lalm_bench.identity import Sealer
from lalm_bench.models import api_chat
from lalm_bench.models.api import ApiModel
from lalm_bench.models.api_endpoint import Endpoint, Traffic
from lalm_bench.types import (
    Audio,
    AudioRef,
    AudioSource,
    Choice,
    Generation,
    Message,
    Request,
    Runtime,
    Text,
)
from tests.openai_server import Server, clips, running

CHOICES = (Choice("A", "one"), Choice("B", "two"))


def model(url="http://localhost:8000/v1", endpoint=None, **fields):
    at = Endpoint(url, **{"backoff_s": 0.01, **(endpoint or {})})
    made = ApiModel(served_name="served", name="api", endpoint=at, deployment=url, **fields)
    made.load(Runtime(workers=2))
    return made


def exchange(requests, server=None, endpoint=None, **fields):
    """Responses by sample id, the server, and the model."""
    server = server or Server()
    with running(server) as url:
        asked = model(url, endpoint, **fields)
        answers = {r.sample_id: r for r in asked.answer(requests)}
    return answers, server, asked


def spoken(*paths, text="Which?", system=None, **fields):
    heard = [Audio(AudioSource(AudioRef(str(p)))) for p in paths]
    turns = [Message("user", (*heard, Text(text)))]
    if system:
        turns.insert(0, Message("system", (Text(system),)))
    return Request("item", tuple(turns), CHOICES, key="key", **fields)


@pytest.mark.parametrize("form", ["input_audio", "audio_url"])
def test_the_server_hears_the_rendered_clip(wav, form):
    path = wav(rate=44100, seconds=0.5, channels=2)
    answers, server, _ = exchange([spoken(path)], audio_form=form)
    (body,) = server.bodies
    assert [p["type"] for p in body["messages"][0]["content"]] == [form, "text"]
    wave, rate = soundfile.read(io.BytesIO(clips(body)[0]), dtype="float32")
    expected = audio.render(AudioSource(AudioRef(str(path))), 16000)
    assert rate == 16000
    np.testing.assert_allclose(wave, expected, atol=1 / 32000)
    assert np.abs(wave).max() > 0.2
    assert answers["item"].usage["audio_s"] == pytest.approx(0.5)


def test_float_samples_arrive_unchanged(wav):
    path = wav(rate=16000)
    _, server, _ = exchange([spoken(path)], sample_format="float32")
    wave, _ = soundfile.read(io.BytesIO(clips(server.bodies[0])[0]), dtype="float32")
    assert (wave == audio.render(AudioSource(AudioRef(str(path))), 16000)).all()


def test_pcm16_clips_what_is_too_loud_instead_of_wrapping_round():
    file = api_chat.wav(np.array([0.0, 2.0, -2.0], np.float32), 8000, "pcm16")
    wave, rate = soundfile.read(io.BytesIO(file), dtype="int16")
    assert wave.tolist() == [0, 32767, -32767]
    assert rate == 8000


def test_parts_keep_their_order_and_text_turns_are_strings(wav):
    first, second = wav("1.wav", pitch=300.0), wav("2.wav", seconds=2.0)
    parts = (
        Text("Compare"),
        Audio(AudioSource(AudioRef(str(first)))),
        Text("with"),
        Audio(AudioSource(AudioRef(str(second)))),
    )
    turns = (Message("system", (Text("Be "), Text("brief."))), Message("user", parts))
    _, server, _ = exchange([Request("item", turns, key="key")])
    system, user = server.bodies[0]["messages"]
    assert system == {"role": "system", "content": "Be brief."}
    kinds = [p["type"] for p in user["content"]]
    assert kinds == ["text", "input_audio", "text", "input_audio"]
    assert [len(c) for c in clips(server.bodies[0])] == [44 + 32000, 44 + 64000]


def test_a_deaf_model_sends_words_alone(wav):
    _, server, deaf = exchange([spoken(wav())], audio_form="none")
    assert deaf.rate is None
    assert server.bodies[0]["messages"] == [{"role": "user", "content": "Which?"}]


def test_a_folded_system_turn(wav):
    request = spoken(wav(), system="Be brief.")
    _, server, _ = exchange([request], system_role="prepend")
    (turn,) = server.bodies[0]["messages"]
    assert [p.get("text") for p in turn["content"]] == ["Be brief.", "\n\n", None, "Which?"]


def test_generation_settings_and_extra_fields():
    request = spoken(generation=Generation(32, 0.7, 0.9, seed=2**40 + 5))
    extra = {"top_p": None, "chat_template_kwargs": {"enable_thinking": False}}
    _, server, _ = exchange([request], extra_body=extra)
    (body,) = server.bodies
    del body["messages"]
    assert body == {
        "model": "served",
        "max_tokens": 32,
        "temperature": 0.7,
        "seed": 5,
        "chat_template_kwargs": {"enable_thinking": False},
    }
    _, server, _ = exchange([spoken()], length_field="max_completion_tokens")
    assert server.bodies[0]["max_completion_tokens"] == 16
    assert {"max_tokens", "seed"}.isdisjoint(server.bodies[0])


def test_the_answer_with_its_counts_and_times(wav):
    def reply(asked):
        usage = {
            "prompt_tokens": 70,
            "completion_tokens": 3,
            "prompt_tokens_details": {"audio_tokens": 25, "cached_tokens": 0},
        }
        message = {"role": "assistant", "content": "B) two"}
        return {"choices": [{"message": message, "finish_reason": "length"}], "usage": usage}

    prices = {"input": 2.0, "audio": 40.0, "output": 10.0}
    found, _, asked = exchange([spoken(wav())], Server(reply=reply), {"prices": prices})
    answer = found["item"]
    assert (answer.key, answer.text, answer.finish) == ("key", "B) two", "length")
    counts = {"input_tokens": 70, "output_tokens": 3, "audio_tokens": 25}
    assert answer.usage == counts | {"audio_s": 1.0, "truncated_s": 0.0}
    assert answer.timing.keys() == {"prepare_s", "request_s"}
    report = asked.report()
    json.dumps(report)
    assert report["cost"] == pytest.approx((45 * 2 + 25 * 40 + 3 * 10) / 1e6)
    assert {name: report[name] for name in counts} == counts
    assert (report["requests"], report["connections"], report["retries"]) == (1, 1, {})


def test_audio_without_a_price_of_its_own_costs_what_text_does():
    traffic = Traffic()
    traffic.tokens.update(input_tokens=100, output_tokens=10, audio_tokens=60)
    assert traffic.report({"input": 1.0, "output": 2.0})["cost"] == pytest.approx(120e-6)
    assert "cost" not in traffic.report(None)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"message": {"content": "A"}, "finish_reason": "stop"}, ("A", "stop")),
        ({"message": {"content": ""}, "finish_reason": "stop"}, ("", "stop")),
        (
            {"message": {"content": None, "refusal": "No."}, "finish_reason": "stop"},
            ("No.", "stop"),
        ),
        (
            {"message": {"content": [{"type": "text", "text": "A"}]}, "finish_reason": "length"},
            ("A", "length"),
        ),
        ({"message": {"content": "A"}, "finish_reason": "content_filter"}, "'content_filter'"),
        ({"message": {"content": None}, "finish_reason": "tool_calls"}, "'tool_calls'"),
        ({"message": {"content": "A"}}, "None"),
    ],
)
def test_how_an_answer_ends(choice, expected):
    found, _, _ = exchange([spoken()], Server(reply=lambda asked: {"choices": [choice]}))
    answer = found["item"]
    if isinstance(expected, str):
        assert (answer.finish, answer.text) == ("error", "")
        assert expected in answer.error
    else:
        assert (answer.text, answer.finish, answer.error) == (*expected, None)


def likely(*tokens):
    """A reply whose first token has these candidates (text, logprob)."""
    top = [{"token": token, "logprob": value} for token, value in tokens]
    logprobs = {"content": [{"token": "A", "logprob": -1.0, "top_logprobs": top}]}
    choice = {"message": {"content": "A"}, "finish_reason": "length", "logprobs": logprobs}
    return lambda asked: {"choices": [choice]}


LETTERS = Generation(mode="letter_likelihood")


def test_letters_are_compared_by_the_first_token():
    reply = likely((" B", math.log(0.3)), ("A", math.log(0.35)), ("B", math.log(0.1)), ("x", -9))
    found, server, _ = exchange([spoken(generation=LETTERS)], Server(reply=reply))
    answer = found["item"]
    assert answer.text == "B"
    assert answer.scores == pytest.approx({"A": math.log(0.35), "B": math.log(0.4)})
    assert answer.finish == "stop"
    body = server.bodies[0]
    assert (body["max_tokens"], body["logprobs"], body["top_logprobs"]) == (1, True, 20)


def test_a_label_that_the_server_does_not_tell_of_is_an_error_not_a_guess():
    found, _, _ = exchange([spoken(generation=LETTERS)], Server(reply=likely(("A", -0.1))))
    assert found["item"].finish == "error"
    assert "B not among the 20 likeliest" in found["item"].error


def test_a_server_without_logprobs_ends_the_run_at_once():
    requests = [spoken(text=f"{n}?", generation=LETTERS) for n in range(100)]
    server = Server()
    with pytest.raises(ModelError, match=r"gives no logprobs; use generation.mode=generate"):
        exchange(requests, server, {"max_in_flight": 4})
    assert len(server.attempts) < 12


def test_letters_without_options_are_an_error_of_the_item():
    request = Request("item", (Message("user", (Text("?"),)),), key="k", generation=LETTERS)
    found, server, _ = exchange([request])
    assert "the item has none" in found["item"].error
    assert not server.attempts


def test_an_unreadable_clip_is_an_error_of_its_item_alone(wav):
    broken = wav("broken.wav")
    broken.write_bytes(b"no audio")
    good = spoken(wav("good.wav"))
    bad = Request("bad", spoken(broken).messages, CHOICES, key="bad")
    found, server, _ = exchange([bad, good])
    assert found["item"].finish == "stop"
    assert "broken.wav: not readable" in found["bad"].error
    assert len(server.attempts) == 1


@pytest.mark.parametrize("overlong", ["error", "truncate"])
def test_nothing_is_cut_silently(wav, overlong):
    request = spoken(wav(seconds=3.0))
    found, server, _ = exchange([request], max_audio_s=2.0, overlong=overlong)
    if overlong == "error":
        assert "3.00 s are more than the 2 s" in found["item"].error
        assert not server.attempts
    else:
        assert found["item"].usage["truncated_s"] == pytest.approx(1.0)
        assert len(clips(server.bodies[0])[0]) == 44 + 64000


def test_many_requests_share_one_pool():
    requests = [spoken(text=f"{n}?") for n in range(300)]
    server = Server(latency=0.02)
    with running(server) as url:
        asked = model(url, {"max_in_flight": 16})
        assert sum(1 for _ in asked.answer(requests)) == 300
    assert server.peak <= 16
    assert server.connections <= 16
    assert set(server.successes.values()) == {1}
    report = asked.report()
    assert report["peak_in_flight"] == 16
    assert report["connections"] == server.connections
    assert report["requests_per_s"] > 50
    assert not [t for t in threading.enumerate() if t.name.startswith(("asking", "prepare"))]


def test_a_body_of_many_megabytes(wav):
    path = wav(seconds=180.0)
    _, server, _ = exchange([spoken(path)])
    assert len(clips(server.bodies[0])[0]) == 44 + 180 * 32000


def test_the_key_is_sent_and_shown_nowhere(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret-key")
    _, server, asked = exchange([spoken()])
    assert server.headers[0]["authorization"].endswith("sk-very-secret-key")
    assert "secret" not in repr(asked)
    assert "secret" not in json.dumps([asked.identity(), asked.report()])
    _, server, _ = exchange([spoken()], endpoint={"api_key_env": None})
    assert "authorization" not in server.headers[0]


def test_the_key_may_lie_in_a_dotenv_file(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OTHER_KEY", raising=False)
    (tmp_path / ".env").write_text('# mine\nOTHER_KEY="sk-from-file"\n')
    _, server, _ = exchange([spoken()], endpoint={"api_key_env": "OTHER_KEY"})
    assert server.headers[0]["authorization"] == "Bearer sk-from-file"
    monkeypatch.setenv("OTHER_KEY", "sk-from-environment")
    _, server, _ = exchange([spoken()], endpoint={"api_key_env": "OTHER_KEY"})
    assert server.headers[0]["authorization"] == "Bearer sk-from-environment"


def test_a_proxy_from_the_environment_is_used(monkeypatch):
    server = Server()
    with running(server) as url:
        monkeypatch.setenv("http_proxy", url.removesuffix("/v1"))
        monkeypatch.delenv("no_proxy", raising=False)
        (answer,) = model("http://models.invalid/v1").answer([spoken()])
    assert answer.finish == "stop"


def key(made, request):
    identity = made.identity()
    orjson.dumps(identity)
    return Sealer(identity, {}, made.rate, made.stochastic, 7).seal(request).key


@pytest.mark.parametrize(
    "endpoint",
    [
        {"max_in_flight": 3},
        {"max_in_flight": "adaptive"},
        {"timeout_s": 9.0},
        {"max_retries": 0},
        {"api_key_env": "OTHER"},
        {"prices": {"input": 1.0, "output": 1.0}},
    ],
)
def test_speed_keys_and_prices_do_not_change_the_identity(endpoint):
    assert key(model(endpoint=endpoint), spoken()) == key(model(), spoken())


@pytest.mark.parametrize(
    "fields",
    [
        {"audio_form": "audio_url"},
        {"audio_form": "none"},
        {"sample_format": "float32"},
        {"rate": 8000},
        {"system_role": "prepend"},
        {"extra_body": {"repetition_penalty": 1.0}},
        {"overlong": "truncate"},
        {"max_audio_s": 30},
    ],
)
def test_what_an_answer_depends_on_changes_the_identity(fields):
    assert key(model(**fields), spoken()) != key(model(), spoken())


def test_the_address_is_in_the_identity_without_its_password():
    plain, secret = model("http://host/v1/"), model("http://me:password@host/v1")
    assert plain.identity() == secret.identity()
    assert plain.identity()["deployment"] == "http://host/v1"
    assert plain.identity() != model("http://other/v1").identity()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"base_url": "localhost:8000"}, "base_url must be like"),
        ({"base_url": "http://host/v1?key=secret"}, "without a query"),
        ({"max_in_flight": 0}, "positive whole number or adaptive"),
        ({"max_in_flight": "many"}, "positive whole number or adaptive"),
        ({"timeout_s": 0}, "timeout_s"),
        ({"max_retries": -1}, "max_retries"),
        ({"prices": {"input": 1.0}}, "prices"),
        ({"prices": {"input": "cheap", "output": 1}}, "prices"),
        ({"prices": {"input": 1.0, "output": 1.0, "video": 1.0}}, "prices"),
    ],
)
def test_wrong_endpoint_settings_are_named(settings, message):
    with pytest.raises(ConfigError, match=message):
        Endpoint(**{"base_url": "http://host/v1", **settings})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"audio_form": "video"}, "audio_form=video must be one of input_audio"),
        ({"sample_format": "mp3"}, "sample_format"),
        ({"length_field": "tokens"}, "length_field"),
        ({"system_role": "drop"}, "system_role"),
        ({"extra_body": {"stream": True}}, "must not set stream"),
    ],
)
def test_wrong_settings_are_named(fields, message):
    with pytest.raises(ConfigError, match=message):
        model(**fields)
