"""Captured attention in the report of a real run: what is drawn is what was stored."""

import csv
import io
import json
import math
import shutil

import numpy as np
import pytest
from PIL import Image

from lalm_bench.report import attention
from lalm_bench.report.__main__ import main
from tests import tiny
from tests.report.conftest import command, read

PROMPTS = 2
SHADES = 40


@pytest.fixture(scope="module")
def captured(tmp_path_factory):
    """Two runs of a tiny audio model, unchanged and masked, with two prompts captured in each."""
    folder = tmp_path_factory.mktemp("captured")
    path = tiny.build("qwen2_audio", folder)
    command(
        folder,
        *("-m", "task.scenes=1", "model=hf", f"model.path={path}", "model.dtype=float32"),
        *("runtime.device=cpu", "task.max_new_tokens=2", "intervention=none,mask"),
        *("capture=attention", f"capture.samples={PROMPTS}", "figures=true"),
    )
    return sorted(
        (state.parent for state in folder.glob("outputs/*/*/*/*/run.json")),
        key=lambda run: run.parent.name,
    )


@pytest.fixture(scope="module")
def shown(captured, tmp_path_factory):
    """Their report; the baseline is r0."""
    folder = tmp_path_factory.mktemp("attention") / "report"
    assert main([*map(str, captured), "--out", str(folder), "--clips", "4"]) == 0
    return folder


def rows(report, key):
    """The captured rows: (record, folder of the capture's name)."""
    listed, records = read(report, key), read(report, f"{key}-0")
    return [(listed["id"][place], records[place]) for place in listed["attended"]]


@pytest.mark.parametrize("place", [0, 1])
def test_a_shade_is_the_attention_of_the_token_that_sounds_there(place, captured, shown):
    found = rows(shown, f"r{place}")
    assert len(found) == PROMPTS
    for name, record in found:
        capture = captured[place] / "capture" / "attention" / name
        weights = np.load(capture / "attn.npy")
        tokens = json.loads((capture / "tokens.json").read_text())
        (clip,) = record["clips"]
        (stored,) = record["attention"]["clips"]
        assert clip["attention"] == stored["picture"]
        assert stored["seconds"] == pytest.approx(clip["heard"]["seconds"], abs=0.05)
        image = np.asarray(Image.open(shown / stored["picture"]))
        assert len(image) == len(weights)
        width = image.shape[1]
        checked = 0
        for at, token in enumerate(tokens):
            if token["kind"] != "audio":
                continue
            begin, end = token["seconds"]
            column = int((begin + end) / 2 / stored["seconds"] * width)
            if column >= width:
                continue
            checked += 1
            for layer in range(len(weights)):
                times = weights[layer, :, at].mean() * len(tokens)
                share = math.log(min(max(times, 0.1), 10) / 0.1) / math.log(100)
                # The last layer is the uppermost row.
                assert abs(int(image[-1 - layer, column]) - share * (SHADES - 1)) <= 0.501
        assert checked > 20


def test_the_samples_of_a_capture_are_those_that_can_be_heard(shown):
    for key in ("r0", "r1"):
        listed = read(shown, key)
        assert len(listed["attended"]) == PROMPTS
        assert set(listed["attended"]) == set(listed["clips"])


def test_shares_on_the_overview_are_the_means_of_the_summaries(captured, shown):
    with open(shown / "tables" / "attention.csv", newline="") as file:
        found = [*csv.DictReader(file)]
    for run, row in zip(captured, found, strict=True):
        summary = json.loads((run / "capture" / "attention" / "summary.json").read_text())
        columns = {"last token": "last_token", "text behind the audio": "later_text"}
        for column, asking in columns.items():
            shares = [layer[asking]["audio"] for layer in summary["layers"]]
            assert float(row[column]) == pytest.approx(np.mean(shares), abs=5e-5)
        assert row["prompts"] == str(PROMPTS)
    sections = {s["title"]: s for s in read(shown, "index")["sections"]}
    drawn = sections["Attention"]["figures"]
    assert len(drawn) == 2
    assert all((shown / figure["svg"]).stat().st_size > 1000 for figure in drawn)
    for name, record in rows(shown, "r0"):
        copied = (shown / record["attention"]["figure"]["png"]).read_bytes()
        assert copied == (captured[0] / "capture/attention" / name / "heatmap.png").read_bytes()
        meta = json.loads((captured[0] / "capture/attention" / name / "meta.json").read_text())
        own = [layer["last_token"]["audio"] for layer in meta["layers"]]
        assert record["attention"]["share"] == pytest.approx(own, abs=5e-5)


