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


def test_numbers():
    assert table.number(None) == "-"
    assert table.number(0.12345) == "0.1235"
    assert table.number(7) == "7"
