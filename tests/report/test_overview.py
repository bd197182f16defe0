"""The first page of a report, read by somebody who has not met the runs."""

import json
import shutil

from lalm_bench.report.__main__ import main
from tests.report.conftest import command, read


def section(folder, title):
    (found,) = [s for s in read(folder, "index")["sections"] if s["title"] == title]
    return found


def test_runs_are_called_alike_in_all_tables_and_heads_are_words(report):
    leaderboard = section(report, "mcq_synthetic")["tables"][0]
    names = {row[0] for row in leaderboard["rows"]}
    paired, gains = section(report, "Paired differences")["tables"][:2]
    assert {row[0] for row in paired["rows"]} == names - {"baseline"}
    assert {row[0] for row in gains["rows"]} <= names
    assert "right → wrong" in paired["columns"]
    assert not {"R>W", "shows", "n"} & {*paired["columns"]}


def test_a_table_says_how_the_runs_were_made(report, runs):
    (made,) = section(report, "Runs")["tables"]
    rows = {row[-1]: dict(zip(made["columns"], row, strict=True)) for row in made["rows"]}
    for run in runs.values():
        state = json.loads((run / "run.json").read_text())
        row = rows[run.name]
        assert row["seed"] == str(state["config"]["seed"])
        assert row["limit"] == "all items"
        assert row["status"] == "finished"
        if state.get("git", {}).get("commit"):
            assert row["commit"].rstrip("*") == state["git"]["commit"][:8]
    assert rows[runs["mask"].name]["condition"].startswith("mask ")
    assert "ratio=0.5" in rows[runs["mask"].name]["condition"]


def test_time_is_compared_where_runs_differ_in_what_it_depends_on(report, runs, tmp_path):
    """One listener under six conditions hears as fast; another model does not."""
    assert not [*report.glob("figures/pareto_*")]
    folder = tmp_path / "made"
    folder.mkdir()
    command(folder, "task.scenes=6", "model=random")
    (other,) = (p.parent for p in folder.glob("outputs/*/*/*/*/run.json"))
    for place, run in enumerate((runs["none"], other)):
        lines = [json.loads(x) for x in (run / "responses.jsonl").read_text().splitlines()]
        timed = [line | {"timing": {"generate_s": 0.1 + place}} for line in lines]
        copy = tmp_path / str(place)
        shutil.copytree(run, copy)
        (copy / "responses.jsonl").write_text("".join(json.dumps(t) + "\n" for t in timed))
    out = tmp_path / "report"
    assert main([str(tmp_path / "0"), str(tmp_path / "1"), "--out", str(out), "--clips", "0"]) == 0
    assert [*out.glob("figures/pareto_*.svg")]
