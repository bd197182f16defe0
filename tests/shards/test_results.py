"""One run split into shards: the same result, whoever asks what, and whoever comes last."""

import json

import pytest

from lalm_bench import run as running
from lalm_bench.errors import ConfigError, DataError, Incomplete
from lalm_bench.shards import Shard
from lalm_bench.store import ResponseLog, read_json
from lalm_bench.types import Response
from tests.models.conftest import checkpoint
from tests.shards.conftest import QUIET, SMALL, in_shards, keys, same
from tests.test_run import record, rows
from tests.test_steps import RUN, STAND_INS

__all__ = ["checkpoint"]

# ------------------------------------------------------------------ the same result


@pytest.mark.parametrize(
    "condition",
    [
        ("model=random",),
        ("model=signal", "intervention=swap"),
        ("model=signal", "intervention=noise", "limit=17"),
        ("model=random", "task.options=circular"),
    ],
    ids=lambda words: " ".join(words),
)
def test_shards_give_what_one_run_gives(start, condition):
    words = (*SMALL, *condition)
    whole = start("whole", *words)
    folder = in_shards(start, "split", *words)
    assert same(folder) == same(whole)
    assert (folder / "decisions.jsonl").read_bytes() == (whole / "decisions.jsonl").read_bytes()
    assert folder.name == whole.name
    asked = keys(folder)
    assert sorted(asked) == sorted(keys(whole, "responses.jsonl"))
    assert all(len(rows(path)) > 0 for path in folder.glob("responses.*.jsonl"))
    state = read_json(folder / "run.json")
    assert (state["config"]["shards"], state["config"]["shard"]) == (1, None)
    assert state["shards"] == ["0-of-3", "1-of-3", "2-of-3"]
    timing = read_json(folder / "metrics.json")["timing"]
    parts = timing["shards"].values()
    assert timing["asking_s"] == pytest.approx(sum(part["asking_s"] for part in parts))


@pytest.mark.parametrize("model", ["qwen2_audio", "tiny_llama"])
def test_batches_of_a_shard_change_no_answer(start, checkpoint, model):
    name = {"tiny_llama": "text"}.get(model, model)
    words = (*SMALL, f"model={name}", f"model.path={checkpoint(model)}", "model.dtype=float32")
    words += ("task.scenes=2", "generation.max_new_tokens=6", "runtime.batch_size=4")
    whole = start("whole", *words)
    folder = in_shards(start, "split", *words)
    assert same(folder) == same(whole)


def test_steps_follow_each_other_inside_a_shard(start, tmp_path, monkeypatch):
    (tmp_path / "stand_ins.py").write_text(STAND_INS)
    monkeypatch.syspath_prepend(tmp_path)
    words = tuple(w for w in RUN if not w.startswith("~"))
    whole = start("whole", *words, "~model.compat")
    folder = in_shards(start, "split", *words, "~model.compat")
    assert same(folder) == same(whole)
    assert len(keys(folder)) == 3 * 14


def test_two_turns_of_a_model(start, shared_data, checkpoint):
    sakura = ("task=sakura", f"task.root={shared_data / 'sakura'}", "limit=8", *QUIET)
    model = ("model=text", f"model.path={checkpoint('tiny_llama')}", "model.dtype=float32")
    words = (*sakura, *model, "protocol=two_turn", "generation.max_new_tokens=8")
    whole = start("whole", *words)
    folder = in_shards(start, "split", *words)
    assert same(folder) == same(whole)
    assert all("steps" in row for row in rows(folder / "decisions.jsonl"))


