"""A real pruning study in the report: its figure, and its tables."""

import csv
import json

import pytest

from lalm_bench.report.__main__ import main
from tests import tiny
from tests.report.conftest import read
from tests.tasks import audiomarathon_layouts as layouts
from tests.test_study import run_study


@pytest.fixture(scope="module")
def studied(tmp_path_factory):
    """`experiment=audiomarathon_pruning` on two recordings: unpruned, pruned and evicted."""
    place = tmp_path_factory.mktemp("studied")
    layouts.race(place / "data" / "audiomarathon" / "race", 2)
    return run_study(
        place,
        *("experiment=audiomarathon_pruning", "model=audio_flamingo_3", "model.dtype=float32"),
        *(f"model.path={tiny.build('audio_flamingo_3', place)}", "study.each.task=[race]"),
        *("study.prefill=[fastv]", "study.eviction=[knorm]", "study.ratios=[0.5,0.9]"),
        *("study.layer=1", "generation.max_new_tokens=2", "limit=2"),
        "study.timing={items: 1, warmup: 0, repeats: 2}",
    )


def test_a_study_shows_its_figure_and_a_table_a_kind_of_pruning(studied, tmp_path):
    out = tmp_path / "report"
    assert main([str(studied), "--out", str(out), "--clips", "none"]) == 0
    with open(f"{studied}/pruning.json", encoding="utf-8") as file:
        study = json.load(file)
    index = read(out, "index")
    (section,) = [s for s in index["sections"] if s["title"] == study["title"]]
    (figure,) = section["figures"]
    assert (out / figure["svg"]).read_text().count("<path") > 20
    assert [t["title"] for t in section["tables"]] == [
        "race: pruned in the prefill",
        "race: evicted after the prefill",
    ]
    listed = {run["key"]: run["fingerprint"] for run in index["runs"]}
    for table, method in zip(section["tables"], ("fastv", "knorm"), strict=True):
        own = [r for r in study["rows"] if r["method"] in ("none", method)]
        assert [row[:2] for row in table["rows"]] == [
            ["unpruned", "-"],
            [method, "0.5"],
            [method, "0.9"],
        ]
        assert [listed[key] for key in table["runs"]] == [row["fingerprint"] for row in own]
        times = table["columns"].index("all, ms")
        assert [row[times] for row in table["rows"]] == [f"{r['total_ms']:.1f}" for r in own]
        kept = table["columns"].index("audio tokens kept")
        assert [row[kept] for row in table["rows"]] == [
            f"{r['audio_tokens_kept']:.0f} of {r['audio_tokens']:.0f}" for r in own
        ]
        # The CSV has what the study noted, to the last digit.
        with open(out / table["files"]["CSV"], newline="") as file:
            for stored, row in zip(csv.DictReader(file), own, strict=True):
                assert float(stored["speedup_total"]) == row["speedup_total"]
    # Times that were noted in batches do not stand beside those that were measured in turns.
    drawn = [f["svg"] for s in index["sections"] for f in s.get("figures", ())]
    assert not [name for name in drawn if "pareto" in name]
    assert (out / "tables" / "pruning_0_race_prefill.tex").read_text().count("toprule") == 1


def test_two_studies_of_one_task_keep_their_figures(studied, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    for name in ("study.json", "pruning.json"):
        with open(f"{studied}/{name}", encoding="utf-8") as file:
            text = file.read()
        (other / name).write_text(text.replace('"model": "audio_flamingo_3"', '"model": "copy"'))
    out = tmp_path / "report"
    assert main([str(studied), str(other), "--out", str(out), "--clips", "none"]) == 0
    drawn = [f["svg"] for s in read(out, "index")["sections"] for f in s.get("figures", ())]
    studies = [name for name in drawn if "tradeoff" in name]
    assert len(set(studies)) == 2
    first, second = ((out / name).read_bytes() for name in studies)
    assert first != second
