import json

import pytest

from lalm_bench.analysis.__main__ import main
from lalm_bench.stats import cluster_mean
from tests.analysis.conftest import number, table
from tests.compare.conftest import row
from tests.metrics.captions.test_networks import sentence_encoder
from tests.report.conftest import command

NOISE = {"name": "noise", "snr_db": 0}
# Text of the original, text in the run, label of each; None: no label.
ANSWERS = [
    ("(a) dog", "(a) dog", "a", "a"),
    ("(a) dog", "(b) dog", "a", "b"),
    ("(b) cat", "no idea", "b", None),
    ("(c) hail", "(c) rain", "c", "c"),
]


def decisions(place, **more):
    return [
        row(i, answer[2 + place], "a", text=answer[place], **more)
        for i, answer in enumerate(ANSWERS)
    ]


def analysed(tmp_path, *words, code=0):
    folder = tmp_path / "found"
    assert main(["similarity", *map(str, words), "--out", str(folder)]) == code
    return folder


def test_numbers_by_hand(made, tmp_path):
    first = made("none", decisions(0))
    second = made("noise", [*decisions(1), row(9, "a", "a", text="more")], NOISE)
    folder = analysed(tmp_path, first, second)
    assert "{" not in (folder / "similarity.md").read_text()
    (found,) = table(folder, "runs")
    assert found["run"] == "noise"
    assert (found["n"], found["clips"], found["missing"], found["extra"]) == ("4", "2", "0", "1")
    # Three pairs have two labels, of which two are equal; clips hold two items each.
    assert number(found, "same answer") == pytest.approx(2 / 3)
    assert found["same answer_n"] == "3"
    assert number(found, "same text") == pytest.approx(1 / 4)
    # Words (brackets are words of the tokeniser): -lrb- a -rrb- dog, and so on.
    shared = [1, 2 * 3 / 8, 0, 2 * 3 / 8]
    assert number(found, "words") == pytest.approx(sum(shared) / 4)
    edits = [1, 1 - 1 / 7, 1 - 7 / 7, 1 - 2 / 8]
    assert number(found, "edit") == pytest.approx(sum(edits) / 4)
    interval = cluster_mean(shared, ["clip0", "clip0", "clip1", "clip1"])
    assert interval.low is not None
    assert number(found, "words_low") == pytest.approx(max(interval.low, 0))
    groups = {r["hop"]: r for r in table(folder, "by_hop")}
    assert number(groups["multi"], "words") == pytest.approx((shared[0] + shared[2]) / 2)
    assert number(groups["single"], "words") == pytest.approx((shared[1] + shared[3]) / 2)
    changed = table(folder, "most_changed")
    assert [r["item"] for r in changed] == ["item2", "item3", "item1", "item0"]
    assert (changed[0]["on the original"], changed[0]["in the run"]) == ("(b) cat", "no idea")
    assert len(table(folder, "items")) == 4


def test_the_floor_is_the_answer_to_another_clip(made, tmp_path):
    """All answers alike: the similarity is 1, and the floor says that this means nothing."""
    same = [row(i, "a", text="Music is playing.") for i in range(6)]
    folder = analysed(tmp_path, made("none", same), made("noise", same, NOISE))
    (found,) = table(folder, "runs")
    assert number(found, "words") == number(found, "words_floor") == 1
    assert found["words_low"] == ""  # no width, no interval
    # Items of one clip (two each) say the same: only another clip's answer may be compared with.
    apart = [row(i, "a", text=f"sound {i // 2}") for i in range(40)]
    folder = analysed(tmp_path, made("none", apart), made("noise", apart, NOISE))
    (found,) = table(folder, "runs")
    assert (number(found, "same text"), number(found, "same text_floor")) == (1, 0)
    assert number(found, "words_floor") == 0.5
    alone = [row(i, "a", text=f"sound {i}") for i in (0, 1)]  # one clip: there is no other
    folder = analysed(tmp_path, made("none", alone), made("noise", alone, NOISE))
    assert table(folder, "runs")[0]["words_floor"] == ""


