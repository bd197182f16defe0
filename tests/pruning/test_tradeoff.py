"""The table of costs and savings, from runs made by hand."""

import json

import pytest

from lalm_bench.compare.sweep import compare_folders
from lalm_bench.tradeoff import markdown, rows, write
from lalm_bench.tradeoff_figure import front
from tests.compare.conftest import made  # noqa: F401 - a fixture
from tests.compare.conftest import rows as decided

FASTV = {
    "_target_": "lalm_bench.pruning.prefill.PrefillPruning",
    "name": "fastv",
    "ratio": 0.5,
    "layer": 2,
    "count": "match",
}
KNORM = {"_target_": "lalm_bench.pruning.eviction.Eviction", "name": "knorm", "ratio": 0.9}
TIMES = {
    **{"encoder_ms": 90.0, "prefill_ms": 50.0, "decode_ms": 10.0, "total_ms": 150.0},
    **{"total_p90_ms": 160.0, "speedup_prefill": 1.6, "theory": 1.75, "speedup_decode": 1.1},
    **{"speedup_total": 1.25, "peak_bytes": 3 * 2**30},
}


def answered(folder, *usages):
    lines = [
        {"key": f"k{n}", "finish": "error" if usage is None else "stop", "usage": usage}
        for n, usage in enumerate(usages)
    ]
    (folder / "responses.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return folder


@pytest.fixture
def study(made, tmp_path):  # noqa: F811
    """Folders of an unpruned, a pruned, an evicting and a masked run; and their comparison."""
    folders = [
        answered(made("plain", decided("aaaaab")), {"audio_tokens": 100, "kv_bytes": 2**20}),
        answered(
            made("fastv", decided("aabbab"), pruning=FASTV),
            {"audio_tokens": 100, "audio_tokens_kept": 50, "kv_bytes": 2**19},
            {"audio_tokens": 200, "audio_tokens_kept": 100, "kv_bytes": 2**20},
            None,
        ),
        answered(made("knorm", decided("aaaaaa"), pruning=KNORM), {}),
        answered(made("mask", decided("bbbbbb"), intervention={"name": "mask", "ratio": 0.2})),
    ]
    report = compare_folders([(f, ()) for f in folders], tmp_path / "outputs")
    return folders, report


def test_a_row_joins_score_change_tokens_and_times(study):
    folders, report = study
    plain, fastv, knorm = rows(folders, report, {str(folders[1]): TIMES})
    assert (plain["kind"], fastv["kind"], knorm["kind"]) == ("none", "prefill", "eviction")
    assert (plain["value"], plain["delta"]) == (pytest.approx(5 / 6), None)
    assert fastv["value"] == pytest.approx(3 / 6)
    assert fastv["delta"] == pytest.approx(-2 / 6)
    assert fastv["low"] < fastv["delta"] < fastv["high"]
    assert knorm["delta"] == pytest.approx(1 / 6)
    # Means over answers; an error is none.
    assert (fastv["audio_tokens"], fastv["audio_tokens_kept"]) == (150, 75)
    assert fastv["kv_bytes"] == 0.75 * 2**20
    assert {name: fastv[name] for name in TIMES} == TIMES
    assert knorm["kv_bytes"] is None
    assert knorm["total_ms"] is None


def test_the_two_kinds_stand_apart(study):
    folders, report = study
    text = markdown("a|b <c>", rows(folders, report, {str(folders[1]): TIMES}))
    assert text.startswith("# a\\|b &lt;c>\n")
    pruned, evicted = text.split("## Evicted after the prefill, which saves none of it")
    (line,) = (x for x in pruned.splitlines() if x.startswith("| mcq | fastv"))
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[2:4] == ["0.5", "accuracy 0.5000"]
    assert cells[4].startswith("-33.3 [")
    assert cells[5:] == [
        *("75 of 150", "0.8", "50.0", "10.0", "150.0", "1.60", "1.75", "1.25", "3.00"),
    ]
    assert "knorm" not in pruned
    assert "fastv" not in evicted
    assert "mask" not in text
    assert "| mcq | none | - | accuracy 0.8333 | - | 100 of 100 | 1.0 |" in evicted


def test_no_figure_without_times(study, tmp_path):
    folders, report = study
    names = {f.name for f in write(tmp_path, "t", folders, report, {})}
    assert names == {"pruning.md", "pruning.csv", "pruning.json"}
    timed = {str(f): TIMES for f in folders[:2]}
    files = write(tmp_path, "t", folders, report, timed)
    assert {f.name for f in files} - names == {"tradeoff_mcq.png", "tradeoff_mcq.svg"}
    assert all(f.stat().st_size > 100 for f in files)


def test_the_front_is_what_nothing_beats():
    points = [(10, 0.5), (5, 0.4), (7, 0.3), (12, 0.5), (4, 0.1), (5, 0.2)]
    assert front(points) == [(4, 0.1), (5, 0.4), (10, 0.5)]
    assert front([(10, 0.5), (5, 0.4), (4, 0.9)], fewer=True) == [(4, 0.9), (5, 0.4)]
