"""What two runs do not share besides their condition, and how to name a run in a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lalm_bench.compare.loaded import Run
from lalm_bench.errors import DataError

# Where data lies, what others published, and what only breaks results down. The number of new
# tokens is compared where it takes effect, in the generation settings.
_OF_NO_CONSEQUENCE = frozenset(
    {
        *("root", "audio_root", "annotations", "dataset", "endpoint", "references", "groups"),
        *("name", "_target_", "max_new_tokens"),
    }
)
CONDITION = ("intervention", "pruning")
_MOST_NAMED = 4


def flatten(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and plain values of nested settings.

    Examples
    --------
    >>> dict(flatten({"a": {"b": 1}, "c": [2, 3]}))
    {'a.b': 1, 'c.0': 2, 'c.1': 3}
    """
    if isinstance(value, Mapping | list):
        pairs = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, inner in pairs:
            yield from flatten(inner, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, value


def asked_alike(run: Run) -> dict[str, Any]:
    """Everything that has to be equal in two runs for a difference to be their condition's."""
    config = run.config
    parts = {
        "task": config["task"],
        # What an answer depends on, rather than how the model was named on the command line.
        "model": run.state.get("model", {}),
        "generation": config["generation"],
        "seed": config["seed"],
        "limit": config["limit"],
        # What judges decided does not pair with what the task's own rule did, nor another rubric's.
        "judge": {k: v for k, v in run.state.get("judge", {}).items() if k in ("name", "rubric")},
    }
    return {
        key: value
        for key, value in flatten(parts)
        if key.startswith(("generation.", "model."))
        or not _OF_NO_CONSEQUENCE.intersection(key.split("."))
        or key == "task.protocol.name"
    }


def differences(first: Run, second: Run) -> dict[str, tuple[Any, Any]]:
    """Settings, outside of intervention and pruning, in which two runs differ.

    A setting that one of them does not know is as good as null: it came with a later version.
    """
    a, b = asked_alike(first), asked_alike(second)
    keys = dict.fromkeys([*a, *b])
    return {key: (a.get(key), b.get(key)) for key in keys if a.get(key) != b.get(key)}


def demand_pairable(baseline: Run, run: Run, across: Sequence[str] = ()) -> list[str]:
    """Refuse runs that differ in more than their condition; return the allowed differences.

    Parameters
    ----------
    across : sequence of str
        Settings, or parts of the configuration (`model`, `task.protocol`), that may differ.

    Raises
    ------
    DataError
        Names the differences and the flags that would allow them.
    """
    names = [run.config["task"]["name"] for run in (baseline, run)]
    if names[0] != names[1]:
        raise DataError(f"{run.folder}: task {names[1]}, but the baseline is of {names[0]}")
    found = differences(baseline, run)
    refused = [key for key in found if not any(_within(key, part) for part in across)]
    if refused:
        shown = [f"{key} ({found[key][0]!r} and {found[key][1]!r})" for key in refused]
        more = f" and {len(shown) - _MOST_NAMED} more" if len(shown) > _MOST_NAMED else ""
        parts = dict.fromkeys(_part(key) for key in refused)
        flags = " ".join(f"--across {part}" for part in parts)
        raise DataError(
            f"{run.folder} differs from the baseline in {', '.join(shown[:_MOST_NAMED])}{more}; "
            f"choose runs that differ in their condition alone, or allow it: {flags}"
        )
    return list(found)


def _within(key: str, part: str) -> bool:
    return key == part or key.startswith(part + ".")


def _part(key: str) -> str:
    words = key.split(".")
    return words[0] if words[0] in ("model", "generation") else ".".join(words[:2])


def condition(run: Run) -> dict[str, Any]:
    """Settings of intervention and pruning, flat, without classes and without a baseline's name."""
    parts = {group: run.config[group] for group in CONDITION}
    return {
        key: value
        for key, value in flatten(parts)
        if key.rpartition(".")[2] not in ("_target_", "baseline")
    }


def labels(runs: Sequence[Run], apart: Sequence[Sequence[str]] = ()) -> list[str]:
    """Short names that tell runs apart: the intervention and the settings that vary.

    Parameters
    ----------
    runs : sequence of Run
    apart : sequence of (sequence of str)
        For each run, what else it does not share with the baseline.
    """
    conditions = [condition(run) for run in runs]
    names = []
    for number, (run, own) in enumerate(zip(runs, conditions, strict=True)):
        words = []
        for group in CONDITION:
            name = own.get(f"{group}.name")
            if name == "none":
                continue
            alike = [c for c in conditions if c.get(f"{group}.name") == name]
            varying = [
                f"{key.removeprefix(f'{group}.')}={_short(value)}"
                for key, value in own.items()
                if key.startswith(f"{group}.") and any(c.get(key) != value for c in alike)
            ]
            words.append(" ".join([str(name), *varying]))
        others = dict.fromkeys(_part(key) for key in (apart[number] if apart else ()))
        words += [_named(run, part) for part in others]
        names.append(" + ".join(words) or "baseline")
    twice = {name for name in names if names.count(name) > 1}
    return [
        f"{name} [{run.fingerprint[:6]}]" if name in twice else name
        for name, run in zip(names, runs, strict=True)
    ]


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _named(run: Run, part: str) -> str:
    node: Any = run.config
    for word in part.split("."):
        node = node.get(word) if isinstance(node, Mapping) else None
    if isinstance(node, Mapping) and "name" in node:
        return f"{part.rpartition('.')[2]} {node['name']}"
    return part if isinstance(node, Mapping | list) else f"{part}={node}"
