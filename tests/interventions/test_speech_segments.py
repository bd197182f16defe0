"""Where JASCO's clips have speech: a table of segments goes into the items' meta."""

import pytest

from lalm_bench.errors import DataError
from lalm_bench.tasks.jasco_files import read_segments
from tests.interventions.clips import composed
from tests.test_conf import experiment


@pytest.fixture
def table(tmp_path):
    def write(*rows, header="audio_id,start,end"):
        path = tmp_path / "segments.csv"
        path.write_text("\n".join([header, *rows]))
        return path

    return write


def test_segments_are_the_items_meta(shared_data, table):
    path = table("1,7.1,9.2", "3,2,3", "3,0.5,1")
    task = experiment(
        "task=jasco", f"task.root={shared_data / 'jasco'}", f"task.segments={path}"
    ).task
    meta = {s.id: s.meta.get("speech") for s in task.samples()}
    assert len(meta) == 80
    assert meta["1"] == [(7.1, 9.2)]
    assert meta["3"] == [(0.5, 1.0), (2.0, 3.0)]
    assert meta["2"] is None
    assert path in task.inputs()


def test_without_a_table_nothing_is_known(shared_data):
    assert composed("task=jasco").task.segments is None
    task = experiment("task=jasco", f"task.root={shared_data / 'jasco'}").task
    assert not any("speech" in s.meta for s in task.samples())


def test_a_table_that_is_not_there_is_named(shared_data):
    words = ("task=jasco", f"task.root={shared_data / 'jasco'}", "task.segments=gone.csv")
    (message,) = experiment(*words).task.missing(True)
    assert message.startswith("gone.csv: no such file")


@pytest.mark.parametrize("row", ["1,2", "1,3,2", "1,-1,2", "1,one,2", "1,1,inf", "1,1,1"])
def test_what_is_no_stretch_of_time_is_named(table, row):
    with pytest.raises(DataError, match=r"segments\.csv row 3: .* must be seconds"):
        read_segments(table("1,0,1", row))


def test_a_missing_column_is_named(table):
    with pytest.raises(DataError, match="no column 'end'"):
        read_segments(table("1,0", header="audio_id,start"))
