"""`capture=attention` in whole runs of tiny checkpoints, and what it refuses."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from itertools import pairwise

import numpy as np
import pytest
from hydra import compose, initialize_config_dir

from lalm_bench import run as running
from lalm_bench.build import build
from lalm_bench.capture import watching
from lalm_bench.errors import ConfigError
from tests.conftest import ROOT
from tests.pruning.prompts import FAMILIES
from tests.test_study import counted_loads

ITEMS = 4


@pytest.fixture
def questions(tmp_path, clips):
    """Overrides that ask four questions about four clips."""
    lines = [
        {
            "id": f"q{n}",
            "audio_filename": path,
            "question": f"Which event comes next after event {n}?",
            "options": [
                {"label": label, "text": f"{word} {n}", "type": "event"}
                for label, word in (("A", "dog"), ("B", "car"))
            ],
            "answer_label": "A",
            "answer_text": f"dog {n}",
        }
        for n, path in enumerate(clips)
    ]
    file = tmp_path / "questions.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return ("task=mcq", f"task.dataset={file}", "task.audio_root=/", "task.max_new_tokens=3")


def composed(*overrides):
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("config", [*overrides, "tracking=none"])


@pytest.fixture
def start(tmp_path, questions, deep):
    """`start(family, *overrides)`: run it and return its folder."""

    def begin(family, *overrides):
        model = ("model=hf", f"model.path={deep(family)}", "model.dtype=float32")
        place = f"paths.outputs={tmp_path / 'outputs'}"
        return running.run(composed(*questions, *model, place, *overrides))

    return begin


@pytest.fixture
def loads(monkeypatch):
    """The networks that were loaded."""
    return counted_loads(monkeypatch)


@pytest.fixture
def seen(monkeypatch):
    """The prompts that were watched."""
    found, real = [], watching.Watching.see

    def noted(self, request):
        found.append(request.sample_id)
        return real(self, request)

    monkeypatch.setattr(watching.Watching, "see", noted)
    return found


def folder_of(run):
    return running.Path(run) / "capture" / "attention"


def read(path):
    return json.loads(path.read_text())


def stored(run, *names):
    return {n: (running.Path(run) / n).read_bytes() for n in ("decisions.jsonl", *names)}


CAPTURE = ("capture=attention", "capture.samples=2")


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_leaves_what_is_promised(start, family):
    run = start(family, *CAPTURE, "capture.full=true", "limit=2", "figures=false")
    summary = read(folder_of(run) / "summary.json")
    assert summary["prompts"] == len(summary["captured"]) == 2
    assert (summary["failed"], summary["left_out"]) == ({}, {})
    assert [row["layer"] for row in summary["layers"]] == [0, 1, 2, 3]
    for captured in summary["captured"]:
        place = folder_of(run) / captured["folder"]
        meta, tokens = read(place / "meta.json"), read(place / "tokens.json")
        groups = max(layer["groups"] for layer in meta["layers"])
        shape = (4, groups, len(tokens))
        last, text = np.load(place / "attn.npy"), np.load(place / "attn_text.npy")
        assert last.shape == text.shape == shape
        assert np.load(place / "full.npy").shape == (*shape, len(tokens))
        shares = np.load(place / "shares.npy")
        assert shares.shape == (4, groups, meta["later_text_tokens"], 3)
        for rows in (last, text, shares):
            np.testing.assert_allclose(rows.sum(-1), 1, atol=1e-5)
        kinds = [token["kind"] for token in tokens]
        counts = {kind: kinds.count(kind) for kind in ("audio", "text", "special")}
        assert meta["tokens"] == {"all": len(tokens), **counts}
        for place_of, layer in enumerate(meta["layers"]):
            own = last[place_of].mean(0)
            for kind in counts:
                share = own[[k == kind for k in kinds]].sum()
                assert layer["last_token"][kind] == pytest.approx(float(share), abs=1e-5)
        sounding = [token for token in tokens if token["kind"] == "audio"]
        times = [token["seconds"] for token in sounding]
        assert times[0][0] == 0
        assert all(a[1] == pytest.approx(b[0], abs=2e-4) for a, b in pairwise(times))
        heard = [token for token in sounding if not token.get("padding")]
        # The last token that is heard ends where the clip does, to within its length.
        (length,) = meta["clips_s"]
        assert heard[-1]["seconds"][1] == pytest.approx(
            length, abs=1.5 / meta["audio_tokens_per_s"]
        )
        assert "Which" in "".join(token["text"] for token in tokens)
    for row in summary["layers"]:
        assert sum(row["last_token"][kind] for kind in counts) == pytest.approx(1, abs=1e-5)
        audio = row["last_token"]
        assert audio["audio_low"] <= audio["audio"] <= audio["audio_high"]
        assert 0 <= row["audio_padding"] <= audio["audio"] + 1e-6
        # A window that does not reach back to the audio sees none of it.
        assert 0 <= row["uniform_audio"] < 1
        assert row["uniform_audio"] > 0 or row["reach"]


def test_it_changes_no_answer_and_no_folder(start):
    plain = start("qwen2_audio")
    before = stored(plain, "responses.jsonl")
    assert not folder_of(plain).exists()
    assert start("qwen2_audio", *CAPTURE) == plain
    assert stored(plain, "responses.jsonl") == before
    assert read(folder_of(plain) / "summary.json")["prompts"] == 2


def test_what_is_captured_is_not_captured_again(start, loads, seen):
    run = start("qwen2_audio", *CAPTURE)
    assert (len(loads), len(seen)) == (1, 2)
    files = {p: p.stat().st_mtime_ns for p in folder_of(run).rglob("*")}
    assert start("qwen2_audio", *CAPTURE) == run
    assert start("qwen2_audio", *CAPTURE, "rescore=true") == run
    assert (len(loads), len(seen)) == (1, 2)
    kept = {
        p: p.stat().st_mtime_ns for p in folder_of(run).rglob("*") if p.parent != folder_of(run)
    }
    assert kept.items() <= files.items()
    start("qwen2_audio", "capture=attention", "capture.samples=3")
    assert (len(loads), len(seen)) == (2, 3)
    assert len(set(seen)) == 3


def test_a_half_written_prompt_is_captured_again(start, seen):
    run = start("qwen2_audio", *CAPTURE)
    place = folder_of(run) / seen[0]
    (place / "meta.json").unlink()
    (folder_of(run) / "summary.json").unlink()
    whole = np.load(place / "attn.npy")
    (place / "attn.npy").write_bytes(b"torn")
    start("qwen2_audio", *CAPTURE)
    assert seen[2:] == seen[:1]
    # The clip was encoded in a batch before, and alone now.
    np.testing.assert_allclose(np.load(place / "attn.npy"), whole, atol=1e-5)


def test_other_settings_replace_what_was_captured(start):
    run = start("qwen2_audio", "capture=attention", "capture.ids=[q1,q3]", "capture.full=true")
    assert (folder_of(run) / "q1" / "full.npy").exists()
    words = ("capture=attention", "capture.ids=[q1]", "capture.layers=[2]")
    start("qwen2_audio", *words, "capture.heads=all", "capture.dtype=float16")
    array = np.load(folder_of(run) / "q1" / "attn.npy")
    assert (array.shape[:2], array.dtype) == ((1, 4), np.float16)
    assert not (folder_of(run) / "q1" / "full.npy").exists()
    summary = read(folder_of(run) / "summary.json")
    assert [row["layer"] for row in summary["layers"]] == [2]
    assert [captured["id"] for captured in summary["captured"]] == ["q1"]


def test_figures_are_drawn(start):
    from PIL import Image

    run = start("gemma3n", *CAPTURE, "limit=2")
    stems = [folder_of(run) / "share_by_layer"]
    stems += [p / "heatmap" for p in folder_of(run).iterdir() if p.is_dir()]
    assert len(stems) == 3
    for stem in stems:
        with Image.open(stem.with_suffix(".png")) as image:
            assert min(image.size) > 300
            assert len(image.convert("L").getcolors()) > 20
        svg = stem.with_suffix(".svg")
        assert ElementTree.parse(svg).getroot().tag.endswith("svg")
        assert svg.stat().st_size < 1e6


def test_a_prompt_that_is_too_long_is_named_and_the_others_are_captured(start, capsys):
    words = ("capture=attention", "capture.samples=4", "capture.full=true")
    run = start("qwen2_audio", *words, "capture.full_mb=2", "figures=false")
    summary = read(folder_of(run) / "summary.json")
    assert summary["prompts"] + len(summary["failed"]) == ITEMS
    assert summary["prompts"] > 0
    assert all("capture.full_mb=2" in reason for reason in summary["failed"].values())
    assert "q3" in summary["failed"]
    assert "capture: " in capsys.readouterr().err
    assert not (folder_of(run) / "q3").exists()
    # It is not done, so the same command tries again.
    config = composed("capture=attention", "model=qwen2_audio")
    assert not build(config).capture.finished(running.Path(run))


def test_every_variant_of_an_item_is_captured(start):
    words = ("capture=attention", "capture.ids=[q1]", "task.options=circular", "figures=false")
    run = start("qwen2_audio", *words)
    captured = read(folder_of(run) / "summary.json")["captured"]
    assert len(captured) == len({c["variant"] for c in captured}) == 2
    assert len({c["folder"] for c in captured}) == 2


def test_prompts_without_audio_are_left_out_and_said(start):
    run = start("qwen2_audio", *CAPTURE, "intervention=no_audio", "figures=false")
    summary = read(folder_of(run) / "summary.json")
    assert summary["prompts"] == 0
    assert set(summary["left_out"].values()) == {"there is no audio in it"}


def test_an_eviction_leaves_the_prompt_whole(start):
    run = start("qwen2_audio", *CAPTURE, "pruning=knorm", "figures=false")
    plain = start("qwen2_audio", *CAPTURE, "figures=false")
    for captured in read(folder_of(run) / "summary.json")["captured"]:
        name = captured["folder"]
        arrays = [np.load(folder_of(r) / name / "attn.npy") for r in (run, plain)]
        np.testing.assert_array_equal(*arrays)


def test_unknown_items_are_refused_before_anything_is_asked(start, loads):
    with pytest.raises(ConfigError, match=r"capture\.ids: q9 .*capture\.samples"):
        start("qwen2_audio", "capture=attention", "capture.ids=[q1,q9]")
    assert loads == []


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        (("model=signal",), ("capture=attention", "signal", "capture=none")),
        (("model=text",), ("capture=attention", "text")),
        (("model=qwen2_audio", "model.attn_implementation=eager"), ("eager", "sdpa")),
        (("model=qwen2_audio", "pruning=fastv"), ("pruning=fastv", "pruning=none")),
        (("model=qwen2_audio", "capture.samples=0"), ("capture.samples=0",)),
        (("model=qwen2_audio", "capture.ids=q1"), ("capture.ids='q1'", "list")),
        (("model=qwen2_audio", "capture.ids=[]"), ("capture.ids=[]", "list")),
        (("model=qwen2_audio", "capture.layers=[]"), ("capture.layers=[]", "all")),
        (("model=qwen2_audio", "capture.layers=[1,1]"), ("capture.layers=[1, 1]", "once")),
        (("model=qwen2_audio", "capture.layers=[-1]"), ("capture.layers=[-1]",)),
        (("model=qwen2_audio", "capture.layers=some"), ("capture.layers=some", "all")),
        (("model=qwen2_audio", "capture.heads=8"), ("capture.heads=8", "mean, groups, all")),
        (("model=qwen2_audio", "capture.dtype=int8"), ("capture.dtype=int8", "float16")),
        (("model=qwen2_audio", "capture.full=yes please"), ("capture.full=",)),
        (("model=qwen2_audio", "capture.full_mb=0"), ("capture.full_mb=0",)),
    ],
)
def test_what_cannot_be_captured_is_refused_at_composition(overrides, parts):
    with pytest.raises(ConfigError) as refusal:
        build(composed("capture=attention", *overrides))
    text = str(refusal.value)
    assert "\n" not in text
    for part in parts:
        assert part in text


def test_layers_are_counted_before_loading(deep):
    words = ("capture=attention", "model=hf", f"model.path={deep('qwen2_audio')}")
    build(composed(*words, "capture.layers=[3,0]"))
    with pytest.raises(ConfigError, match=r"capture\.layers=\[4\].*4 layers, 0 to 3"):
        build(composed(*words, "capture.layers=[0,4]"))


def test_the_command_line_says_it_in_one_line(bench):
    done = bench("capture=attention", "tracking=none", check=2)
    assert done.stderr.startswith("error: capture=attention: model signal ")
    assert done.stderr.count("\n") == 1
    assert not bench.outputs.exists()
