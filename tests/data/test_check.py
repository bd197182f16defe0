import json

import numpy as np
import pytest
import soundfile

from lalm_bench.data.check import check
from lalm_bench.data.compose import compose_task
from lalm_bench.data.findings import failed
from lalm_bench.errors import ConfigError
from tests.tasks import audiomarathon_layouts as layouts

TABLE = "music_genre_classification_meta.json"


def found(name, root, *overrides, **how):
    task, settings = compose_task(name, [f"task.root={root}", *overrides])
    facts, findings = check(task, settings, **how)
    return facts, {f.what: f for f in findings}


def change(table, number, **changes):
    content = json.loads(table.read_text())
    content[number] |= changes
    table.write_text(json.dumps(content))


def test_whole_data_has_nothing_but_its_size_to_report(tmp_path):
    layouts.gtzan(tmp_path)
    facts, findings = found("gtzan", tmp_path, "task.published_items=4", decode=True)
    assert findings == {}
    assert (facts["items"], facts["recordings"]) == (4, 4)
    assert facts["hours"] == round(4 * 240 / 3600, 3)
    _, findings = found("gtzan", tmp_path)
    (size,) = findings.values()
    assert size.places == ("4 here, 120 published",)
    assert size.severity == "warning"


def test_the_digest_is_of_the_content_and_not_of_its_place_or_order(tmp_path):
    layouts.gtzan(tmp_path / "a")
    layouts.gtzan(tmp_path / "b")
    path = tmp_path / "b" / TABLE
    path.write_text(json.dumps(json.loads(path.read_text())[::-1]))
    digests = [found("gtzan", tmp_path / x)[0]["content_digest"] for x in "ab"]
    assert digests[0] == digests[1]
    layouts.clip(tmp_path / "b" / "pop" / "3.wav", 240, seed=99)
    assert found("gtzan", tmp_path / "b")[0]["content_digest"] != digests[0]


def test_all_bad_rows_are_named_at_once(tmp_path):
    layouts.gtzan(tmp_path)
    change(tmp_path / TABLE, 0, answer_gt="E")
    change(tmp_path / TABLE, 2, path="")
    facts, findings = found("gtzan", tmp_path)
    bad = findings["bad row"]
    assert bad.count == 2
    assert "gtzan_0" in bad.places[0]
    assert "gtzan_2" in bad.places[1]
    assert facts["items"] == 2, "the others were checked all the same"
    assert failed(findings.values())


def test_ids_options_and_items_that_repeat(tmp_path):
    layouts.gtzan(tmp_path)
    change(tmp_path / TABLE, 1, uniq_id="gtzan_0")
    change(tmp_path / TABLE, 2, choice_a="jazz")
    content = json.loads((tmp_path / TABLE).read_text())
    content.append({**content[3], "uniq_id": "again"})
    (tmp_path / TABLE).write_text(json.dumps(content))
    _, findings = found("gtzan", tmp_path)
    assert findings["id twice"].places == ("gtzan_0",)
    assert findings["two options with one text"].places == ("gtzan_2",)
    assert findings["an item twice under several ids"].places == ("gtzan_3 = again",)


def test_every_fault_of_recordings(tmp_path):
    layouts.race(tmp_path, n=14)
    audio = sorted((tmp_path / "race_audio").rglob("*.wav"))
    names = [str(p.relative_to(tmp_path)) for p in audio]
    audio[0].unlink()
    audio[1].write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    soundfile.write(audio[2], np.zeros(0), 1000)
    soundfile.write(audio[3], np.zeros(100_000), 1000)
    wave = np.full(100_000, 0.1, dtype=np.float32)
    wave[5] = np.nan
    soundfile.write(audio[4], wave, 1000, subtype="FLOAT")
    audio[6].write_bytes(audio[5].read_bytes())
    soundfile.write(audio[7], np.full((95_000, 8), 0.1), 8000)
    rows = json.loads((tmp_path / "race_benchmark.json").read_text())
    ids = {row["audio_path"]: str(row["id"]) for row in rows}
    first = [ids[name] for name in names]
    _, findings = found("race", tmp_path, decode=True)
    assert first[0] in findings["no recording"].places
    unreadable = findings["unreadable recording"]
    assert unreadable.count == 2
    assert {e.split(":")[0] for e in unreadable.places} == {first[1], first[2]}
    assert first[3] in findings["digital silence"].places
    assert first[4] in findings["samples that are no numbers"].places
    assert any(first[5] in e for e in findings["one recording under several names"].places)
    assert findings["recordings differ in sampling rate"].severity == "warning"
    assert first[7] in findings["shorter than 90 s"].places
    _, findings = found("race", tmp_path, audio=False)
    assert set(findings) <= {"shorter than 90 s", "another number of items than published"}


