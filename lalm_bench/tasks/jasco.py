"""JASCO: what are the speakers doing? Answerable only from sound and speech together.

Wang et al. (2024), arXiv 2409.14526. Layout: `<root>/dataset/v0/v0.csv` beside `<audio_id>.wav`.
Answers are free text that judges rate: `judge=jasco` here, or `task.verdicts` for what judges said
elsewhere. `python -m lalm_bench.tasks.jasco RUN_FOLDER OUT.csv` writes a run's answers, and the
verdicts on them, as the published evaluation table.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lalm_bench import prompts
from lalm_bench.errors import ConfigError, DataError
from lalm_bench.parsing.jasco import ORIENTATIONS, Verdict
from lalm_bench.tasks.bad_rows import bad_row, demand_whole
from lalm_bench.tasks.jasco_files import COLUMNS, main, read_segments, read_table, read_verdicts
from lalm_bench.types import (
    AudioRef,
    Generation,
    Json,
    Metrics,
    Request,
    Response,
    Sample,
    Score,
)

if TYPE_CHECKING:
    import pandas as pd

_QUESTION = "What are the speakers doing?"


@dataclass(kw_only=True)
class Jasco:
    """80 clips, each asked with every instruction.

    Parameters
    ----------
    name : str
    root : str
        Folder that holds `dataset/v0/`.
    instructions : sequence of str
        What is asked; instruction k has the variant `instruction=k`, from 1.
    verdicts : sequence of str
        Judged evaluation tables, one file a judge or one column a judge.
    segments : str, optional
        CSV that says where each clip has speech (audio_id, start, end); goes into the items' meta.
    references : sequence of mapping
        Published numbers: value, number, model, source.
    """

    name: str
    root: str
    instructions: Sequence[str]
    verdicts: Sequence[str] = ()
    segments: str | None = None
    groups: tuple[str, ...] = ()
    max_new_tokens: int = 256
    references: Sequence[dict[str, Any]] = ()
    _judged: dict[str, dict[tuple[str, str], tuple[Verdict, str | None]]] = field(
        default_factory=dict, init=False
    )
    _speech: dict[str, list[tuple[float, float]]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.groups = tuple(self.groups)
        if not self.instructions or len({*self.instructions}) < len(self.instructions):
            raise ConfigError("task.instructions must be a list of different texts")
        if isinstance(self.verdicts, str):
            self.verdicts = (self.verdicts,)

    def missing(self, audio: bool) -> list[str]:
        """The table (the recordings lie beside it), and the judged tables."""
        absent = [str(path) for path in self.inputs() if not path.is_file()]
        source = (
            "clone BenoitWang/What_Are_They_Doing and set task.root, or mend task.verdicts or "
            "task.segments"
        )
        return [f"{absent[0]}: no such file; {source}"] if absent else []

    def inputs(self) -> list[Path]:
        """The table, the judged tables, and where there is speech."""
        segments = [] if self.segments is None else [self.segments]
        return [self._folder / "v0.csv", *map(Path, (*self.verdicts, *segments))]

    @property
    def _folder(self) -> Path:
        return Path(self.root, "dataset", "v0")

    def samples(self) -> Iterator[Sample]:
        """Clips in the order of the table; a bad row is an item with a fault.

        Raises
        ------
        DataError
            The table lacks a column, or a judged table is malformed; names file and remedy.
        """
        self._judged = read_verdicts(self.verdicts)
        self._speech = {} if self.segments is None else read_segments(Path(self.segments))
        for where, row in read_table(self._folder / "v0.csv", COLUMNS):
            identity = (row["audio_id"] or "").strip()
            try:
                yield self._sample(identity, where, row)
            except DataError as error:
                yield bad_row(identity or f"line {where.rpartition(' ')[2]}", error)

    def _sample(self, identity: str, where: str, row: dict[str, str]) -> Sample:
        demand_whole(row, where)
        empty = [name for name in COLUMNS if not row[name].strip()]
        if empty:
            raise DataError(f"{where}: {empty[0]!r} is empty; restore the published table")
        return Sample(
            identity,
            (AudioRef(str(self._folder / f"{identity}.wav")),),
            _QUESTION,
            (),
            row["Correct Answer"],
            identity,
            {
                "audio_sound": row["Audio"],
                "spoken_text": row["Speech"],
                "audio_only_target": row["Audio-Only Answer"],
                "speech_only_target": row["Speech-Only Answer"],
                "target_keywords": row["Correct Answer Keyword"],
                **({"speech": self._speech[identity]} if identity in self._speech else {}),
            },
        )

    def report(self) -> dict[str, Json]:
        """Judges that were read, and how many verdicts each gave."""
        return {"verdicts": {judge: len(rows) for judge, rows in self._judged.items()}}

    def requests(self, sample: Sample, generation: Generation) -> list[Request]:
        """One user turn an instruction: the clip, then the instruction."""
        return [
            Request(
                sample.id,
                (prompts.user_turn(sample, text),),
                question=text,
                generation=generation,
                variant=f"instruction={number}",
            )
            for number, text in enumerate(self.instructions, 1)
        ]

    def score(self, sample: Sample, responses: Sequence[Response]) -> list[Score]:
        """Each answer with the verdicts given on it; no text is right or wrong by itself.

        Raises
        ------
        DataError
            A verdict was given on another answer than this one.
        """
        scores = []
        for response in responses:
            number = int(response.variant.removeprefix("instruction="))
            values = {"instruction": float(number)}
            stage = "unjudged"
            for judge, given in self._judged.items():
                key = (sample.id, " ".join(self.instructions[number - 1].split()))
                verdict, answer = given.get(key, (None, None))
                if answer is not None and answer.split() != response.text.split():
                    raise DataError(
                        f"item '{sample.id}', {response.variant}: judge {judge} rated another "
                        "answer; judge this run's answers, or use model=predictions on that file"
                    )
                values |= _values(judge, verdict)
                stage = stage if verdict is None else "judged"
            facts: dict[str, Json] = {"prompt": self.instructions[number - 1]}
            scores.append(
                Score(sample.id, stage, stage, values, variant=response.variant, facts=facts)
            )
        return scores

    def metrics(self, decisions: pd.DataFrame) -> Metrics:
        """Best-mean and modality dependence, where there are verdicts."""
        from lalm_bench.metrics.jasco import summarise

        return summarise(decisions)


def _values(judge: str, verdict: Verdict | None) -> dict[str, float]:
    unknown = float("nan")
    rating = None if verdict is None else verdict.rating
    orientation = None if verdict is None else verdict.orientation
    return {
        f"rating[{judge}]": unknown if rating is None else float(rating),
        f"orientation[{judge}]": (
            unknown if orientation is None else float(ORIENTATIONS.index(orientation))
        ),
        f"malformed[{judge}]": unknown if verdict is None else float(verdict.malformed),
    }


if __name__ == "__main__":
    sys.exit(main())
