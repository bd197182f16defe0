"""Several runs together: names, corrections, audio gain, curves, files, the command line."""

import csv
import json
import time

import numpy as np
import pytest

from lalm_bench.compare.__main__ import main
from lalm_bench.compare.family import adjust, compare
from lalm_bench.compare.groups import Cell, compare_cells
from lalm_bench.compare.loaded import load
from lalm_bench.stats import holm
from tests.compare.conftest import rows


def answers(share, n=60, seed=0):
    """Right with probability `share`; items that survive a level survive all gentler ones."""
    drawn = np.random.default_rng(seed).random(n)
    return rows("".join("a" if d < share else "b" for d in drawn))


def mask(ratio):
    return {"_target_": "x.Mask", "name": "mask", "ratio": ratio, "segment_s": 0.25}


@pytest.fixture
def sweep(made):
    """A baseline, three mask levels and silence."""
    runs = [made("baseline", answers(0.9))]
    runs += [made(f"mask{r}", answers(0.9 - r / 2), mask(r)) for r in (0.8, 0.2, 0.4)]
    return [load(folder) for folder in (*runs, made("silence", answers(0.25), {"name": "silence"}))]


def test_labels_name_what_varies(sweep):
    family = compare(sweep[0], sweep[1:])
    labels = [cell.label for cell in family.cells]
    assert labels == ["mask ratio=0.8", "mask ratio=0.2", "mask ratio=0.4", "silence"]


def test_holm_covers_all_runs(sweep):
    family = compare(sweep[0], sweep[1:])
    adjust([family])
    found = [cell.result for cell in family.cells]
    assert [r.p_holm for r in found] == pytest.approx(holm([r.p for r in found]).tolist())


def test_audio_gain_is_paired_with_the_control(sweep):
    family = compare(sweep[0], sweep[1:])
    gains = {gain["run"]: gain["gain"] for gain in family.gains}
    silence = family.cells[-1].result.value
    assert list(gains) == ["baseline", "mask ratio=0.8", "mask ratio=0.2", "mask ratio=0.4"]
    assert gains["baseline"] == pytest.approx(family.value - silence)
    for cell in family.cells[:3]:
        assert gains[cell.label] == pytest.approx(cell.result.value - silence)


def test_the_curve_and_its_area(sweep):
    family = compare(sweep[0], sweep[1:])
    (curve,) = family.curves
    levels = [point["level"] for point in curve.points]
    values = [point["value"] for point in curve.points]
    assert (curve.name, curve.setting) == ("mask", "intervention.ratio")
    assert levels == [0.0, 0.2, 0.4, 0.8]  # nothing masked is the baseline
    assert values == sorted(values, reverse=True)
    assert curve.area == pytest.approx(np.trapezoid(values, levels) / 0.8)
    assert curve.area_delta == pytest.approx(curve.area - family.value)
    assert curve.area_low < curve.area_delta < curve.area_high < 0


def test_two_swept_settings_give_a_curve_for_each_of_the_other(made):
    baseline = made("b", answers(0.9))
    cells = [
        made(f"m{r}{s}", answers(0.9 - r * s), {"name": "mask", "ratio": r, "segment_s": s})
        for r in (0.2, 0.6)
        for s in (0.1, 0.5)
    ]
    family = compare(load(baseline), [load(c) for c in cells])
    settings = sorted(curve.setting for curve in family.curves)
    assert settings == ["intervention.ratio"] * 2 + ["intervention.segment_s"] * 2


def test_files_agree_and_json_is_strict(sweep, tmp_path, capsys):
    folders = [str(run.folder) for run in sweep]
    assert main([*folders, "--out", str(tmp_path / "out"), "--groups", "--power", "5"]) == 0
    shown = capsys.readouterr().out
    assert "for 5 points" in shown
    assert "by hop" in shown
    assert max(map(len, shown.splitlines()[:-1])) <= 110
    text = (tmp_path / "out" / "paired.json").read_text()

    def refuse(constant):
        raise AssertionError(constant)

    content = json.loads(text, parse_constant=refuse)
    (family,) = content["families"]
    table = list(csv.DictReader((tmp_path / "out" / "paired.csv").open()))
    assert [row["fingerprint"] for row in table] == [run["fingerprint"] for run in family["runs"]]
    assert [float(row["delta"]) for row in table] == [run["delta"] for run in family["runs"]]
    assert "mask ratio=0.4" in (tmp_path / "out" / "paired.md").read_text()
    for kind in ("png", "svg"):
        assert (tmp_path / "out" / f"curve_mcq_mask_ratio.{kind}").stat().st_size > 5000


