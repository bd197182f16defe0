"""Reports in headless Chromium, opened from disk.

Screenshots go to build/screenshots, or to the folder that LALM_BENCH_SCREENSHOTS names; those in
the documentation are made with `LALM_BENCH_SCREENSHOTS=docs/images make test-browser`.
"""

import io
import json
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from lalm_bench.report.__main__ import main
from tests.conftest import ROOT
from tests.report.conftest import command, keys, read
from tests.report.test_site import decisions, judge

pytestmark = pytest.mark.browser

SCREENSHOTS = Path(os.environ.get("LALM_BENCH_SCREENSHOTS", ROOT / "build" / "screenshots"))
PHONE = {"width": 360, "height": 740}


def count(page):
    """Samples that pass the filters, as the page says."""
    text = page.locator("#count").text_content()
    return int(text.split(" of ")[0])


def chip(page, name):
    return page.locator("#outcomes").get_by_role("button", name=name)


def until(page, holds):
    """Wait for a JavaScript expression: the page's own policy forbids Playwright's way to."""
    end = time.monotonic() + 30
    while not page.evaluate(holds):
        assert time.monotonic() < end, f"never true: {holds}"
        page.wait_for_timeout(10)


def showing(page, name):
    until(page, f"document.querySelector('#sample h2').textContent.includes('{name}')")


def settled(page, wanted):
    until(page, f"document.querySelector('#count').textContent.startsWith('{wanted} of')")


def chosen(page):
    """Id of the sample that is open."""
    return page.locator("#sample h2").inner_text().split("\n")[-1].split()[-1]


def test_the_overview_opens_from_disk(opened, report, runs):
    page = opened(report)
    assert page.title() == "Six conditions"
    table = page.locator("figure.table").first
    assert table.locator("tbody tr").count() == 6
    for name, shown in (("mask", "mask ratio=0.5"), ("noise", "noise_snr_db=10")):
        metrics = json.loads((runs[name] / "metrics.json").read_text())["metrics"]
        row = table.locator("tbody tr").filter(has=page.get_by_role("link", name=shown))
        assert f"{metrics['accuracy']:.4f}" in row.text_content()
    images = page.locator("figure img").all()
    assert len(images) > 3
    page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    for image in images:
        image.scroll_into_view_if_needed()
        assert image.evaluate("(i) => i.decode().then(() => i.naturalWidth > 50)")
    for link in page.locator(".files a").all():
        assert (report / link.get_attribute("href")).stat().st_size > 20
    page.locator("figure.table").first.get_by_role("link", name="mask ratio=0.5").click()
    page.wait_for_selector(".row")
    assert page.locator("#run").input_value() == keys(report)["mask"]


def test_filters_leave_what_they_say(opened, report, runs):
    page = opened(report, f"#samples/{keys(report)['mask']}")
    before = {row["id"]: row for row in decisions(runs["none"])}
    rows = decisions(runs["mask"])
    invalid = {row["id"] for row in rows if row["invalid"]}
    lost = {r["id"] for r in rows if before[r["id"]]["correct"] and not r["correct"]}
    assert 0 < len(invalid) < len(rows)
    settled(page, len(rows))
    chip(page, "∅ invalid").click()
    settled(page, len(invalid))
    assert set(page.locator(".row .id").all_text_contents()) <= invalid
    chip(page, "∅ invalid").click()
    chip(page, "right → wrong").click()
    settled(page, len(lost))
    page.get_by_role("button", name="Filters").click()
    page.locator("select[data-group=family]").select_option(label="gap_trivial (6)")
    wanted = {r["id"] for r in rows if r["id"] in lost and r["family"] == "gap_trivial"}
    settled(page, len(wanted))
    assert set(page.locator(".row .id").all_text_contents()) == wanted
    assert chosen(page) in wanted
    page.get_by_role("button", name="Clear").click()
    settled(page, len(rows))


def test_a_filter_that_leaves_nothing_says_so(opened, report):
    page = opened(report, f"#samples/{keys(report)['mask']}")
    page.locator("#search").fill("no answer says this")
    settled(page, 0)
    page.get_by_text("No sample passes the filters.").wait_for()
    assert page.locator("audio").count() == 0


