"""A judge: a rubric, and the panel of models that apply it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lalm_bench.errors import ConfigError
from lalm_bench.judges.rubric import Rubric
from lalm_bench.types import Generation, Json, Model

_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,63}")


@dataclass(kw_only=True)
class Judge:
    """Who judges, and how often.

    Parameters
    ----------
    name : str
        Of the rubric; the results lie in `<run>/judge/<name>/`.
    rubric : Rubric
    panel : mapping
        Name of a judge -> a model that reads text (`model=api` or `model=text` as a node).
    max_new_tokens : int
    temperature, top_p : float
        Of the judges' replies. At 0 a judge that is asked again says the same, as far as its server
        is deterministic.
    seed : int
        Of draws at a temperature above 0. With `repeats`, call k is sent seed + k.
    repeats : int
        Calls for each decision and judge.
    trim : int
        So many of the lowest and of the highest of them are dropped before the mean.
    structured : bool
        Have the server hold the judge to the rubric's JSON schema.
    only : sequence of str
        Ask only these judges of the panel now; empty: all.
    runs : sequence of str
        Folders or fingerprints of finished runs; empty: the run that the command names.
    baseline : str, optional
        For rubrics that compare with another run (columns `baseline_<name>`): its folder or
        fingerprint, or `auto`, the same settings without intervention.
    dry_run : bool
        Say how many calls there would be, and make none.

    Raises
    ------
    ConfigError
        A setting is out of range, or a judge of the panel is no model for text.
    """

    name: str
    rubric: Rubric
    panel: Mapping[str, Model]
    max_new_tokens: int = 1000
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 42
    repeats: int = 1
    trim: int = 0
    structured: bool = False
    only: Sequence[str] = ()
    runs: Sequence[str] = ()
    baseline: str | None = None
    dry_run: bool = False
    models: dict[str, Model] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.only = [self.only] if isinstance(self.only, str) else list(self.only)
        self.runs = [self.runs] if isinstance(self.runs, str) else list(self.runs)
        _demand(_NAME.fullmatch(str(self.name)), f"name={self.name}", "is no name for a folder")
        _demand(self.panel, "panel", "needs at least one judge")
        for name in self.panel:
            _demand(_NAME.fullmatch(name), f"panel.{name}", "is no name for a folder")
        absent = [name for name in self.only if name not in self.panel]
        _demand(not absent, f"only={absent}", f"must be among {', '.join(self.panel)}")
        whole = type(self.repeats) is int and type(self.trim) is int
        fits = whole and self.repeats >= 1 and 0 <= 2 * self.trim < self.repeats
        _demand(fits, f"repeats={self.repeats}, judge.trim={self.trim}", "must leave a call")
        _demand(self.temperature >= 0, f"temperature={self.temperature}", "must be 0 or more")
        whole = type(self.max_new_tokens) is int and self.max_new_tokens > 0
        _demand(whole, f"max_new_tokens={self.max_new_tokens}", "must be a positive whole number")
        for name, model in self.panel.items():
            hears = "hears audio: set its audio_form=none, or take a model for text"
            _demand(model.rate is None, f"panel.{name}", hears)
            self.models[name] = self._held_to_schema(name, model) if self.structured else model

    def _held_to_schema(self, name: str, model: Any) -> Model:
        schema = self.rubric.parser.schema()
        _demand(schema is not None, "structured", f"rubric {self.rubric.name} asks for no JSON")
        _demand(hasattr(model, "extra_body"), f"panel.{name}", "structured needs model=api")
        wanted: dict[str, Json] = {
            "type": "json_schema",
            "json_schema": {"name": self.rubric.name, "strict": True, "schema": schema},
        }
        body = {**(model.extra_body or {}), "response_format": wanted}
        held: Model = replace(model, extra_body=body)
        return held

    @property
    def asked(self) -> list[str]:
        """The judges that are asked now."""
        return self.only or list(self.panel)  # type: ignore[return-value]

    def generation(self, repeat: int) -> Generation:
        """How call `repeat` (from 0) of a decision is drawn."""
        seed = self.seed + repeat if self.repeats > 1 else None
        return Generation(self.max_new_tokens, self.temperature, self.top_p, seed=seed)


def _demand(holds: object, name: str, rule: str) -> None:
    if not holds:
        raise ConfigError(f"judge.{name} {rule}")
