"""Answers made elsewhere, by a model that cannot run here; `stage=export` writes what to answer."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lalm_bench.digests import file_digest
from lalm_bench.errors import AudioError, ConfigError, DataError
from lalm_bench.models.base import ModelBase
from lalm_bench.models.prediction_files import Answers, Row, asked, load
from lalm_bench.types import Json, Request, Response

_FIELDS = ("id", "variant", "prompt", "output")
_SHOWN = 3


@dataclass
class Predictions(ModelBase):
    """Looks each request up in a file by (id, variant), or by (id, prompt) in JASCO's form.

    Parameters
    ----------
    name : str
        Name of whoever answered; names the folder of the results.
    path : str
        The file; `prediction_files.FORMS` lists the forms that are recognised.
    rate : int or None
        Rate at which `stage=export` renders, Hz. None: a run needs no recordings.
    columns : mapping
        Names of the columns id, variant, prompt, output, where the form is none of the known.
    ids : str
        How the file's id becomes the item's, e.g. `jasco_{id}`.
    run : int
        Which entry counts where an output is a list of repeated runs.
    empty : str
        `answer`: an empty output is an (invalid) answer. `missing`: it is none.

    Notes
    -----
    An answer belongs to its item and not to the words of a request, so two items with one text may
    not share it: to the pipeline this model is stochastic, which puts (id, variant) into the key.
    It is sequential because the file is matched as a whole, so that extra rows can be counted.

    Where rows carry the `request` digest that `stage=export` wrote, an answer that was made for
    another prompt, clip, intervention or setting is an error of its item.
    """

    name: str = "predictions"
    path: str | None = None
    rate: int | None = 16_000
    columns: Mapping[str, str | None] = field(default_factory=dict)
    ids: str = "{id}"
    run: int = 0
    empty: str = "answer"
    stochastic: bool = field(default=True, init=False)
    sequential: bool = field(default=True, init=False)

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.columns) - set(_FIELDS)):
            raise ConfigError(f"model.columns.{unknown[0]}: known are {', '.join(_FIELDS)}")
        if "{id}" not in self.ids:
            raise ConfigError(f"model.ids={self.ids!r} must contain {{id}}")
        if isinstance(self.run, bool) or not isinstance(self.run, int) or self.run < 0:
            raise ConfigError(f"model.run={self.run!r} must be a whole number from 0")
        if self.empty not in ("answer", "missing"):
            raise ConfigError(f"model.empty={self.empty!r} must be answer or missing")
        self._answers: Answers | None = None
        self._report: dict[str, Json] = {}

    def identity(self) -> dict[str, Json]:
        """The file's content and how it is read."""
        file = Path(self.path) if self.path else None
        return {
            "answers": file_digest(file) if file and file.is_file() else None,
            "columns": {name: self.columns.get(name) for name in _FIELDS},
            "ids": self.ids,
            "run": self.run,
            "empty": self.empty,
        }

    def missing(self) -> list[str]:
        """The file, when it is not there."""
        if self.path is None:
            return [
                "model.path must be set: model.path=ANSWERS.csv (stage=export writes a template)"
            ]
        if Path(self.path).is_file():
            return []
        return [
            f"model.path={self.path} is not there: write it from what stage=export "
            "export.folder=DIR puts out, or mend the path"
        ]

    def fetch(self) -> None:
        """Read the file, so that a bad one is refused before anything is written.

        Raises
        ------
        DataError
            See `prediction_files.load`; also when no output is filled in.
        """
        self._answers = self._read()

    def _read(self) -> Answers:
        path = Path(self.path or "")
        answers = load(path, self.columns, self.ids, self.run)
        if answers.counts["empty"] == answers.counts["rows"]:
            raise DataError(f"{path}: every {answers.form.output} is empty; fill them in")
        return answers

    def answer(self, requests: Iterable[Request]) -> Iterator[Response]:
        """One answer per request, in order; a request without one gets an error."""
        answers = self._answers or self._read()
        count, unverified, empty = 0, 0, 0
        lacking: list[str] = []
        unused = dict.fromkeys(answers.rows)
        for request in requests:
            count += 1
            names = [name for name in answers.names(request) if name in answers.rows]
            row = answers.rows[names[0]] if names else None
            for name in names:
                unused.pop(name, None)
            text, error = self._text(row)
            if row is None or row.text is None or error:
                lacking.append("/".join(filter(None, (request.sample_id, request.variant))))
            elif (same := _same(request, row)) is None:
                unverified += 1
            elif not same:
                error = f"row {row.place} answers another request (prompt, audio or settings)"
            empty += text == "" and not error
            yield Response(
                request.key,
                request.sample_id,
                "" if error else text,
                "error" if error else "stop",
                request.variant,
                error=f"{request.sample_id}: {self.path}: {error}" if error else None,
            )
        extra = [_label(*name) for name in unused]
        self._report = {
            **answers.counts,
            "form": answers.form.name,
            "asked": count,
            "missing": len(lacking),
            "missing_first": [*lacking[:_SHOWN]],
            "extra": len(extra),
            "extra_first": [*extra[:_SHOWN]],
            "unverified": unverified,
        }
        self._say(count, lacking, empty, extra)

    def report(self) -> dict[str, Json]:
        """Rows of the file that were not asked for, asked twice, empty, or missing."""
        return self._report

    def _text(self, row: Row | None) -> tuple[str, str | None]:
        """The output, or why there is none."""
        if row is None:
            return "", "no row for it"
        if row.text is None:
            return "", f"row {row.place} holds no output"
        if row.text == "" and self.empty == "missing":
            return "", f"row {row.place} has an empty output"
        return row.text, None

    def _say(self, count: int, lacking: list[str], empty: int, extra: list[str]) -> None:
        if lacking:
            more = ", ..." if len(lacking) > _SHOWN else ""
            hint = ""
            if len(lacking) == count and extra:
                hint = f"; it has '{extra[0]}' and the like, see model.ids and model.columns"
            sys.stderr.write(
                f"{self.path}: {len(lacking)} of the {count} requests have no answer in it: "
                f"{', '.join(lacking[:_SHOWN])}{more}{hint}\n"
            )
        if empty:
            sys.stderr.write(
                f"{self.path}: {empty} empty outputs count as invalid answers; "
                "if they were never asked, use model.empty=missing\n"
            )


def _same(request: Request, row: Row) -> bool | None:
    """Whether the row was made for this request; None where that cannot be known."""
    if row.request is None:
        return None
    try:
        return row.request == asked(request)
    except AudioError:  # the recordings are not on this machine
        return None


def _label(name: str, variant: str) -> str:
    return f"{name}/{variant}" if variant else name