def test_runs_by_fingerprint_and_its_first_digits(sweep, tmp_path, capsys):
    outputs = f"--outputs={tmp_path / 'outputs'}"
    first, second = sweep[0].fingerprint, sweep[1].fingerprint
    assert main([first, second[:6], outputs]) == 0
    assert "mask" in capsys.readouterr().out
    for words, said in (
        ([first, "ffff"], "no run of this fingerprint"),
        ([first, "nowhere"], "no run folder"),
        ([first, first], "named twice"),
        ([first], "name the baseline and one run"),
        ([first, second, "--metric", "bleu"], "bleu cannot be paired"),
    ):
        assert main([*words, outputs]) == 2
        captured = capsys.readouterr()
        assert said in captured.err
        assert len(captured.err.splitlines()) == 1
        assert captured.out == ""


def test_a_run_that_was_stopped_is_refused(made, capsys):
    good, stopped = made("a", rows("ab")), made("b", rows("ab"), mask(0.1), status="stopped")
    assert main([str(good), str(stopped)]) == 2
    assert "stopped, not finished" in capsys.readouterr().err


# ------------------------------------------------------------------ the cells of a sweep


def cells(*folders, overrides=("model=m", "intervention=mask", "intervention.ratio=0.5")):
    return [Cell(load(folder), overrides) for folder in folders]


def test_each_group_has_its_own_baseline(made, tmp_path):
    folders = [
        made(f"{model}{name}", answers(share), intervention, model=model)
        for model, drop in (("m", 0.0), ("other", 0.3))
        for name, share, intervention in (
            ("none", 0.9 - drop, None),
            ("mask", 0.5 - drop, mask(0.5)),
        )
    ]
    report = compare_cells(cells(*folders), tmp_path / "outputs")
    assert report.missing == []
    assert [family.title for family in report.families] == ["mcq · m", "mcq · other"]
    for family in report.families:
        assert [cell.label for cell in family.cells] == ["mask"]
        assert family.baseline.config["model"] == family.cells[0].run.config["model"]


def test_the_baseline_may_be_level_zero(made, tmp_path):
    folders = [made(f"mask{r}", answers(0.9 - r), mask(r)) for r in (0.5, 0.0)]
    (family,) = compare_cells(cells(*folders), tmp_path / "outputs").families
    assert family.baseline.config["intervention"]["ratio"] == 0.0


def test_the_baseline_may_have_been_run_before(made, tmp_path):
    made("wrong prompt", answers(0.1), task__prompt="Hm? {question}")
    old = made("baseline", answers(0.9))
    report = compare_cells(cells(made("mask", answers(0.5), mask(0.5))), tmp_path / "outputs")
    assert [family.baseline.folder for family in report.families] == [old]


def test_without_a_baseline_the_command_that_makes_it_is_said(made, tmp_path):
    report = compare_cells(cells(made("mask", answers(0.5), mask(0.5))), tmp_path / "outputs")
    assert report.families == []
    (line,) = report.missing
    assert line.endswith("make it: python -m lalm_bench model=m intervention=none")


def test_an_intervention_on_the_reasoning_names_its_own_baseline(made, tmp_path):
    baseline = made("baseline", answers(0.9))
    named = {"name": "filler", "level": 0.5, "baseline": baseline.name}
    folders = [made("filler", answers(0.6), named), made("mask", answers(0.5), mask(0.5))]
    (family,) = compare_cells(cells(*folders, baseline), tmp_path / "outputs").families
    assert [cell.label for cell in family.cells] == ["filler", "mask"]


def test_a_cell_that_cannot_be_paired_hides_no_other(made, tmp_path):
    changed = [r | {"question": "Another?"} for r in answers(0.5)]
    folders = [
        made("baseline", answers(0.9)),
        made("bad", changed, mask(0.2)),
        made("good", answers(0.5), mask(0.5)),
    ]
    (family,) = compare_cells(cells(*folders), tmp_path / "outputs").families
    assert [cell.run.folder for cell in family.cells] == [folders[2]]
    assert "asked something else" in family.failed[0]


def test_pruning_is_compared_with_none(made, tmp_path):
    folders = [
        made(f"{p}", answers(0.9 - p), pruning={"name": "fastv", "ratio": p} if p else None)
        for p in (0.2, 0.6)
    ]
    folders.append(made("none", answers(0.9)))
    (family,) = compare_cells(cells(*folders), tmp_path / "outputs").families
    assert [cell.label for cell in family.cells] == ["fastv ratio=0.2", "fastv ratio=0.6"]
    assert [curve.setting for curve in family.curves] == ["pruning.ratio"]


def test_twenty_runs_of_ten_thousand_items_take_seconds(made):
    runs = [made("baseline", answers(0.9, 10_000))]
    runs += [made(f"m{k}", answers(0.9 - k / 40, 10_000, k), mask(k / 20)) for k in range(20)]
    loaded = [load(folder) for folder in runs]
    began = time.process_time()
    compare(loaded[0], loaded[1:])
    assert time.process_time() - began < 10