@pytest.mark.parametrize("name", [*layouts.CHOICE_TASKS, "librispeech_long"])
def test_every_layout_can_be_checked(tmp_path, name):
    write = getattr(layouts, name)
    write(tmp_path)
    facts, findings = found(name, tmp_path)
    assert facts["items"] > 0
    assert set(findings) == {"another number of items than published"}, findings


def test_a_task_that_computes_its_clips(tmp_path):
    task, settings = compose_task("mcq_synthetic", ["task.scenes=12"])
    facts, findings = check(task, settings)
    assert facts["items"] == 84
    assert [f for f in findings if f.severity == "error"] == []


def test_real_recordings(shared_data):
    facts, findings = found("sakura", shared_data / "sakura", decode=True)
    assert findings == {}
    assert (facts["items"], facts["clusters"], facts["recordings"]) == (320, 160, 160)


def test_the_command(tool, tmp_path):
    layouts.gtzan(tmp_path / "d")
    words = ("check", "gtzan", f"task.root={tmp_path / 'd'}")
    done = tool(*words, "task.published_items=4", check=0)
    assert "nothing found" in done.stdout
    change(tmp_path / "d" / TABLE, 1, answer_gt="[red]X[/red]")
    done = tool(*words, "--json", "out/found.json", check=1)
    assert "[red]X[/red]" in done.stdout.replace("\n", ""), "user text is not markup"
    written = json.loads((tmp_path / "out" / "found.json").read_text())
    assert written["findings"][0]["what"] == "bad row"
    done = tool("check", "gtzna", check=2)
    assert "did you mean 'gtzan'" in done.stderr
    assert done.stderr.count("\n") == 1
    assert "no setting" in tool("check", "gtzan", "nonsense", check=2).stderr
    assert "task.roto" in tool("check", "gtzan", "task.roto=x", check=2).stderr
    done = tool("check", "gtzan", "task.root=nowhere", check=1)
    assert "no such table" in done.stdout.replace("\n", " ")


def test_an_override_needs_a_value():
    with pytest.raises(ConfigError, match="write key=value"):
        compose_task("gtzan", ["task.root"])


def test_a_transfer_that_broke_off_in_a_wav(tmp_path):
    """The decoder plays a WAV as far as it goes; one from a pipe never says how far that is."""
    layouts.race(tmp_path, n=4)
    audio = sorted((tmp_path / "race_audio").rglob("*.wav"))
    whole = audio[0].read_bytes()
    audio[0].write_bytes(whole[: len(whole) * 2 // 3])
    piped = bytearray(audio[1].read_bytes())
    size = piped.index(b"data") + 4
    piped[size : size + 4] = b"\xff" * 4
    audio[1].write_bytes(piped)
    _, findings = found("race", tmp_path, "task.published_items=4")
    assert findings["shorter than its header says"].count == 1
    assert findings["shorter than its header says"].severity == "warning"


def test_the_rates_that_differ_are_those_of_the_few(tmp_path):
    layouts.race(tmp_path, n=4)
    audio = sorted((tmp_path / "race_audio").rglob("*.wav"))
    soundfile.write(audio[1], np.full((95 * 8000, 8), 0.1), 8000)
    _, findings = found("race", tmp_path, "task.published_items=4")
    (place,) = findings["recordings differ in sampling rate"].places
    assert place.endswith(": 8000 Hz, most have 1000 Hz")


def test_the_table_shows_three_places_and_the_json_all(tool, tmp_path):
    layouts.race(tmp_path / "d", n=8)
    for path in (tmp_path / "d" / "race_audio").rglob("*.wav"):
        path.unlink()
    done = tool("check", "race", f"task.root={tmp_path / 'd'}", "--json", "all.json", check=1)
    assert "and 5 more: see --json" in done.stdout
    written = json.loads((tmp_path / "all.json").read_text())["findings"]
    (absent,) = [f for f in written if f["what"] == "no recording"]
    assert absent["count"] == len(absent["places"]) == 8
