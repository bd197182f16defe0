import subprocess
import sys

import pytest

from lalm_bench.analysis.__main__ import main
from lalm_bench.analysis.findings import Findings, names
from lalm_bench.compare.loaded import load
from lalm_bench.errors import DataError
from lalm_bench.report.paper import Table
from tests.compare.conftest import row
from tests.conftest import ROOT, environment


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("similarity",),
        ("captions",),
        ("duration",),
        ("rubrics",),
        ("rubrics", "generate"),
        ("rubrics", "clean"),
    ],
)
def test_every_verb_explains_itself(words, capsys):
    with pytest.raises(SystemExit) as ended:
        main([*words, "--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert "usage: python -m lalm_bench.analysis" in shown
    assert not words[1:] or "--out" in shown
    if words in ((), ("rubrics",)):  # nothing else was said: the same
        assert main(words) == 0
        assert capsys.readouterr().out == shown


def test_help_loads_nothing_heavy():
    code = (
        "import sys; from lalm_bench.analysis.__main__ import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: print(sorted({'numpy', 'torch', 'hydra'} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment(ROOT)
    )
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    "verb", ["similarity a b", "captions a", "duration a", "rubrics generate a"]
)
def test_a_run_that_is_not_there_is_one_line(verb, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(verb.split()) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: a")
    assert error.count("\n") == 1
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    "words",
    [
        *("similarity a b --most 0", "captions a --far x", "bogus", "captions a b"),
        "rubrics generate a x=1 --outt b",
    ],
)
def test_a_bad_word_is_a_usage_error(words):
    with pytest.raises(SystemExit) as ended:
        main(words.split())
    assert ended.value.code == 2


def test_runs_are_named_by_what_they_do_not_share(made):
    noise = {"name": "noise", "snr_db": 0}
    runs = [load(made("none", [])), load(made("noise", [], noise)), load(made("z", [], model="m2"))]
    assert names(runs[:2]) == ["baseline", "noise"]
    assert names(runs) == ["m · baseline", "m · noise", "m2 · baseline"]
    again = load(made("again", []))
    twice = names([runs[0], again])
    assert twice == [f"baseline [{run.fingerprint[:6]}]" for run in (runs[0], again)]


@pytest.mark.parametrize("verb", ["similarity", "rubrics"])
def test_a_place_that_cannot_be_written_is_one_line(made, tmp_path, capsys, verb):
    (tmp_path / "file").write_text("mine")
    first = made("none", [row(0, "a", text="a", target_text="x")])
    second = made("noise", [row(0, "b", text="b")], {"name": "noise"})
    words = {
        "similarity": (str(first), str(second)),
        "rubrics": ("generate", str(first), "judge.panel.judge.served_name=x"),
    }
    assert main([verb, *words[verb], "--out", str(tmp_path / "file" / "below")]) == 2
    error = capsys.readouterr().err
    assert "cannot be written" in error
    assert error.count("\n") == 1
    assert (tmp_path / "file").read_text() == "mine"


def test_what_goes_wrong_while_writing_leaves_the_earlier_result(tmp_path):
    table = Table("numbers", "Numbers <b>", ["run", "n"], [["a|b <i> ![x](http://y)", "1"]])

    def fail(folder):
        raise OSError(28, "No space left on device")

    Findings("verb", "Title", "About.", [table]).write(tmp_path / "out")
    before = {f.name: f.read_bytes() for f in (tmp_path / "out").iterdir()}
    # What a model wrote becomes neither a tag nor a link nor an image.
    assert "a\\|b &lt;i> ![x]\\(http://y)" in before["verb.md"].decode()
    with pytest.raises(DataError, match="No space left"):
        Findings("verb", "Other", "", [table], draw=fail).write(tmp_path / "out")
    assert before == {f.name: f.read_bytes() for f in (tmp_path / "out").iterdir()}
    assert [f.name for f in tmp_path.iterdir()] == ["out"]