@pytest.fixture
def broken(tmp_path, wav):
    """Overrides of a task of 6 clips, and the one that ends too early, as it was whole."""
    import soundfile

    lines = []
    for n in range(6):
        path = wav(f"audio/{n}.wav", pitch=300 + n)
        wave, rate = soundfile.read(path)
        soundfile.write(path.with_suffix(".flac"), wave, rate)
        lines.append(record(f"item{n}", f"{n}.flac"))
    (tmp_path / "d.jsonl").write_text("\n".join(lines) + "\n")
    bad = tmp_path / "audio" / "1.flac"
    whole = bad.read_bytes()
    bad.write_bytes(whole[: len(whole) // 2])
    words = ("task=mcq", f"task.dataset={tmp_path / 'd.jsonl'}", "model=signal", *QUIET)
    return (*words, f"task.audio_root={tmp_path / 'audio'}"), bad, whole


def test_an_item_that_fails_is_an_error_of_the_whole_and_asked_again(start, broken, tmp_path):
    words, bad, mended = broken
    shown = pytest.raises(Incomplete, match=r"1 items have no answer \(item1\)")
    with shown:
        start("whole", *words)
    failing = next(n for n in range(3) if Shard(n, 3).holds("item1"))
    order = (failing, *(n for n in range(3) if n != failing))
    with shown:
        in_shards(start, "split", *words, order=order)
    (whole,), (folder,) = (
        [p.parent for p in (tmp_path / place).rglob("run.json")] for place in ("whole", "split")
    )
    assert same(folder) == same(whole)
    assert "item1" in (folder / "responses.jsonl").read_text()

    bad.write_bytes(mended)
    before = {p: p.read_bytes() for p in folder.glob("responses.*.jsonl")}
    assert start("split", *words, "shards=3", f"shard={failing}") == folder
    after = {p: p.read_bytes() for p in folder.glob("responses.*.jsonl")}
    changed = [p.name for p in after if after[p] != before[p]]
    assert changed == [f"responses.{failing}-of-3.jsonl"]
    start("whole", *words)
    assert (folder / "decisions.jsonl").read_bytes() == (whole / "decisions.jsonl").read_bytes()
    assert read_json(folder / "run.json")["status"] == "finished"


def test_more_shards_than_items_and_a_shard_whose_items_are_all_bad(start, tmp_path, wav):
    wav("audio/0.wav")
    lines = [record(f"item{n}", "0.wav" if n else "absent.wav") for n in range(3)]
    (tmp_path / "d.jsonl").write_text("\n".join(lines) + "\n")
    words = ("task=mcq", f"task.dataset={tmp_path / 'd.jsonl'}", *QUIET, "model=random")
    words += (f"task.audio_root={tmp_path / 'audio'}",)
    hears = (*words, "model=signal")
    with pytest.raises(Incomplete, match="item0"):
        start("whole", *hears)
    assert len({n for n in range(5) for m in range(3) if Shard(n, 5).holds(f"item{m}")}) == 3
    with pytest.raises(Incomplete, match="item0"):
        in_shards(start, "split", *hears, order=tuple(range(5)))
    for path in ("whole", "split"):
        (folder,) = {p.parent for p in (tmp_path / path).rglob("run.json")}
        assert list(read_json(folder / "analysis.json")["unasked"]) == ["item0"]
        assert [row["id"] for row in rows(folder / "decisions.jsonl")] == ["item1", "item2"]
    (tmp_path / "d.jsonl").write_text(record("item0", "absent.wav") + "\n")
    with pytest.raises(DataError, match="no item can be asked"):
        in_shards(start, "none", *hears, order=(0, 1))


# ------------------------------------------------------------------ who asks what


def test_nothing_is_asked_that_any_shard_of_any_number_holds(start, capsys):
    start("split", *SMALL, "shards=3", "shard=1")
    start("split", *SMALL, "shards=2", "shard=0")
    folder = start("split", *SMALL, "shards=5", "shard=4")
    assert read_json(folder / "run.json")["status"] == "running"
    some = keys(folder)
    assert len(some) == len(set(some)) < 28
    assert start("split", *SMALL) == folder
    new = [key for key in keys(folder, "responses.jsonl") if key not in some]
    assert sorted(some + new) == sorted(set(some + new))
    assert len(rows(folder / "decisions.jsonl")) == 28
    capsys.readouterr()
    start("split", *SMALL, "shards=3", "shard=0")
    assert "already finished, nothing asked" in capsys.readouterr().out
    assert same(folder) == same(start("whole", *SMALL))


def test_whoever_completes_the_whole_scores_it_whatever_the_numbers(start):
    """Shard 1 of 2 and both halves of shard 0 of 2 are everything."""
    start("split", *SMALL, "shards=4", "shard=0")
    start("split", *SMALL, "shards=4", "shard=2")
    folder = start("split", *SMALL, "shards=2", "shard=1")
    assert same(folder) == same(start("whole", *SMALL))


def test_the_order_of_settings_does_not_matter(start):
    assert start("a", *SMALL, "seed=3") == start("a", "seed=3", *SMALL)


def test_a_recording_that_changed_is_asked_again_by_its_shard(start, broken, wav):
    words, bad, mended = broken
    bad.write_bytes(mended)
    folder = in_shards(start, "split", *words)
    before = keys(folder)
    wav("audio/2.wav", pitch=900)
    import soundfile

    soundfile.write(bad.with_name("2.flac"), *soundfile.read(bad.with_name("2.wav")))
    own = next(n for n in range(3) if Shard(n, 3).holds("item2"))
    other = (own + 1) % 3
    start("split", *words, "shards=3", f"shard={other}")
    state = read_json(folder / "run.json")
    assert state["status"] == "running", "what another shard must ask again is missing"
    start("split", *words, "shards=3", f"shard={own}")
    assert read_json(folder / "run.json")["status"] == "finished"
    assert len(set(keys(folder)) - set(before)) == 1


def test_merge_asks_nothing(start, capsys, monkeypatch):
    words = (*SMALL, "model=signal", "shards=2")
    first = start("split", *words, "shard=0")
    assert start("split", *words, "shard=0", function=running.merge) == first
    assert "these are still missing: 1\n" in capsys.readouterr().out
    assert not (first / "metrics.json").exists()
    with monkeypatch.context() as patch:
        patch.setattr(running, "_score_shards", lambda *args: str(first))  # died before it
        start("split", *words, "shard=1")
    answers = {p: p.read_bytes() for p in first.glob("responses.*")}
    start("split", *words, "shard=0", function=running.merge)
    assert {p: p.read_bytes() for p in first.glob("responses.*-of-*")} == answers
    assert same(first) == same(start("whole", *SMALL, "model=signal"))


def test_a_line_that_another_shard_is_writing_is_left_alone(tmp_path):
    other, own = tmp_path / "responses.0-of-2.jsonl", tmp_path / "responses.1-of-2.jsonl"
    log = ResponseLog(other)
    for n in range(3):
        log.append(Response(f"{n:032x}", f"item{n}", "A"))
    log.append(Response(f"{3:032x}", "item3", "", "error", error="broken"))
    log.close()
    torn = other.read_bytes() + b'{"key":"0000'
    other.write_bytes(torn)
    log = ResponseLog(own, [other, tmp_path / "not there"])
    assert (len(log), log.failed(f"{3:032x}"), log.failed(f"{0:032x}")) == (3, True, False)
    log.append(Response(f"{9:032x}", "item9", "B"))
    log.append(Response(f"{1:032x}", "item1", "C"))
    log.adopt([f"{n:032x}" for n in (3, 9, 2, 2, 1, 8)])
    assert [r and r.text for r in log.read([f"{n:032x}" for n in (0, 1, 2, 3, 9)])] == [
        *("A", "C", "A", None, "B")
    ]
    log.close()
    assert [row["sample_id"] for row in rows(own)] == ["item9", "item1", "item3", "item2"]
    assert other.read_bytes() == torn


# ------------------------------------------------------------------ settings


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("shards=4",), "-m shards=4 'shard=0,1,2,3', or hydra/launcher=slurm"),
        (("shards=64",), r"'shard=range\(64\)'"),
        (("shards=0",), "shards=0 must be a positive whole number"),
        (("shards=two",), "shards='two' must be"),
        (("shards=true",), "shards=True must be"),
        (("shards=4", "shard=4"), "shard=4 must be a whole number from 0 to 3"),
        (("shards=4", "shard=-1"), "shard=-1 must be"),
        (("shard=1",), "shard=1 must be a whole number from 0 to 0"),
        (("shards=2", "shard=0", "model.compat=true"), "model=random depends on all answers"),
    ],
)
def test_settings_that_make_no_sense(start, tmp_path, words, message):
    with pytest.raises(ConfigError, match=message):
        start("none", *SMALL, *words)
    assert not (tmp_path / "none").exists()


def test_items_fall_to_shards_evenly_and_each_to_one():
    items = [f"item{n}" for n in range(4000)]
    counts = [sum(map(Shard(n, 8).holds, items)) for n in range(8)]
    assert sum(counts) == 4000
    assert max(abs(count - 500) for count in counts) < 100  # 4.8 standard deviations


def test_the_first_shard_of_one_is_the_run_itself(start):
    folder = start("one", *SMALL, "shards=1", "shard=0")
    assert json.loads((folder / "run.json").read_text())["status"] == "finished"
    assert not list(folder.glob("*-of-*"))