def test_search_reads_answers_questions_and_ids(opened, report, runs):
    page = opened(report, f"#samples/{keys(report)['mask']}")
    rows = decisions(runs["mask"])
    cases = {
        "CANNOT tell": {r["id"] for r in rows if "cannot tell" in r["text"].lower()},
        "high beep": {r["id"] for r in rows if "high beep" in json.dumps(r).lower()},
        rows[5]["id"]: {rows[5]["id"]},
    }
    for words, wanted in cases.items():
        page.locator("#search").fill(words)
        settled(page, len(wanted))
        assert set(page.locator(".row .id").all_text_contents()) <= wanted
    assert chosen(page) == rows[5]["id"]
    page.locator("#search").fill("")
    settled(page, len(rows))
    assert chosen(page) == rows[5]["id"]


def test_the_clip_loads_and_switches_between_heard_and_original(opened, report):
    key = keys(report)["mask"]
    place = read(report, key)["clips"][0]
    (clip,) = read(report, f"{key}-0")[place]["clips"]
    page = opened(report, f"#samples/{key}/{place}")
    audio = "document.querySelector('audio')"
    until(page, f"{audio}.readyState >= 1")
    assert page.evaluate(f"{audio}.duration") == pytest.approx(clip["heard"]["seconds"], abs=0.02)
    assert page.evaluate(f"{audio}.currentSrc").endswith(clip["heard"]["src"])
    picture = page.locator(".axis img")
    assert picture.evaluate("(i) => i.naturalWidth") > 100
    assert page.locator(".over.masked").count() == len(clip["marks"]) > 0
    assert page.locator(".track .event").count() == len(clip["events"])
    # Where a stretch is drawn is where it lies in time.
    axis = page.locator(".axis").bounding_box()
    box = page.locator(".over.masked").first.bounding_box()
    at = (box["x"] - axis["x"]) / axis["width"] * clip["heard"]["seconds"]
    assert at == pytest.approx(clip["marks"][0]["start"], abs=0.02)
    page.evaluate(f"{audio}.currentTime = 1")
    page.keyboard.press("h")
    until(page, f"{audio}.currentSrc.endsWith('{clip['original']['src']}')")
    until(page, f"Math.abs({audio}.currentTime - 1) < 0.01")
    assert page.locator(".over.masked").count() == 0
    assert picture.get_attribute("src") == clip["original"]["picture"]
    assert page.get_by_role("button", name="Original").get_attribute("aria-pressed") == "true"


def test_the_keyboard_is_enough(opened, report, runs):
    page = opened(report)
    page.keyboard.press("s")
    page.wait_for_selector(".row")
    rows = [row["id"] for row in decisions(runs["none"])]
    assert chosen(page) == rows[0]
    for key, place in (("j", 1), ("ArrowDown", 2), ("k", 1), ("ArrowUp", 0), ("k", 0)):
        page.keyboard.press(key)
        showing(page, rows[place])
    page.keyboard.press("j")
    selected = page.locator("[role=option][aria-selected=true]")
    assert selected.locator(".id").text_content() == rows[1]
    page.locator("#run").select_option(keys(report)["mask"])
    until(page, "document.querySelectorAll('#outcomes button').length > 2")
    # The same item under the other condition.
    showing(page, rows[1])
    page.locator("#list").focus()
    page.keyboard.press("w")
    wrong = sum(not row["correct"] for row in decisions(runs["mask"]))
    settled(page, wrong)
    page.keyboard.press("w")
    settled(page, len(rows))
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "search"
    page.keyboard.type("jk/?")  # letters, not commands
    assert page.locator("#search").input_value() == "jk/?"
    page.locator("#search").fill("")
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.id") != "search"
    page.keyboard.press("f")
    assert page.locator("#filters").is_visible()
    page.keyboard.press("f")
    assert page.locator("#filters").is_hidden()
    page.keyboard.press("?")
    assert page.get_by_role("dialog", name="Keyboard").is_visible()
    page.keyboard.press("Escape")
    assert page.get_by_role("dialog", name="Keyboard").is_hidden()
    page.keyboard.press("End")
    page.locator("#list").focus()
    page.keyboard.press("End")
    showing(page, rows[-1])
    page.keyboard.press("o")
    page.wait_for_selector("#overview:not([hidden])")


