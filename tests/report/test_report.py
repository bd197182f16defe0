import csv
import threading
import xml.etree.ElementTree as ET

import pytest

from lalm_bench.metrics.multiple_choice import summarise
from lalm_bench.report import figures, table
from tests.metrics.test_multiple_choice import ROWS
from tests.metrics.test_multiple_choice import table as decisions


@pytest.fixture
def metrics():
    frame = decisions(ROWS, family=["p", "p", "q | r", "q | r"])
    return summarise(frame, ("family",))


def test_markdown_says_every_headline_number(metrics):
    values = {**metrics.values, "n_errors": 2}
    text = table.markdown("t", values, metrics.analysis, ("family",))
    for word in ("0.5000", "Wilson", "cluster-robust", "chance", "best constant", "| 2 |"):
        assert word in text
    assert "q \\| r" in text
    widths = {line.count("|") - line.count("\\|") for line in text.splitlines() if "0." in line}
    assert widths == {3, 8}


def test_the_terminal_table_fits_and_names_groups(metrics, capsys):
    values = {**metrics.values, "n_errors": 0}
    table.terminal("title", values, metrics.analysis, ("family",))
    out = capsys.readouterr().out
    assert "title" in out
    assert "q | r" in out


def test_the_index_has_one_line_a_fingerprint_whoever_writes(tmp_path):
    def write(number):
        for value in (0.1, 0.2):
            row = {"fingerprint": f"f{number}", "task": "t", "accuracy": value}
            table.index(tmp_path, row)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rows = list(csv.DictReader((tmp_path / "runs.csv").open()))
    assert [r["fingerprint"] for r in rows] == [f"f{n}" for n in range(8)]
    assert {r["accuracy"] for r in rows} == {"0.2"}


def test_figures_are_drawn_twice_the_same(metrics, tmp_path):
    first = figures.draw(tmp_path / "a", "t", metrics.analysis, ("family",))
    second = figures.draw(tmp_path / "b", "t", metrics.analysis, ("family",))
    assert {p.name for p in first} == {
        *("accuracy_by_family.png", "accuracy_by_family.svg"),
        *("confusion.png", "confusion.svg"),
    }
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()
        if one.suffix == ".svg":
            ET.parse(one)


def test_extreme_accuracies_can_be_drawn(tmp_path):
    rows = [("A", "A", 2, i) for i in range(5)] + [("B", "A", 2, i) for i in range(5)]
    analysis = summarise(decisions(rows, family=["p"] * 5 + ["q"] * 5), ("family",)).analysis
    assert len(figures.draw(tmp_path / "f", "t", analysis, ("family",))) == 4


CAPTIONS = {
    "n": 3,
    "n_clusters": 3,
    "cider_d": 0.41,
    "cider_d_cluster_low": 0.3,
    "cider_d_cluster_high": 0.5,
    "words_mean": 9.5,
    "fense": None,
    "sbert_sim[tiny]": 0.7,
    "invalid_rate": 0.0,
    "n_errors": 0,
}
HEADLINE = ("cider_d", "fense", "sbert_sim[tiny]", "not there")
FREE = {
    "by_license": [
        {"value": "a | b", "n": 2, "cider_d": 0.5, "cider_d_low": 0.6, "cider_d_high": 0.7},
        {"value": "c", "n": 1, "cider_d": None, "cider_d_low": None, "cider_d_high": None},
        {"value": "d", "n": 1, "cider_d": 1.2},
    ],
    "by_judge": [{"value": "j", "agreement": 0.5}],
    "not_computed": {"fense": "no weights"},
    "histograms": {"cider_d": {"counts": [1, 2], "edges": [0, 1, 2]}},
}


def test_a_task_without_choices_shows_its_own_headline(capsys):
    groups = ("license", "judge", "absent")
    text = table.markdown("t", CAPTIONS, FREE, groups, HEADLINE)
    table.terminal("t [x]", CAPTIONS, FREE, groups, HEADLINE)
    for shown in (text, capsys.readouterr().out):
        assert "cider_d, 95 %" in shown
        assert "0.4100 [0.3000, 0.5000]" in shown
        assert "- (no weights)" in shown
        assert "sbert_sim[tiny]" in shown
        assert "accuracy" not in shown
        assert "chance" not in shown
        assert "words_mean" not in shown
        assert "1.2000" in shown
    assert "| license | n | cider_d |" in text
    assert "a \\| b" in text
    assert "judge" not in text


def test_accuracy_may_stand_beside_another_headline(metrics):
    values = {**metrics.values, "macro_f1": 0.25, "macro_f1_low": 0.1, "macro_f1_high": 0.4}
    rows = dict(table.summary_rows(values, ("macro_f1", "accuracy", "invalid_rate")))
    assert rows["macro_f1, 95 %"] == "0.2500 [0.1000, 0.4000]"
    assert rows["accuracy, 95 %"].startswith("0.5000 [")
    assert rows["chance (mean of 1/options)"] == "0.3750"
    assert rows["invalid_rate"] == "0.2500"
    assert "invalid answers" not in rows


def test_figures_show_what_there_is_and_nothing_else(tmp_path):
    files = figures.draw(tmp_path / "f", "t", FREE, ("license", "judge", "absent"), HEADLINE)
    assert {f.stem for f in files} == {"cider_d_by_license", "distribution_cider_d"}
    assert figures.draw(tmp_path / "g", "t", {}, ("license",), HEADLINE) == []


def test_the_index_names_the_value_that_counts(tmp_path):
    (tmp_path / "runs.csv").write_text("fingerprint,task,accuracy\nold,t,0.5\n")
    table.index(tmp_path, {"fingerprint": "new", "task": "u", "metric": "cider_d", "value": 0.4})
    new, old = sorted(csv.DictReader((tmp_path / "runs.csv").open()), key=lambda r: r["task"])[::-1]
    assert (old["fingerprint"], old["accuracy"], old["metric"]) == ("old", "0.5", "")
    assert (new["metric"], new["value"], new["accuracy"]) == ("cider_d", "0.4", "")


def test_numbers():
    assert table.number(None) == "-"
    assert table.number(0.12345) == "0.1235"
    assert table.number(7) == "7"
