"""`experiment=audiomarathon_pruning` on recordings of 90 s and more, with a tiny audio model."""

import csv
import json
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import pytest

from lalm_bench.pruning.flops import Prefill
from tests import tiny
from tests.conftest import ROOT, environment
from tests.tasks import audiomarathon_layouts as layouts
from tests.test_run import rows
from tests.test_study import cells, counted_loads, run_study

ITEMS = 2
TASKS = ("race", "librispeech_long")
FOLDER = "multi/studies/audiomarathon_pruning/race+librispeech_long/audio_flamingo_3"
# Audio Flamingo 3 makes 25 tokens of a second.
AUDIO = {"race": (95, 98), "librispeech_long": (95, 250)}


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A finished study: two tasks x (unpruned, one method and an eviction at two ratios each)."""
    place = tmp_path_factory.mktemp("study")
    layouts.race(place / "data" / "audiomarathon" / "race", ITEMS)
    layouts.librispeech_long(place / "data" / "audiomarathon" / "librispeech")
    checkpoint = tiny.build("audio_flamingo_3", place)
    words = (
        *("experiment=audiomarathon_pruning", "model=audio_flamingo_3", "model.dtype=float32"),
        *(f"model.path={checkpoint}", f"study.each.task=[{','.join(TASKS)}]"),
        *("study.prefill=[fastv]", "study.eviction=[knorm]", "study.ratios=[0.5,0.9]"),
        *("study.layer=1", "generation.max_new_tokens=4", "figures=true", f"limit={ITEMS}"),
        "study.timing={items: 1, warmup: 1, repeats: 2}",
    )
    with pytest.MonkeyPatch.context() as patch:
        loads = counted_loads(patch)
        run_study(place, *words)
        first = list(loads)
        answers = {p: p.read_bytes() for p in (place / "outputs").rglob("responses.jsonl")}
        table = (place / FOLDER / "pruning.md").read_bytes()
        loads.clear()
        run_study(place, *words)
    again = {p: p.read_bytes() for p in (place / "outputs").rglob("responses.jsonl")}
    return {
        "place": place,
        "folder": place / FOLDER,
        "rows": json.loads((place / FOLDER / "pruning.json").read_text())["rows"],
        "loads": (first, list(loads)),
        "answers": (answers, again),
        "tables": (table, (place / FOLDER / "pruning.md").read_bytes()),
    }


def chosen(done, task, method, ratio=0.0):
    (row,) = [
        r
        for r in done["rows"]
        if (r["task"], r["method"]) == (task, method) and (r["ratio"] or 0) == ratio
    ]
    return row


def test_every_task_method_and_ratio_is_one_run(done):
    found = [(r["task"], r["method"], r["ratio"] or 0) for r in done["rows"]]
    conditions = [("none", 0), ("fastv", 0.5), ("fastv", 0.9), ("knorm", 0.5), ("knorm", 0.9)]
    assert found == [(task, *condition) for task in TASKS for condition in conditions]
    assert all(c["error"] is None for c in cells(done["folder"]))


def test_one_load_for_all_answers_and_one_for_all_timing(done):
    first, second = done["loads"]
    assert len(first) == 2
    assert second == []


def test_each_clip_is_encoded_once_for_all_conditions(done):
    for task in TASKS:
        folders = [p.parent for p in (done["place"] / "outputs" / task).rglob("metrics.json")]
        assert len(folders) == 5
    reports = [
        json.loads((done["place"] / c["folder"] / "metrics.json").read_text())["timing"]
        for c in cells(done["folder"])
    ]
    heard = {tuple(d["audio"]) for c in cells(done["folder"]) for d in rows(decided(done, c))}
    encoded = sum(report.get("audio_encoded", 0) for report in reports)
    assert encoded == len(heard) == len(TASKS) * ITEMS
    assert sum(report.get("audio_asked", 0) for report in reports) == 5 * len(heard)


def decided(done, cell):
    return done["place"] / cell["folder"] / "decisions.jsonl"


@pytest.mark.parametrize("task", TASKS)
def test_rows_say_what_was_kept_and_what_it_took(done, task):
    plain = chosen(done, task, "none")
    shortest, longest = AUDIO[task]
    assert 25 * shortest <= plain["audio_tokens"] <= 25 * longest
    for ratio in (0.5, 0.9):
        row = chosen(done, task, "fastv", ratio)
        assert row["kind"] == "prefill"
        share = row["audio_tokens_kept"] / row["audio_tokens"]
        assert share == pytest.approx(1 - ratio, abs=0.01)
        # One of two layers holds less.
        assert row["kv_bytes"] < plain["kv_bytes"]
        assert 1 < row["theory"] < 2
    cache = [chosen(done, task, "knorm", ratio)["kv_bytes"] for ratio in (0.5, 0.9)]
    assert plain["kv_bytes"] > cache[0] > cache[1]
    assert chosen(done, task, "knorm", 0.9)["theory"] == 1
    assert plain["delta"] is None
    for row in done["rows"]:
        assert row["prefill_ms"] > 0
        assert row["decode_ms"] > 0
        assert row["speedup_prefill"] > 0
        total = row["encoder_ms"] + row["prefill_ms"] + row["decode_ms"]
        # Medians of the sums are near the sum of medians.
        assert row["total_ms"] == pytest.approx(total, rel=0.5)
    assert plain["speedup_prefill"] == plain["speedup_total"] == 1


def test_changes_are_those_of_the_paired_results(done):
    paired = json.loads((done["folder"] / "paired.json").read_text())
    assert len(paired["families"]) == len(TASKS)
    by_run = {run["fingerprint"]: run for family in paired["families"] for run in family["runs"]}
    for row in done["rows"]:
        if row["method"] != "none":
            run = by_run[row["fingerprint"]]
            assert (row["delta"], row["value"]) == (run["delta"], run["value"])


def test_timing_turns_are_balanced_and_counted_by_hand(done):
    stored = json.loads((done["folder"] / "timing" / "race.json").read_text())
    assert {t["round"] for t in stored["times"]} == {0, 1}
    assert len(stored["times"]) == 2 * 5
    order = [[t["cell"] for t in stored["times"] if t["round"] == n] for n in (0, 1)]
    assert order[1] == order[0][1:] + order[0][:1]
    row = chosen(done, "race", "fastv", 0.9)
    own, plain = (
        [t for t in stored["times"] if t["cell"] == r["fingerprint"]]
        for r in (row, chosen(done, "race", "none"))
    )
    ratios = sorted(a["prefill"] / b["prefill"] for a, b in zip(plain, own, strict=True))
    assert row["speedup_prefill"] == pytest.approx(sum(ratios) / 2)
    assert {t["audio_tokens_kept"] for t in own} == {int(own[0]["audio_tokens"] * 0.1 + 1e-9)}
    from transformers import AudioFlamingo3ForConditionalGeneration

    built = AudioFlamingo3ForConditionalGeneration.from_pretrained(
        done["place"] / "audio_flamingo_3"
    )
    tokens, audio, kept = (
        own[0][name] for name in ("input_tokens", "audio_tokens", "audio_tokens_kept")
    )
    assert row["theory"] == pytest.approx(Prefill.of(built).speedup(tokens, audio, kept, 1))


def test_a_second_start_asks_and_times_nothing(done):
    before, after = done["answers"]
    assert len(before) == 10
    assert before == after
    first, second = done["tables"]
    assert first == second


def test_tables_and_figures_lie_beside_the_study(done):
    text = (done["folder"] / "pruning.md").read_text()
    pruned, evicted = text.split("## Evicted after the prefill")
    assert pruned.count("| fastv |") == 4
    assert "| knorm |" not in pruned
    assert evicted.count("| knorm |") == 4
    assert evicted.count("| none |") == 2
    table = list(csv.DictReader((done["folder"] / "pruning.csv").open()))
    assert len(table) == len(done["rows"])
    for task in TASKS:
        png, svg = (done["folder"] / f"tradeoff_{task}.{kind}" for kind in ("png", "svg"))
        assert png.read_bytes().startswith(b"\x89PNG")
        assert ElementTree.parse(svg).getroot().tag.endswith("svg")


def test_the_benchmark_runs_small(tmp_path):
    command = [sys.executable, str(ROOT / "benchmarks" / "pruning.py"), "--quick"]
    ran = subprocess.run(
        command, cwd=tmp_path, env=environment(ROOT), capture_output=True, text=True, timeout=400
    )
    assert ran.returncode == 0, ran.stderr
    lines = [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("{")]
    cells = [line for line in lines if line["figure"] == "prefill"]
    # Two lengths; unpruned, one method at 0, and all methods at three ratios; the larger batch has
    # one method.
    assert len(cells) == 2 * ((1 + 1 + 4 * 3) + (1 + 1 + 3))
    for cell in cells:
        assert cell["quotient"] == cell["speedup"] / cell["theory"]
        # DART's published quota is coarser.
        if cell["method"] != "dart":
            assert cell["kept"] == int(cell["audio_tokens"] * (1 - cell["ratio"]) + 1e-9)
    whole = [line for line in lines if line["figure"] == "whole"]
    assert {line["method"] for line in whole} == {"none", "fastv", "knorm", "snapkv"}
    assert all(line["written"] == 8 for line in whole)
    assert all(line["kv_change"] < -0.3 for line in whole if line["method"] != "none")
    assert sum(line["figure"] == "encoder" for line in lines) == 2
    assert "not measured" not in ran.stdout
