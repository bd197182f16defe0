"""The report as one file: all of it is there, nothing else is asked for, and no text breaks it."""

import base64
import hashlib
import json
import re
import shutil

import pytest

from lalm_bench.report import one_page
from lalm_bench.report.__main__ import main
from tests.report.conftest import keys, read
from tests.report.test_site import decisions

BLOCK = re.compile(r'<script type="([\w/]+)" id="([^"]+)">(.*?)</script>', re.DOTALL)


def blocks(page):
    return {name: text for _, name, text in BLOCK.findall(page)}


def made(index, folder, room):
    return b"".join(one_page.pieces(index, folder, room)).decode()


@pytest.fixture(scope="module")
def page(report):
    return (report / "report.html").read_text()


def test_data_pictures_and_clips_are_those_of_the_folder(report, page):
    found = blocks(page)
    for run in read(report, "index")["runs"]:
        for name in (run["key"], f"{run['key']}-0"):
            assert json.loads(found[f"data:{name}"]) == read(report, name)
    clips = [*(report / "clips").iterdir()]
    assert clips
    for file in [*clips, *(report / "tables").iterdir(), *report.glob("figures/**/*.png")]:
        head, _, data = found[f"file:{file.relative_to(report).as_posix()}"].partition(",")
        assert head.startswith("data:")
        assert head.endswith(";base64")
        assert base64.b64decode(data) == file.read_bytes()


def test_only_the_pages_own_scripts_may_run(page):
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', page)
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    assert len(scripts) == 6
    for text in (*scripts, *re.findall(r"<style>(.*?)</style>", page, re.DOTALL)):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "file:" not in policy
    assert not re.search(r'<(script|link)[^>]* (src|href)="(?!data:)', page)


def test_what_finds_no_room_is_said_and_the_rest_is_there(report):
    index = read(report, "index")
    first = index["runs"][0]["key"]
    data = [report / "data" / f"{first}{part}.js" for part in ("", "-0")]
    size = sum(file.stat().st_size for file in data)
    found = blocks(made(index, report, size + 1000))
    inside = json.loads(found["data:index"])
    assert [run["key"] for run in inside["listed"]] == [first]
    assert len(inside["runs"]) == len(index["runs"])
    assert f"data:{first}-0" in found
    assert not [n for n in found if n.startswith("file:clips/")]
    assert [n for n in found if n.startswith("file:figures/")]
    samples, clips = inside["notes"][-2:]
    assert all(run["name"] in samples for run in index["runs"][1:])
    assert "no room for" in clips
    nothing = json.loads(blocks(made(index, report, size - 1))["data:index"])
    assert first not in [run["key"] for run in nothing["listed"]]


@pytest.mark.browser
def test_one_file_is_the_whole_report(opened, report, runs, tmp_path):
    shutil.copyfile(report / "report.html", tmp_path / "report.html")
    page = opened(tmp_path, file="report.html")
    assert page.title() == "Six conditions"
    page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    for image in page.locator("figure img").all():
        image.scroll_into_view_if_needed()
        assert image.evaluate("(i) => i.decode().then(() => i.naturalWidth > 50)")
    key = keys(report)["mask"]
    page.locator("figure.table").first.get_by_role("link", name="mask ratio=0.5").click()
    page.wait_for_selector(".row")
    assert page.locator("#run").input_value() == key
    row = next(r for r in decisions(runs["mask"]) if r["invalid"])
    page.locator("#search").fill(row["id"])
    page.wait_for_selector("#count:has-text('1 of 42')")
    page.locator("#search").fill("")
    place = read(report, key)["clips"][0]
    (clip,) = read(report, f"{key}-0")[place]["clips"]
    page = opened(tmp_path, f"#samples/{key}/{place}", file="report.html")
    audio = "document.querySelector('audio')"
    page.wait_for_selector("audio")
    for _ in range(300):
        if page.evaluate(f"{audio}.readyState") >= 1:
            break
        page.wait_for_timeout(20)
    assert page.evaluate(f"{audio}.duration") == pytest.approx(clip["heard"]["seconds"], abs=0.02)
    assert page.locator(".axis img").evaluate("(i) => i.naturalWidth") > 100
    with page.expect_download() as download:
        page.keyboard.press("o")
        page.locator(".files a", has_text="CSV").first.click()
    kept = (report / "tables" / "leaderboard_mcq_synthetic.csv").read_bytes()
    assert download.value.suggested_filename == "leaderboard_mcq_synthetic.csv"
    assert download.value.path().read_bytes() == kept


@pytest.mark.browser
def test_no_text_of_a_model_gets_out_of_its_block(opened, runs, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(runs["none"], run)
    evil = "</script><script>document.title='owned'</script><!--<script>"
    rows = [row | {"text": evil, "question": evil} for row in decisions(run)]
    (run / "decisions.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    folder = tmp_path / "report"
    assert main([str(run), "--out", str(folder), "--title", evil, "--clips", "0"]) == 0
    page = opened(folder, "#samples/r0", file="report.html")
    page.wait_for_selector("#sample .answer")
    assert page.locator("#sample .answer").text_content() == evil
    assert page.title() == evil
