"""Where weights are, what lacks, and what they are: without a network."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import socket

import pytest

from lalm_bench.errors import ModelError
from lalm_bench.models import hub
from lalm_bench.models.checkpoint import Checkpoint
from lalm_bench.models.hf import HFModel

REPO = "mistralai/Voxtral-Mini-3B-2507"


@pytest.fixture
def copy(checkpoint, tmp_path):
    """A checkpoint of one's own to change."""
    folder = tmp_path / "copy"
    shutil.copytree(checkpoint("tiny_llama"), folder)
    return folder


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty hub cache, offline; `cache(repo, source)` puts a snapshot into it."""
    from huggingface_hub import constants

    root = tmp_path / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(root))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)

    def put(repo, source, commit="c0ffee" + "0" * 34):
        place = root / f"models--{repo.replace('/', '--')}"
        shutil.copytree(source, place / "snapshots" / commit)
        (place / "refs").mkdir()
        (place / "refs" / "main").write_text(commit)
        return place / "snapshots" / commit

    return put


def identity(folder):
    return Checkpoint(str(folder)).identity()


def test_identity_ignores_place_and_time(checkpoint, copy):
    for file in copy.iterdir():
        os.utime(file, (1, 1))
    (copy / "README.md").write_text("a note")
    assert identity(copy) == identity(checkpoint("tiny_llama"))
    assert str(copy) not in json.dumps(identity(copy))


def test_identity_sees_every_tensor(checkpoint, copy):
    from safetensors.torch import load_file, save_file

    tensors = load_file(copy / "model.safetensors")
    seen = {json.dumps(identity(checkpoint("tiny_llama")))}
    for name in tensors:
        changed = {k: v.clone() for k, v in tensors.items()}
        changed[name] *= 1.001
        save_file(changed, copy / "model.safetensors", metadata={"format": "pt"})
        seen.add(json.dumps(identity(copy)))
    assert len(seen) == len(tensors) + 1


@pytest.mark.parametrize(
    "name", ["chat_template.jinja", "config.json", "tokenizer.json", "generation_config.json"]
)
def test_identity_sees_small_files(checkpoint, copy, name):
    (copy / name).write_text((copy / name).read_text() + " ")
    assert identity(copy) != identity(checkpoint("tiny_llama"))


def test_identity_of_a_model_depends_on_how_it_is_run_and_not_where(checkpoint, copy):
    def of(**settings):
        return HFModel(
            **{"name": "x", "path": str(checkpoint("tiny_llama")), **settings}
        ).identity()

    assert of(name="y", path=str(copy), licence_url="u", max_audios=3) == of()
    for setting in (
        {"dtype": "float32"},
        {"model_class": "Other"},
        {"chat_template": "{{ x }}"},
        {"rate": 8000},
        {"audio_form": "base64"},
        {"batch_audio": "equal_length"},
        {"max_audio_s": 9},
        {"overlong": "truncate"},
        {"system_role": "prepend"},
        {"audio_kwargs": {"a": 1}},
        {"attn_implementation": "eager"},
    ):
        assert of(**setting) != of(), setting


def test_a_cached_snapshot_is_identified_by_its_commit(cache, checkpoint):
    folder = cache("some/model", checkpoint("tiny_llama"))
    found = Checkpoint("some/model")
    assert found.folder() == folder
    assert found.missing() == []
    assert found.fetch() == folder
    assert found.identity() == {"repo": "some/model", "commit": folder.name}


def test_a_half_fetched_snapshot_is_missing(cache, checkpoint):
    folder = cache("some/model", checkpoint("tiny_llama"))
    (folder / "model.safetensors").unlink()
    assert "lack weights (model.safetensors)" in Checkpoint("some/model").missing()[0]
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "lack model-00001-of-00002.safetensors" in Checkpoint("some/model").missing()[0]


def test_offline_the_instruction_is_one_line(cache, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert Checkpoint(REPO).missing() == [
        f"weights of {REPO} are not in the local Hugging Face cache: run 'hf download {REPO}', "
        "or set model.path to a local folder"
    ]
    gated = Checkpoint(REPO, "v1", "https://example.org/licence").missing()
    assert f"run 'hf download {REPO} --revision v1' (gated: accept the licence at " in gated[0]
    assert "https://example.org/licence and set HF_TOKEN)" in gated[0]
    assert "hf_secret" not in gated[0]
    assert Checkpoint(REPO).identity() == {"repo": REPO, "commit": None}
    with pytest.raises(ModelError, match="hf download"):
        Checkpoint(REPO).fetch()


def test_online_the_hub_is_trusted_to_have_it(cache, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{port}")
        assert Checkpoint(REPO).missing() == []
        # A proxy is asked in the hub's stead.
        monkeypatch.setattr(constants, "ENDPOINT", "https://hub.invalid")
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{port}")
        assert hub.reachable()
    assert not hub.reachable()
    assert "hf download" in Checkpoint(REPO).missing()[0]


def test_a_missing_package_names_the_extra(checkpoint, monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *a: None if name == "mistral_common" else real(name, *a),
    )
    folder = checkpoint("voxtral")
    assert "pip install 'lalm_bench[voxtral]'" in Checkpoint(str(folder)).missing()[0]
    assert Checkpoint(str(checkpoint("qwen2_audio"))).missing() == []


def test_local_folders_say_what_lacks(copy, tmp_path):
    def said(path):
        return Checkpoint(str(path)).missing()

    assert said(copy) == []
    assert said(tmp_path / "nowhere") == [
        f"model.path={tmp_path / 'nowhere'}: no such folder; set it to a checkpoint's folder"
    ]
    (copy / "config.json").rename(copy / "config.bak")
    assert "config.json is missing" in said(copy)[0]
    assert Checkpoint(str(copy)).identity() == {"content": None}
    (copy / "config.bak").write_text("{")
    (copy / "config.bak").rename(copy / "config.json")
    with pytest.raises(ModelError, match="not JSON"):
        said(copy)


@pytest.mark.parametrize("keep", [4, 200, -100])
def test_cut_weights_are_reported(copy, keep):
    file = copy / "model.safetensors"
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(ModelError, match="fetch it again"):
        identity(copy)


def test_refusals_of_the_hub_say_what_to_do(cache, monkeypatch):
    import huggingface_hub
    from huggingface_hub import constants, errors

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)

    def refuse(error):
        def raising(*_, **__):
            raise error

        monkeypatch.setattr(huggingface_hub, "snapshot_download", raising)
        with pytest.raises(ModelError) as caught:
            Checkpoint(REPO).fetch()
        return str(caught.value)

    # The constructors want a response of the HTTP library in use; only the type matters here.
    gated = errors.GatedRepoError.__new__(errors.GatedRepoError)
    unknown = errors.RepositoryNotFoundError.__new__(errors.RepositoryNotFoundError)
    assert "accept its licence at" in refuse(gated)
    assert "neither a local folder nor" in refuse(unknown)
    assert "run 'hf download" in refuse(OSError("no space"))


def test_a_download_takes_the_weights_once(cache, checkpoint, monkeypatch):
    import huggingface_hub
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    calls = []

    def download(repo, **options):
        calls.append(options)
        return str(checkpoint("tiny_llama"))

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert Checkpoint(REPO, "main").fetch() == checkpoint("tiny_llama")
    assert calls[0]["revision"] == "main"
    assert {"*.bin", "consolidated*"} <= set(calls[0]["ignore_patterns"])
    assert len(calls) == 1
