import json

import numpy as np
import pytest

from lalm_bench.data.compose import compose_task
from lalm_bench.data.stats import _panels, describe, draw
from lalm_bench.types import AudioRef, Choice, Sample
from tests.tasks import audiomarathon_layouts as layouts


def item(n, right, texts=("a", "bb", "ccc", "dddd"), clip="x.wav"):
    choices = tuple(Choice(x, t) for x, t in zip("ABCD", texts, strict=False))
    return Sample(f"i{n}", (AudioRef(clip),), "what is it?", choices, right, clip, {"kind": n % 2})


def test_durations_as_numpy_has_them(tmp_path):
    for n, seconds in enumerate((91, 119, 120, 250)):
        layouts.clip(tmp_path / f"{n}.wav", seconds)
    samples = [item(n, "A", clip=str(tmp_path / f"{n % 4}.wav")) for n in range(8)]
    samples.append(item(9, "A", clip=str(tmp_path / "absent.wav")))
    facts = describe(samples)
    seconds = facts["durations"]
    assert (facts["clips"], facts["unreadable_clips"], seconds["n"]) == (5, 1, 4)
    assert seconds["total_hours"] == pytest.approx(580 / 3600)
    assert seconds["p75"] == pytest.approx(np.percentile([91, 119, 120, 250], 75))
    counts = {b["from"]: b["count"] for b in seconds["histogram"]}
    assert (counts[90], counts[120], counts[180], counts[300]) == (2, 1, 1, 0)


def test_a_habit_of_places_shows():
    even = describe([item(n, "ABCD"[n % 4]) for n in range(100)])["positions"]
    assert even["observed"] == [25] * 4
    assert even["chi_square_p"] == pytest.approx(1)
    odd = describe([item(n, "A") for n in range(100)])["positions"]
    assert odd["observed"] == [100, 0, 0, 0]
    assert odd["chi_square_p"] < 1e-9


def test_places_of_items_with_fewer_options_are_weighed():
    samples = [item(n, "AB"[n % 2], ("yes", "no")) for n in range(10)]
    samples += [item(n, "ABCD"[n % 4]) for n in range(20)]
    places = describe(samples)["positions"]
    assert places["expected"] == pytest.approx([10, 10, 5, 5])
    assert places["chi_square_p"] == pytest.approx(1)


def test_text_that_gives_the_answer_away():
    facts = describe([item(n, "D") for n in range(4)], ("kind",))
    assert facts["text"]["right_is_longest"] == {"share": 1.0, "chance": 0.25}
    assert facts["text"]["question_words"]["mean"] == 3
    assert facts["targets"]["largest_share"] == 1.0
    assert facts["groups"]["kind"]["counts"] == {"0": 2, "1": 2}


@pytest.mark.parametrize("name", ["race", "librispeech_long"])
def test_the_figure_of_tasks_with_and_without_options(tmp_path, name):
    getattr(layouts, name)(tmp_path)
    task, _ = compose_task(name, [f"task.root={tmp_path}"])
    facts = describe(task.samples(), task.groups)
    json.dumps(facts, allow_nan=False)
    panels = _panels(facts)
    assert all(panels.values()), "a panel with nothing to show is left out"
    assert len(panels) == (4 if name == "race" else 1)
    files = draw(facts, "a $title", tmp_path / "f" / name)
    assert [f.suffix for f in files] == [".png", ".svg"]
    assert all(f.stat().st_size > 5000 for f in files)


def test_the_command(tool, tmp_path):
    layouts.tau(tmp_path / "d")
    done = tool("stats", "tau", f"task.root={tmp_path / 'd'}", "--out", tmp_path / "o", check=0)
    assert "median 200.00" in done.stdout
    assert sorted(p.name for p in (tmp_path / "o").iterdir()) == ["tau.json", "tau.png", "tau.svg"]
    facts = json.loads((tmp_path / "o" / "tau.json").read_text())
    assert facts["groups"]["scene_label"]["counts"]["metro_station"] == 1
    assert "no such table" in tool("stats", "tau", "task.root=nowhere", check=2).stderr
