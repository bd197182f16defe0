import json

import pytest

from lalm_bench.data.manifest import rows
from lalm_bench.errors import DataError


def item(**changes):
    row = {
        "id": "u-1",
        "audio_id": "./test-mini-audios/u-1.wav",
        "audio_path": "./audio/clip one.wav",
        "question": "Is it right?",
        "choices": ["Incorrect", "Correct"],
        "answer": "Correct",
    }
    return {**row, **changes}


def made(tmp_path, *items):
    path = tmp_path / "mmar.jsonl"
    path.write_text("\n".join(json.dumps(i) for i in items))
    return rows("mmar", path)


def test_the_letter_is_that_of_the_equal_choice(tmp_path):
    (row,), faults = made(tmp_path, item(answer=" Correct "))
    assert faults == []
    assert row == {
        "id": "mmar_0",
        "question": "Is it right?",
        "choices": "(A) Incorrect (B) Correct",
        "choices_list": ["Incorrect", "Correct"],
        "audio_path": "{DATA_ROOT}/audio/clip one.wav",
        "answer": " Correct ",
        "true_letter": "B",
    }


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"choices": ["Correct", "Correct "]}, "equals 2 choices"),
        ({"answer": "correct"}, "equals none"),
        ({"choices": "Correct"}, "must be a list"),
        ({"answer": None}, "'answer' must be a text"),
        ({"audio_path": ""}, "'audio_path' must be"),
    ],
)
def test_a_doubtful_row_is_refused_and_the_others_keep_their_numbers(tmp_path, changes, said):
    good, faults = made(tmp_path, item(), item(**changes), item())
    assert [row["id"] for row in good] == ["mmar_0", "mmar_2"]
    assert said in faults[0]
    assert "item 2" in faults[0]


def test_files_that_cannot_be_read(tmp_path):
    (tmp_path / "x.jsonl").write_text("{}\n{")
    (tmp_path / "x.json").write_text("{}")
    (tmp_path / "empty.jsonl").write_text("\n\n")
    with pytest.raises(DataError, match=r"item 2: not .*JSON"):
        rows("mmar", tmp_path / "x.jsonl")
    for name in ("x.json", "empty.jsonl"):
        with pytest.raises(DataError, match="no list of items"):
            rows("mmau", tmp_path / name)
    with pytest.raises(DataError, match="cannot be read"):
        rows("mmau", tmp_path / "none.json")
    with pytest.raises(DataError, match=r"metadata\.csv"):
        rows("sakura", tmp_path)


def test_an_id_stands_for_one_row(tmp_path):
    path = tmp_path / "mini.json"
    path.write_text(json.dumps([item(), item(question="Again?"), item(id="u-2")]))
    good, (fault,) = rows("mmau", path)
    assert [row["question"] for row in good] == ["Is it right?", "Is it right?"]
    assert "(u-1)" in fault


def test_a_bad_line_of_sakura_is_refused_and_moves_no_number(tmp_path):
    for track in ("Animal", "Emotion", "Gender", "Language"):
        folder = tmp_path / "data" / track
        folder.mkdir(parents=True)
        lines = [
            "file,attribute_label,single_instruction,single_answer,multi_instruction,multi_answer"
        ]
        for n in range(3):
            answer = "(c) none" if (track, n) == ("Animal", 1) else "(a) x"
            lines.append(f"{n}.wav,x,Which? (a) x (b) y,{answer},Why? (a) x (b) y,(b) y")
        (folder / "metadata.csv").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    good, (fault,) = rows("sakura", tmp_path)
    assert "1.wav" in fault
    assert [r["id"] for r in good if "animal" in r["id"]] == [
        "sakura_animal_0_single",
        "sakura_animal_0_multi",
        "sakura_animal_1_multi",
        "sakura_animal_2_single",
        "sakura_animal_2_multi",
    ]


def test_the_benchmarks_own_files(shared_data):
    mmar, _ = rows("mmar", shared_data / "mmar" / "MMAR-meta.jsonl")
    assert len(mmar) == 1000
    for row in mmar:
        assert row["choices_list"]["ABCDEFGH".index(row["true_letter"])] == row["answer"].strip()
    mmau, refused = rows("mmau", shared_data / "mmau" / "mmau-test-mini.json")
    # Sixteen published items list the right choice twice.
    assert (len(mmau), len(refused)) == (984, 16)
    assert all("equals 2 choices" in fault for fault in refused)
    sakura, _ = rows("sakura", shared_data / "sakura")
    assert len(sakura) == 320
    assert sakura[0]["id"] == "sakura_animal_0_single"
    assert sakura[1]["id"] == "sakura_animal_0_multi"
    assert sakura[0]["audio_path"].startswith("{DATA_ROOT}/sakura/data/Animal/audio/")
    assert len({row["id"] for row in sakura}) == 320


def test_the_command(tool, tmp_path):
    path = tmp_path / "mini.json"
    path.write_text(json.dumps([item(), item(id="u-2", answer="maybe")]))
    done = tool("manifest", "mmau", path, tmp_path / "out.jsonl", check=0)
    assert "1 rows, 1 refused" in done.stdout
    assert "u-2" in done.stdout
    (line,) = (tmp_path / "out.jsonl").read_text().splitlines()
    assert json.loads(line)["id"] == "u-1"
    path.write_text(json.dumps([item(answer="maybe")]))
    done = tool("manifest", "mmau", path, tmp_path / "none.jsonl", check=2)
    assert "no row could be used" in done.stderr
    assert not (tmp_path / "none.jsonl").exists()