def test_a_run_without_captures_shows_nothing(report):
    assert "Attention" not in {s["title"] for s in read(report, "index")["sections"]}
    assert read(report, "r0")["attended"] == []
    assert not (report / "attention").exists()


def test_a_capture_that_broke_off_or_points_elsewhere_is_left_out(captured, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(captured[0], run)
    place = run / "capture" / "attention"
    summary = json.loads((place / "summary.json").read_text())
    first, second = summary["captured"]
    (place / first["folder"] / "meta.json").unlink()
    outside = tmp_path / "outside"
    shutil.copytree(place / second["folder"], outside)
    second["folder"] = "../../../outside"
    (place / "summary.json").write_text(json.dumps(summary))
    assert attention.read(run).folders == {}
    assert main([str(run), "--out", str(tmp_path / "report"), "--clips", "none"]) == 0
    assert read(tmp_path / "report", "r0")["attended"] == []


def test_without_figures_of_its_own_a_sample_still_has_its_attention(captured, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(captured[0], run)
    for file in run.glob("capture/attention/*/heatmap.*"):
        file.unlink()
    assert main([str(run), "--out", str(tmp_path / "report"), "--clips", "all"]) == 0
    for _, record in rows(tmp_path / "report", "r0"):
        assert "figure" not in record["attention"]
        assert (tmp_path / "report" / record["clips"][0]["attention"]).is_file()


def test_names_are_those_that_the_capture_writes():
    from lalm_bench.capture import files
    from lalm_bench.capture.tokens import AUDIO, KINDS

    own = (attention.FOLDER, attention.SUMMARY, attention.META, attention.TOKENS)
    assert own == (files.FOLDER, files.SUMMARY, files.META, files.TOKENS)
    assert (attention.HEATMAP, attention._PADDING) == (files.HEATMAP, files.PADDING)
    assert KINDS[AUDIO] == attention._AUDIO


def test_a_strip_has_holes_where_no_token_sounds():
    tokens = [
        {"clip": 0, "seconds": [0.0, 1.0]},
        {"clip": 1, "seconds": [0.0, 4.0]},
        {"clip": 0, "seconds": [2.0, 3.0]},
        {"clip": 0, "seconds": [3.0, 9.0]},  # half of it is appended silence
    ]
    times = np.array([[0.1, 5, 1.0, 100], [10.0, 5, 0.001, 1.0]])
    image = Image.open(io.BytesIO(attention.strip(times, tokens, 0, 6.0)))
    shades = np.asarray(image)
    assert shades.shape == (2, 12)
    half = round((SHADES - 1) / 2)
    top = [SHADES - 1] * 2 + [SHADES] * 2 + [0] * 2 + [half] * 6
    bottom = [0] * 2 + [SHADES] * 2 + [half] * 2 + [SHADES - 1] * 6
    np.testing.assert_array_equal(shades, [top, bottom])
    assert np.asarray(image.convert("RGBA"))[0, 2, 3] == 0
    other = np.asarray(Image.open(io.BytesIO(attention.strip(times, tokens, 2, 6.0))))
    assert (other == SHADES).all()


def test_attention_is_not_laid_over_another_clip():
    shown = {"clips": [{"picture": "a.png", "seconds": 4.0}]}
    assert attention.fits(shown, 0, 4.02) == "a.png"
    assert attention.fits(shown, 0, 3.0) is None
    assert attention.fits(shown, 1, 4.0) is None


@pytest.mark.browser
def test_attention_lies_below_the_spectrogram_of_what_was_heard(opened, shown):
    place = read(shown, "r1")["attended"][0]
    page = opened(shown, f"#samples/r1/{place}")
    strip = page.locator(".axis img.attention")
    strip.wait_for()
    assert strip.evaluate("(i) => i.decode().then(() => i.naturalWidth)") > 50
    above, below = page.locator(".axis img").first.bounding_box(), strip.bounding_box()
    assert (above["x"], above["width"]) == (below["x"], below["width"])
    assert above["y"] + above["height"] == pytest.approx(below["y"], abs=3)
    page.keyboard.press("h")
    page.wait_for_selector(".axis img.attention", state="detached")
    page.keyboard.press("h")
    strip.wait_for()
    page.locator("#sample summary", has_text="Attention").click()
    assert page.locator("img.wide").evaluate("(i) => i.decode().then(() => i.naturalWidth)") > 500
    page.keyboard.press("f")
    page.get_by_label(f"attention captured ({PROMPTS})").check()
    page.wait_for_selector(f"#count:has-text('{PROMPTS} of 7')")
