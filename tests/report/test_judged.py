"""Runs that two language models have judged, in the report and in paired comparisons.

The judges are tiny checkpoints with random weights, so a word that they happen to write stands for
their verdict; what the report says is held against the files that `stage=judge` wrote.
"""

import csv
import json

import pytest

from lalm_bench.compare.__main__ import main as compare
from lalm_bench.report.__main__ import main
from tests import tiny
from tests.report.conftest import command, keys, read

RIGHT, WRONG = ("with", "event", "fal", "option"), ("rain", "helpful", "one", "lone")
RUBRIC = "words"


def words(models):
    """Overrides of a judge that reads words, and a panel of two in this process."""
    levels = "judge.rubric.parser.fields.correct.levels"
    one, two = (f"{model}" for model in models)
    return (
        *("judge=binary", f"judge.rubric.name={RUBRIC}", "judge.rubric.reask=null"),
        "judge.rubric.parser._target_=lalm_bench.judges.parsers.Words",
        *(f"+{levels}.{word}=1" for word in RIGHT),
        *(f"+{levels}.{word}=0" for word in WRONG),
        *("judge/panel=local", f"judge.panel.judge.path={one}", "judge.panel.judge.dtype=float32"),
        *("+model@judge.panel.second=text", f"judge.panel.second.path={two}"),
        *("judge.panel.second.dtype=float32", "judge.max_new_tokens=24", "runtime.device=cpu"),
    )


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """Folders of two judged runs of the signal listener, the unchanged one first."""
    folder = tmp_path_factory.mktemp("judged")
    models = [tiny.build("tiny_llama", folder / str(seed), seed) for seed in (0, 1)]
    command(folder, "-m", "task.scenes=2", "intervention=none,mask")
    runs = sorted(
        (state.parent for state in folder.glob("outputs/*/*/*/*/run.json")),
        key=lambda run: run.parent.name,
    )
    named = f"judge.runs=[{','.join(run.name for run in runs)}]"
    command(folder, "stage=judge", "task.scenes=2", named, *words(models))
    return runs


@pytest.fixture(scope="module")
def shown(judged, tmp_path_factory):
    folder = tmp_path_factory.mktemp("shown") / "report"
    assert main([*map(str, judged), "--out", str(folder), "--clips", "none"]) == 0
    return folder


def decided(run):
    lines = (run / "judge" / RUBRIC / "decisions.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def apart(row):
    given = {row["correct[judge]"], row["correct[second]"]} - {None}
    return len(given) > 1


def test_samples_have_each_judges_verdict_and_the_panels(judged, shown):
    for key, run in zip(("r0", "r1"), judged, strict=True):
        rows = decided(run)
        assert read(shown, key)["disagree"] == [int(apart(row)) for row in rows]
        for row, record in zip(rows, read(shown, f"{key}-0"), strict=True):
            (rubric,) = record["judges"]
            assert rubric["panel"] == {"correct": row["judge_correct"]}
            for said in rubric["judges"]:
                name = said["judge"]
                assert said["text"] == row[f"verdict[{name}]"]
                assert said["values"] == {"correct": row[f"correct[{name}]"]}
                assert said.get("malformed", False) == bool(row[f"malformed[{name}]"])
    # Else this test could not fail.
    assert any(apart(row) for run in judged for row in decided(run))
    assert any(row["malformed[judge]"] for run in judged for row in decided(run))


def test_tables_say_what_the_panel_and_each_judge_made_of_a_run(judged, shown):
    with open(shown / "tables" / f"judged_{RUBRIC}.csv", newline="") as file:
        found = [*csv.DictReader(file)]
    for run, row in zip(judged, found, strict=True):
        values = json.loads((run / "judge" / RUBRIC / "metrics.json").read_text())["metrics"]
        rows = decided(run)
        assert float(row["accuracy"]) == values["accuracy"]
        assert float(row["judge_correct"]) == values["judge_correct"]
        assert row["judges disagree"] == f"{sum(map(apart, rows))} of {len(rows)}"
        # A field that no two judges rated on two answers has no agreement.
        alpha = values["judge_alpha_correct"]
        assert row["judge_alpha_correct"] == ("" if alpha is None else str(alpha))
    with open(shown / "tables" / f"judged_{RUBRIC}_alone.csv", newline="") as file:
        alone = [*csv.DictReader(file)]
    assert [row["judge"] for row in alone] == ["judge", "second"] * 2
    shares = [float(row["malformed"]) for row in alone]
    for share, (run, name) in zip(
        shares, [(run, name) for run in judged for name in ("judge", "second")], strict=True
    ):
        own = [row[f"malformed[{name}]"] for row in decided(run)]
        assert share == pytest.approx(sum(own) / len(own), abs=5e-5)


def test_judged_runs_compare_by_what_the_judges_say(judged, tmp_path):
    baseline, run = (place / "judge" / RUBRIC for place in judged)
    assert compare([str(baseline), str(run), "--out", str(tmp_path), "--no-figures"]) == 0
    (family,) = json.loads((tmp_path / "paired.json").read_text())["families"]
    means = [sum(r["correct"] for r in rows) / len(rows) for rows in map(decided, judged)]
    assert family["baseline"]["value"] == pytest.approx(means[0])
    assert family["runs"][0]["delta"] == pytest.approx(means[1] - means[0])
    plain = json.loads((judged[0] / "metrics.json").read_text())["metrics"]["accuracy"]
    assert plain != pytest.approx(means[0])


def test_a_judged_folder_names_the_run_that_it_lies_in(judged, tmp_path):
    out = tmp_path / "report"
    folder = judged[0] / "judge" / RUBRIC
    assert main([str(folder), "--out", str(out), "--clips", "none"]) == 0
    (run,) = read(out, "index")["runs"]
    assert run["fingerprint"] == judged[0].name
    metrics = json.loads((judged[0] / "metrics.json").read_text())["metrics"]
    with open(out / "tables" / "leaderboard_mcq_synthetic.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert float(row["accuracy"]) == metrics["accuracy"]
    assert (out / "tables" / f"judged_{RUBRIC}.csv").is_file()


@pytest.mark.browser
def test_the_filter_leaves_where_judges_disagree(opened, judged, shown):
    key = keys(shown)["baseline"]
    wanted = {row["id"] for row in decided(judged[0]) if apart(row)}
    if not wanted:
        key, wanted = keys(shown)["mask"], {r["id"] for r in decided(judged[1]) if apart(r)}
    page = opened(shown, f"#samples/{key}")
    page.keyboard.press("f")
    page.get_by_label(f"judges disagree ({len(wanted)})").check()
    page.wait_for_selector(f"#count:has-text('{len(wanted)} of 14')")
    assert set(page.locator(".row .id").all_text_contents()) == wanted
    page.get_by_text("second says").first.click()
    tag = page.locator("#sample .tag")
    assert tag.text_content() == "disagree"
