"""Criteria as a model writes them: how it is asked, and how its reply is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from lalm_bench.errors import ConfigError, one_line
from lalm_bench.judges.fields import Field
from lalm_bench.judges.parsers import Values, json_values
from lalm_bench.types import Json

_TEXTS = ("name", "system", "template", "again")
SLOTS = ("question", "options", "answer", "thinking")
_MOST = 1000


def read(reply: str) -> list[dict[str, Any]] | None:
    """The last list of objects in a reply, alone or as the only list of an object; None for none.

    Examples
    --------
    >>> read('Sure: [{"name": "Rain", "scoring_point": "Award 1 point if it rains."}]')
    [{'name': 'Rain', 'scoring_point': 'Award 1 point if it rains.'}]
    """
    found = None
    for value in json_values(reply):
        lists = [value] if isinstance(value, list) else []
        if isinstance(value, dict):
            lists = [inner for inner in value.values() if isinstance(inner, list)]
        for listed in lists:
            if listed and all(isinstance(entry, dict) for entry in listed):
                found = listed
    return found


class Criteria:
    """A judge's parser for replies that hold criteria; its number is how many."""

    @property
    def fields(self) -> Sequence[Field]:
        """How many criteria there are."""
        return (Field(name="criteria", low=1, high=_MOST),)

    @property
    def labels(self) -> Sequence[str]:
        """None: values stand in JSON."""
        return ()

    def parse(self, reply: str, row: Mapping[str, Any], answer: str = "") -> Values:
        """The number of criteria; None where the reply holds no list of them."""
        found = read(reply)
        return {"criteria": None if found is None else float(len(found))}

    def schema(self) -> dict[str, Json] | None:
        """A list of objects with name, scoring_point and weight."""
        entry: dict[str, Json] = {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "scoring_point": {"type": "string"},
                "weight": {"type": "number"},
            },
            "required": ["name", "scoring_point", "weight"],
            "additionalProperties": False,
        }
        return {"type": "array", "items": entry}


def rubric(wording: Path | None) -> dict[str, Any]:
    """The node of a `judges.rubric.Rubric` that asks for criteria.

    Parameters
    ----------
    wording : Path, optional
        YAML with any of `name`, `system`, `template`, `again`, in place of the shipped ones.

    Raises
    ------
    ConfigError
        It cannot be read, or holds something else.
    """
    shipped = resources.files("lalm_bench.analysis") / "criteria.yaml"
    texts = dict(OmegaConf.create(shipped.read_text(encoding="utf-8")))
    if wording is not None:
        texts |= _own(wording)
    parser = {"_target_": f"{Criteria.__module__}.{Criteria.__name__}"}
    used = [slot for slot in SLOTS if f"{{{slot}}}" in f"{texts['system']}{texts['template']}"]
    return {
        "_target_": "lalm_bench.judges.rubric.Rubric",
        "name": texts["name"],
        "system": texts["system"],
        "template": texts["template"],
        "slots": {slot: slot for slot in used},
        "parser": parser,
        "reask": {
            "_target_": "lalm_bench.judges.rubric.Reask",
            "conversation": True,
            "template": texts["again"],
            "parser": parser,
        },
    }


def _own(path: Path) -> dict[str, str]:
    try:
        found = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    except (OSError, YAMLError, OmegaConfBaseException, UnicodeDecodeError) as error:
        raise ConfigError(f"--wording {path}: cannot be read ({one_line(error)})") from error
    if not isinstance(found, dict) or any(
        key not in _TEXTS or not isinstance(value, str) for key, value in found.items()
    ):
        raise ConfigError(f"--wording {path}: must hold texts called {', '.join(_TEXTS)}")
    return {str(key): str(value) for key, value in found.items()}
