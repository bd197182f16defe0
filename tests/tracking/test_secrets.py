"""Planted secrets, and everything that runs write searched for them."""

import pytest
from omegaconf import OmegaConf

from lalm_bench.errors import ConfigError
from lalm_bench.provenance import demand_secrets_apart, public

SMALL = ("model=random", "task.scenes=2", "figures=false")
PLANTED = {
    "MLFLOW_TRACKING_USERNAME": "somebody",
    "MLFLOW_TRACKING_PASSWORD": "planted-password-1",
    "MLFLOW_TRACKING_TOKEN": "",
    "OPENAI_API_KEY": "sk-planted-key-0000002",
    "HF_TOKEN": "hf_plantedtoken000003",
    "TRACKER_PASSWORD": "planted-in-uri-4",
}
SECRETS = [value.encode() for value in PLANTED.values() if "planted" in value]


def searched(folder):
    """Names of the files below the folder that hold a planted secret, and how many there are."""
    files = [p for p in folder.rglob("*") if p.is_file() and p.suffix != ".py"]
    return [str(p) for p in files if any(s in p.read_bytes() for s in SECRETS)], len(files)


def test_no_run_writes_a_secret(bench, tmp_path, server):
    (tmp_path / "telling.py").write_text(
        "import os\n"
        "from dataclasses import dataclass\n"
        "from lalm_bench.models.random import RandomModel\n"
        "@dataclass\n"
        "class Telling(RandomModel):\n"
        "    note: str = ''\n"
        "    def answer(self, requests):\n"
        "        raise RuntimeError(' '.join([self.note, *os.environ.values()]))\n"
    )
    uri = (
        "tracking.uri='http://me:${oc.env:TRACKER_PASSWORD}@"
        + server.uri.removeprefix("http://")
        + "'"
    )
    words = (*SMALL, uri)
    done = bench(*words, env=PLANTED, check=0)
    said = done.stdout + done.stderr
    telling = ("model._target_=telling.Telling", "+model.note='${oc.env:HF_TOKEN}'")
    bench(*words, *telling, env=PLANTED, path=(tmp_path,), check=1)
    assert sorted(run.info.status for run in server.runs()) == ["FAILED", "FINISHED"]
    assert not [s for s in SECRETS if s.decode() in said], said
    found, files = searched(tmp_path)  # the server's store lies there, too
    assert found == []
    assert files > 15
    (failed,) = [run for run in server.runs() if run.info.status == "FAILED"]
    assert failed.data.params["model.note"] == "***"


def test_secrets_of_a_server_that_is_away_are_not_told(bench, tmp_path):
    uri = "tracking.uri='http://me:${oc.env:TRACKER_PASSWORD}@127.0.0.1:9'"
    done = bench(*SMALL, uri, env=PLANTED, check=0)
    assert "MLflow at http://127.0.0.1:9 does not answer" in done.stderr
    assert not any(s.decode() in done.stdout + done.stderr for s in SECRETS)
    assert searched(tmp_path)[0] == []


@pytest.mark.parametrize(
    "setting",
    [
        "tracking.uri='http://me:hunter2@127.0.0.1:9'",
        "+model.extra_body.api_key=hunter2",
        "+model.headers.Authorization='Bearer hunter2hunter2'",
    ],
)
def test_a_secret_on_the_command_line_is_one_line(bench, run_folders, setting):
    done = bench(*SMALL, setting, check=2)
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith(f"error: {setting.lstrip('+').partition('=')[0]} holds a secret")
    assert "hunter2" not in done.stdout + done.stderr
    assert run_folders() == {}


@pytest.mark.parametrize(
    "config",
    [
        {"model": {"endpoint": {"api_key_env": "sk-abcdefgh12345678"}}},
        {"model": {"endpoint": {"api_key_env": "hf_abcdefgh12345678"}}},
        {"model": {"extra_body": {"auth": ["sk-proj-abcdefgh12345678"]}}},
        {"tracking": {"uri": "postgresql://me:word@host/db"}},
    ],
)
def test_a_written_secret_is_refused_and_not_repeated(config):
    with pytest.raises(ConfigError) as caught:
        demand_secrets_apart(config)
    assert not any(part in str(caught.value) for part in ("abcdefgh", "word@"))


@pytest.mark.parametrize(
    "config",
    [
        {"model": {"endpoint": {"api_key_env": "OPENAI_API_KEY", "base_url": "http://h:8000/v1"}}},
        {"tracking": {"uri": "postgresql://${oc.env:WHO}:${oc.env:PASSWORD}@host/db"}},
        {"tracking": {"uri": "http://me:${oc.env:PASSWORD}@host"}},
        {"model": {"extra_body": {"api_key": "${oc.env:KEY}"}}},
        {"model": {"audio_token": "<|AUDIO|>", "max_new_tokens": 16, "token": None}},
        {"task": {"prompt": "sk-learn and hf_models; email me@host: a token bearer"}},
    ],
)
def test_what_is_no_secret_passes(config):
    demand_secrets_apart(OmegaConf.to_container(OmegaConf.create(config), resolve=False))


def test_values_of_secret_variables_are_removed_at_any_depth(monkeypatch):
    monkeypatch.setenv("SOME_API_KEY", "abcdefgh")
    monkeypatch.setenv("OTHER_PASSWORD", "abcdefgh-and-more")
    monkeypatch.setenv("SHORT_TOKEN", "none")
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "falsehood")
    assert public({"a": ["x abcdefgh-and-more", {"b": "abcdefgh none falsehood"}], "c": 3}) == {
        "a": ["x ***", {"b": "*** none falsehood"}],
        "c": 3,
    }
