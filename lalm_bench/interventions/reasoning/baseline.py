"""What a finished run has reasoned, read once when it is first needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from lalm_bench import runs
from lalm_bench.errors import ConfigError, DataError
from lalm_bench.identity import fingerprint
from lalm_bench.protocols import CHAIN, Protocol
from lalm_bench.protocols.splits import by_sentence
from lalm_bench.store import read_json
from lalm_bench.types import Sample

# What of a task decides how an item is asked; whether the items are the same is seen item by item.
_TASK = ("name", "options", "options_seed")


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision of the baseline.

    Parameters
    ----------
    reasoning : str
        As the run reports it; "" where there is none.
    chain : str or None
        The first turn word for word, where there were two turns.
    label : str or None
    text : str
        The final answer as it came.
    question : str
    options : mapping
        Label -> text.
    """

    reasoning: str
    chain: str | None
    label: str | None
    text: str
    question: str
    options: Mapping[str, str]

    def given_back(self, protocol: Protocol) -> str:
        """The reasoning as the protocol gives it back.

        Of a chain that was a turn of its own, the last sentence is dropped: it concludes. A chain
        of one sentence becomes empty.
        """
        if self.chain is None:
            return self.reasoning.strip()
        split = protocol.split if protocol.conclude else by_sentence
        return split(self.chain)[0].strip()


@dataclass(frozen=True)
class Baseline:
    """The decisions of a finished run by (item, variant).

    Parameters
    ----------
    folder : Path
        Of the run.
    """

    folder: Path

    @cached_property
    def decisions(self) -> dict[tuple[str, str], Decision]:
        """All decisions; DataError when the run's file cannot be read."""
        found = {}
        for row in runs.decisions(self.folder):
            try:
                found[row["id"], row["variant"]] = Decision(
                    row.get("reasoning") or "",
                    (row.get("steps") or {}).get(CHAIN),
                    row["label"],
                    row.get("text", ""),
                    row["question"],
                    row["options"],
                )
            except KeyError as error:
                raise DataError(
                    f"{self.folder}: a decision has no {error}; score the run again with "
                    "rescore=true"
                ) from error
        return found

    @cached_property
    def ids(self) -> frozenset[str]:
        """Items with at least one decision."""
        return frozenset(name for name, _ in self.decisions)

    def decision(self, sample: Sample, variant: str) -> Decision | None:
        """What was decided about an item; None where the run does not have it.

        Raises
        ------
        DataError
            The run asked another question, or other options, under the item's id.
        """
        found = self.decisions.get((sample.id, variant))
        if found is None:
            return None
        options = {choice.label: choice.text for choice in sample.choices}
        for what, there, here in (
            ("question", found.question, sample.question),
            ("options", dict(found.options), options),
        ):
            if there != here:
                raise DataError(
                    f"item '{sample.id}': its {what} was {there!r} in the baseline {self.folder} "
                    f"and is {here!r} here; give a baseline on the same data"
                )
        return found

    def demand_same(self, config: Mapping[str, Any], other_model: bool) -> None:
        """Refuse reasoning that was made for something else.

        Parameters
        ----------
        config : mapping
            The configuration of the run that wants to use the reasoning, resolved.
        other_model : bool
            Reasoning by another model, or under another protocol, is wanted.

        Raises
        ------
        ConfigError
            Another task, model or protocol; says what differs.
        """
        state = read_json(self.folder / "run.json")
        if not isinstance(state, dict) or "config" not in state:
            raise DataError(f"{self.folder}: run.json tells no configuration; run it again")
        there, remedy = state["config"], "give a baseline of the same task"
        differing = [*_differing("task", _picked(there["task"]), _picked(config["task"]))]
        if not differing and not other_model:
            remedy = (
                "give a baseline of the same model and protocol, or set "
                "intervention.allow_other_model=true to use another's reasoning"
            )
            protocols = [part["task"].get("protocol") for part in (there, config)]
            differing += _differing("task.protocol", *protocols)
            differing += _differing("model", _identity(there), _identity(config))
        if differing:
            raise ConfigError(f"{self.folder} is no baseline here: {differing[0]}; {remedy}")


def _picked(task: Mapping[str, Any]) -> dict[str, Any]:
    return {name: task.get(name) for name in _TASK}


def _identity(config: Mapping[str, Any]) -> dict[str, Any]:
    """The model's settings that a fingerprint heeds."""
    nothing = fingerprint({"model": {}})
    model = config["model"]
    return {name: v for name, v in model.items() if fingerprint({"model": {name: v}}) != nothing}


def _differing(where: str, there: Any, here: Any) -> Iterator[str]:
    """Each setting that differs, names before all others."""
    if isinstance(there, Mapping) and isinstance(here, Mapping):
        keys = sorted({*there, *here}, key=lambda key: (key != "name", str(key)))
        for key in keys:
            yield from _differing(f"{where}.{key}", there.get(key), here.get(key))
    elif there != here:
        yield f"{where} is {_told(there)} there and {_told(here)} here"


def _told(value: Any) -> str:
    if isinstance(value, Mapping):
        return str(value.get("name", "set"))
    return repr(value)
