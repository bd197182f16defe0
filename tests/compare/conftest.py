"""Run folders with decisions made by hand, as the pipeline would leave them."""

import orjson
import pytest

LABELS = "abcd"


@pytest.fixture
def made(tmp_path):
    """`made(name, rows, ...)` writes a run folder and returns it."""

    def make(
        name,
        rows,
        intervention=None,
        status="finished",
        headline=(),
        errors=0,
        skipped=None,
        model="m",
        **settings,
    ):
        number = len(list(tmp_path.rglob("run.json")))
        fingerprint = f"{number:04x}{abs(hash(name)) % 16**12:012x}"
        folder = tmp_path / "outputs" / "mcq" / model / name / fingerprint
        folder.mkdir(parents=True)
        config = {
            "task": {"name": "mcq", "prompt": "{question}", "groups": ["hop"], "parser": "strict"},
            "model": {"name": model},
            "intervention": intervention or {"name": "none"},
            "pruning": {"name": "none"},
            "generation": {"mode": "generate", "max_new_tokens": 16},
            "seed": 7,
            "limit": None,
        }
        for key, value in settings.items():
            node, *rest = key.split("__")
            if rest:
                config[node] = config[node] | {rest[0]: value}
            else:
                config[node] = value
        state = {
            "fingerprint": fingerprint,
            "status": status,
            "finished": f"2026-01-01T00:00:{number:02d}",
            "config": config,
            "model": {"weights": model},
            "selection": {"skipped": skipped or {}},
            "code": "c",
        }
        metrics = {"headline": list(headline), "metrics": {"n_errors": errors}}
        (folder / "run.json").write_bytes(orjson.dumps(state))
        (folder / "metrics.json").write_bytes(orjson.dumps(metrics))
        lines = [orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows]
        (folder / "decisions.jsonl").write_bytes(b"".join(lines))
        return folder

    return make


def row(number, given, target="a", **more):
    """The decision on item `number`; `given` is a label or None."""
    return {
        "id": f"item{number}",
        "variant": "",
        "cluster": f"clip{number // 2}",
        "question": f"Which one is number {number}?",
        "options": {label: f"option {label}" for label in LABELS},
        "target": target,
        "label": given,
        "invalid": given is None,
        "n_options": len(LABELS),
        "correct": float(given == target),
        "hop": "single" if number % 2 else "multi",
        **more,
    }


def rows(answers, targets=None):
    """Decisions from a string of labels, `-` for no answer; item `i` is right with `targets[i]`."""
    targets = targets or "a" * len(answers)
    return [
        row(i, None if given == "-" else given, target)
        for i, (given, target) in enumerate(zip(answers, targets, strict=True))
    ]
