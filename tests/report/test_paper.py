"""Tables for papers: LaTeX that compiles whatever a model is called, Markdown, CSV."""

import csv
import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lalm_bench.report.paper import Table, escape, file_name

ROWS = [["50%_of $x$ & {y}", "-0.5 [-1.0, 0.0]"], ["[a]|b\\c", "-"]]
TABLE = Table("t_1", "A & B", ["run", "change"], ROWS, "n < 3", data=({"run": "=1+1", "v": None},))


def test_latex_rows_have_as_many_cells_as_columns():
    text = TABLE.latex()
    body = text.split("\\midrule")[1].split("\\bottomrule")[0].strip().splitlines()
    assert len(body) == 2
    for line in body:
        assert len(re.findall(r"(?<!\\)&", line)) == 1
        assert line.endswith("\\\\")
    assert "{lr}" in text
    assert "$-$0.5 [$-$1.0, 0.0]" in text
    assert "50\\%\\_of \\$x\\$ \\& \\{y\\}" in text
    assert "{[a]\\textbar{}b\\textbackslash{}c}" in text


@given(st.text(alphabet=st.characters(codec="ascii"), max_size=30))
def test_escaped_text_leaves_no_command_of_its_own(text):
    kept = escape(text)
    # Take away what escaping puts there: nothing that LaTeX acts on is left.
    for known in (r"\\textbackslash\{\}", r"\\text(asciitilde|asciicircum|less|greater|bar)\{\}"):
        kept = re.sub(known, "", kept)
    kept = re.sub(r"\$-\$|\\[&%$#_{}]", "", kept)
    assert not set(kept) & set("\\&%$#_{}~^<>|\n")


def test_markdown_cells_cannot_end_their_cell():
    lines = TABLE.markdown().splitlines()
    rows = [line for line in lines if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {3}
    assert "&lt; 3" in lines[-1]


def test_csv_has_full_precision_and_no_formula():
    (row,) = csv.DictReader(io.StringIO(TABLE.csv()))
    assert row == {"run": "'=1+1", "v": ""}


@pytest.mark.parametrize("name", ["../../etc", "a/b c", "", "ü·x"])
def test_file_names_stay_in_their_folder(name):
    assert re.fullmatch(r"[A-Za-z0-9][\w.-]*", file_name(name))