def test_variants_of_an_item_count_once(made, tmp_path):
    def rows(*texts):
        keys = [(0, "x"), (0, "y"), (2, "x")]
        return [row(i, "a", variant=v, text=t) for (i, v), t in zip(keys, texts, strict=True)]

    first, second = rows("rain", "rain", "rain"), rows("rain", "hail", "hail")
    folder = analysed(tmp_path, made("none", first), made("noise", second, NOISE))
    (found,) = table(folder, "runs")
    assert found["n"] == "2"
    assert number(found, "same text") == pytest.approx((1 / 2 + 0) / 2)


def test_captions_have_texts_and_no_answer(made, tmp_path):
    def rows(*texts):
        return [row(i, t, t, text=t, n_options=0, options={}) for i, t in enumerate(texts)]

    first, second = rows("a dog", "rain falls"), rows("a dog", "rain drops")
    for decision in second:
        decision["target"] = first[int(decision["id"][-1])]["target"]
    folder = analysed(tmp_path, made("none", first), made("noise", second, NOISE))
    (found,) = table(folder, "runs")
    assert found["same answer"] == ""
    assert number(found, "words") == pytest.approx((1 + 1 / 2) / 2)


def test_an_encoder_adds_its_own_column(made, tmp_path):
    sentence_encoder(tmp_path / "tiny-bert")
    first, second = made("none", decisions(0)), made("noise", decisions(1), NOISE)
    folder = analysed(tmp_path, first, second, "--encoder", tmp_path / "tiny-bert")
    (found,) = table(folder, "runs")
    assert -1 <= number(found, "semantic[tiny-bert]") <= 1
    assert "semantic[tiny-bert]" in (folder / "similarity.md").read_text()


def test_what_does_not_fit_is_one_line_and_writes_nothing(made, tmp_path, capsys):
    first = made("none", decisions(0))
    other = made("other", decisions(1), NOISE, model="m2")
    for words, said in (
        ((first, other), "--across model"),
        ((first, first), "named twice"),
        ((first, tmp_path), "no run folder"),
    ):
        folder = analysed(tmp_path, *words, code=2)
        assert not folder.exists()
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1
    folder = analysed(tmp_path, first, other, "--across", "model")
    assert json.loads((folder / "similarity.json").read_text())["runs"][0]["model"] == "m2"


def test_a_folder_of_something_else_is_left_alone(made, tmp_path, capsys):
    first, second = made("none", decisions(0)), made("noise", decisions(1), NOISE)
    folder = tmp_path / "found"
    folder.mkdir()
    (folder / "thesis.txt").write_text("mine")
    analysed(tmp_path, first, second, code=2)
    assert "holds something else" in capsys.readouterr().err
    assert [f.name for f in folder.iterdir()] == ["thesis.txt"]
    (folder / "thesis.txt").unlink()
    analysed(tmp_path, first, second)
    before = {f.name: f.read_bytes() for f in folder.iterdir() if f.suffix != ".json"}
    analysed(tmp_path, first, second)
    assert before == {f.name: f.read_bytes() for f in folder.iterdir() if f.suffix != ".json"}
    assert not [f for f in tmp_path.iterdir() if f.name.startswith(".found")]


def test_real_runs_of_the_signal_listener(tmp_path):
    for words in (
        ("intervention=none",),
        ("intervention=noise", "intervention.snr_db=20"),
        ("intervention=noise", "intervention.snr_db=-20"),
    ):
        command(tmp_path, "task.scenes=6", *words)
    states = [json.loads(p.read_text()) for p in tmp_path.rglob("run.json")]
    prints = {s["config"]["intervention"].get("snr_db"): s["fingerprint"] for s in states}
    words = (prints[None], prints[20], prints[-20], "--outputs", tmp_path / "outputs")
    folder = analysed(tmp_path, *words)
    quiet, loud = table(folder, "runs")
    assert [r["run"] for r in (quiet, loud)] == ["noise snr_db=20", "noise snr_db=-20"]
    assert number(quiet, "same text") == 1 > number(loud, "same text")
    assert number(loud, "same text") < number(loud, "words") + 1e-9
    names = {f.name for f in folder.iterdir()}
    assert {
        "similarity.md",
        "similarity.png",
        "similarity.svg",
        "runs.csv",
        "by_family.tex",
    } <= names
