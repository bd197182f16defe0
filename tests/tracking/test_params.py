"""What MLflow takes as a name or value, against its own rules."""

from hypothesis import given
from hypothesis import strategies as st
from mlflow.utils.validation import _validate_metric_name

from lalm_bench.tracking.params import legal, params, short


@given(st.text(min_size=1, max_size=400))
def test_every_name_becomes_one_that_mlflow_takes(name):
    _validate_metric_name(legal(name))
    _validate_metric_name(legal(f"accuracy/kind/{name}"))


@given(st.text(max_size=300), st.text(max_size=300))
def test_short_texts_are_equal_when_the_texts_are(one, other):
    assert (short(one) == short(other)) == (one == other)
    assert len(short(one)) <= 120


def test_params_are_what_the_fingerprint_is_made_of():
    config = {
        "task": {"name": "sakura", "root": "/data/sakura", "_target_": "a.B", "prompt": "x" * 200},
        "model": {"name": "api", "path": "/weights/org/voxtral", "endpoint": {"timeout_s": 3}},
        "intervention": {"name": "noise", "snr_db": -10},
        "pruning": {"name": "none"},
        "generation": {"temperature": 0.0, "stop": []},
        "seed": 7,
        "limit": None,
        "runtime": {"batch_size": 8},
        "tracking": {"uri": "http://host"},
    }
    found = params(config)
    assert found.pop("task.prompt").startswith("x" * 60 + "... [200 characters, ")
    assert found == {
        "task.name": "sakura",
        "model.name": "api",
        "model.path": "voxtral",
        "intervention.name": "noise",
        "intervention.snr_db": "-10",
        "pruning.name": "none",
        "generation.temperature": "0.0",
        "generation.stop": "[]",
        "seed": "7",
        "limit": "None",
    }