def test_space_plays_and_pauses(opened, report):
    key = keys(report)["noise"]
    page = opened(report, f"#samples/{key}/{read(report, key)['clips'][0]}")
    audio = "document.querySelector('audio')"
    until(page, f"{audio}.readyState >= 3")
    page.keyboard.press(" ")
    until(page, f"!{audio}.paused && {audio}.currentTime > 0.05")
    left = page.locator(".playhead").evaluate("(n) => parseFloat(n.style.left)")
    assert left > 0
    page.keyboard.press(" ")
    until(page, f"{audio}.paused")


def test_focus_is_visible_and_every_control_has_a_name(opened, report):
    key = keys(report)["mask"]
    page = opened(report, f"#samples/{key}/{read(report, key)['clips'][0]}")
    page.wait_for_selector(".player audio")
    page.keyboard.press("f")
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll('button, select, input, a, audio, img')]
        .filter((n) => n.getClientRects().length)
        .filter((n) => !(n.getAttribute('aria-label') || n.getAttribute('alt')
            || n.textContent.trim() || n.labels?.[0]?.textContent.trim()))
        .map((n) => n.outerHTML)"""
    )
    assert unnamed == []
    seen = set()
    page.locator("#to-overview").focus()
    for _ in range(25):
        page.keyboard.press("Tab")
        outline = page.evaluate(
            """() => { const n = document.activeElement; const s = getComputedStyle(n);
            const name = n.id || n.className || n.tagName;
            return [name, s.outlineStyle, parseFloat(s.outlineWidth)]; }"""
        )
        seen.add(outline[0])
        if outline[0] not in ("BODY", "sample", "main", "AUDIO"):
            assert outline[1] != "none", outline
            assert outline[2] >= 2, outline
    assert {"search", "list", "more"} <= seen


def test_a_phone_shows_list_then_sample(opened, report):
    key = keys(report)["mask"]
    page = opened(report, "", PHONE, has_touch=True)
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    page = opened(report, f"#samples/{key}", PHONE, has_touch=True)
    page.wait_for_selector(".row")
    assert page.locator("#sample").is_hidden()
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    page.locator(".row").nth(2).tap()
    page.wait_for_selector(".player")
    assert page.locator("#list").is_hidden()
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    wide = page.evaluate(
        "[...document.querySelectorAll('#sample *')].filter((n) => n.getBoundingClientRect().right"
        " > 361 && !n.closest('.scroll')).map((n) => n.className)"
    )
    assert wide == []
    _screenshot(page, "report_phone")
    page.get_by_role("button", name="← List").click()
    assert page.locator("#list").is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast(scheme, opened, report):
    page = opened(report, f"#samples/{keys(report)['mask']}", color_scheme=scheme)
    page.wait_for_selector(".player")
    page.keyboard.press("w")
    page.wait_for_timeout(300)
    poor = page.evaluate(_CONTRAST)
    assert poor == []
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    light = sum(int(c) for c in paper[4:-1].split(",")) > 382
    assert light == (scheme == "light")


def test_texts_of_models_stay_text(opened, runs, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(runs["none"], run)
    evil = "</script><img src=x onerror=\"document.title='owned'\"><b>x</b>{{7*7}}"
    rows = decisions(run)
    for row in rows:
        row |= {"text": evil, "reasoning": evil, "question": evil, "id": row["id"] + evil[:12]}
        row |= {"stage": evil, "label": None, "options": {"A": evil}, "steps": {evil: evil}}
    (run / "decisions.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    judge(run, [(1.0, 0.0)] * 3)
    folder = tmp_path / "report"
    assert main([str(run), "--out", str(folder), "--title", evil, "--clips", "0"]) == 0
    page = opened(folder, "#samples/r0")
    page.wait_for_selector("#sample .answer")
    assert page.locator("#sample .answer").text_content() == evil
    page.keyboard.press("f")
    assert page.locator("#sample img, #list img, header img, #filters img").count() == 0
    assert page.title() == evil
    page.get_by_label("judges disagree (3)").check()
    settled(page, 3)


def test_a_lost_file_is_named(browser, report, tmp_path):
    folder = tmp_path / "report"
    shutil.copytree(report, folder)
    (folder / "data" / "r0.js").unlink()
    page = browser.new_page()
    page.goto(f"{(folder / 'index.html').as_uri()}#samples/r0")
    page.get_by_text("data/r0.js is missing").wait_for()
    page.close()


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """The report of a run of 10,003 items."""
    folder = tmp_path_factory.mktemp("large")
    command(folder, "model=random", "task.scenes=1429")
    run = next(folder.glob("outputs/*/*/*/*/run.json")).parent
    assert main([str(run), "--out", str(folder / "report"), "--clips", "5"]) == 0
    return folder / "report"


def test_ten_thousand_samples_are_interactive_within_two_seconds(opened, large):
    opened(large)  # the browser itself is warm
    began = time.monotonic()
    page = opened(large, "#samples/r0/9000")
    page.wait_for_selector("#row-9000[aria-selected=true]")
    page.wait_for_selector("#sample .answer")
    page.keyboard.press("j")
    page.wait_for_selector("#row-9001[aria-selected=true]")
    assert time.monotonic() - began < 2
    assert page.locator(".row").count() < 60  # a virtual list
    spent = {}
    for name, act in {
        "filter": lambda: chip(page, "✗ wrong").click(),
        "search": lambda: page.locator("#search").fill("order_trivial_easy_001429"),
    }.items():
        was, began = count(page), time.monotonic()
        act()
        until(page, f"!document.querySelector('#count').textContent.startsWith('{was} of')")
        spent[name] = time.monotonic() - began
    assert max(spent.values()) < 2, spent
    page.locator("#list").evaluate("(n) => { n.scrollTop = n.scrollHeight; }")
    page.wait_for_selector(".row")


def test_screenshots(opened, report):
    page = opened(report)
    page.wait_for_timeout(500)
    _screenshot(page, "report_overview")
    key = keys(report)["mask"]
    columns = read(report, key)
    place = next(i for i in columns["clips"] if columns["change"][i] & 2)
    page = opened(report, f"#samples/{key}/{place}")
    until(page, "document.querySelector('audio').readyState >= 1")
    chip(page, "right → wrong").click()
    page.wait_for_timeout(500)
    pixels = _screenshot(page, "report_sample")
    assert np.ptp(pixels, axis=2).max() > 100  # it has colours: a spectrogram is there


def _screenshot(page, name):
    from PIL import Image

    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    image = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    small = image.quantize(256, dither=Image.Dither.NONE)
    small.save(SCREENSHOTS / f"{name}.png", optimize=True)
    assert (SCREENSHOTS / f"{name}.png").stat().st_size < 250_000
    return np.asarray(image).astype(int)


# Texts whose colour stands out too little from what is behind it (WCAG 2.1: 4.5; 3 where large).
_CONTRAST = """() => {
  const parse = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const linear = (v) => (v / 255 <= 0.03928 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4);
  const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const colour = parse(getComputedStyle(node).backgroundColor);
      if (colour.length < 4 || colour[3] > 0.99) return colour;
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const node of document.querySelectorAll('body *')) {
    const own = [...node.childNodes].some((c) => c.nodeType === 3 && c.textContent.trim());
    if (!own || !node.getClientRects().length) continue;
    if (node.closest('option, [disabled], .skip')) continue;
    const style = getComputedStyle(node);
    const [a, b] = [light(parse(style.color)), light(behind(node))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < (parseFloat(style.fontSize) >= 24 ? 3 : 4.5)) {
      found.push([node.className || node.tagName, node.textContent.slice(0, 20), ratio]);
    }
  }
  return found.slice(0, 8);
}"""
