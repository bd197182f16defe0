"""What the judges of a run said, as columns of JASCO's published evaluation table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lalm_bench.errors import DataError
from lalm_bench.parsing.jasco import ORIENTATIONS, Verdict, verdict

# The published column, whoever the judge is.
PUBLISHED = "llama3_extract"
_UNREAD = "unknown"  # stands for no level
_NAMED: dict[str | None, str] = {
    **{"audio": "Audio-Oriented", "speech": "Speech-Oriented", "both": "Both"},
    **{"neither": "Neither", None: _UNREAD},
}


@dataclass(frozen=True)
class JudgedRows:
    """Columns of a judged run.

    Parameters
    ----------
    columns : mapping
        Name in the table -> judge.
    rows : mapping
        (id, variant) -> the judged run's decision.
    """

    columns: Mapping[str, str]
    rows: Mapping[tuple[str, str], Mapping[str, Any]]

    def cells(self, answer: Mapping[str, Any]) -> dict[str, str]:
        """Each judge's cell beside one decision of the run itself.

        Raises
        ------
        DataError
            The judges were asked about another answer, or gave what has no place in the table.
        """
        if not self.columns:
            return {}
        row = self.rows.get((answer["id"], answer["variant"]))
        where = f"item '{answer['id']}', {answer['variant']}"
        if row is None or row["text"] != answer["text"]:
            raise DataError(
                f"{where}: the judges were asked about another answer than the run has; judge it "
                "again (stage=judge judge=jasco)"
            )
        return {column: _cell(row, judge, where) for column, judge in self.columns.items()}


def judged_rows(run: Path, taken: tuple[str, ...]) -> JudgedRows:
    """Verdicts on a run by the rubric jasco; no columns where nobody judged it.

    Raises
    ------
    DataError
        A judge is called like a column in `taken`.
    """
    from lalm_bench import runs

    folder = run / "judge" / "jasco"
    if not (folder / "decisions.jsonl").is_file():
        return JudgedRows({}, {})
    rows = {(row["id"], row["variant"]): row for row in runs.decisions(folder)}
    names = dict.fromkeys(name for row in rows.values() for name in row)
    judges = [
        name.removeprefix("verdict[").removesuffix("]")
        for name in names
        if name.startswith("verdict[")
    ]
    if clash := [judge for judge in judges if judge in taken]:
        raise DataError(f"a judge is called {clash[0]!r}, as a column is; rename it in judge.panel")
    columns = {PUBLISHED: judges[0]} if len(judges) == 1 else {judge: judge for judge in judges}
    return JudgedRows(columns, rows)


def _cell(row: Mapping[str, Any], judge: str, where: str) -> str:
    """The judge's words, and what they came to on lines of its own where they alone read otherwise.

    So a second question's answer is not lost, and reading the table gives the same numbers.
    """
    text = row[f"verdict[{judge}]"]
    if text is None:
        return ""  # not judged
    rating, code = row[f"rating[{judge}]"], row[f"orientation[{judge}]"]
    if rating not in (None, 0, 1, 2):
        raise DataError(
            f"{where}: judge {judge} gave {rating:g}, a mean of several calls, which the published "
            "table has no place for; judge with judge.repeats=1"
        )
    wanted = Verdict(
        None if rating is None else int(rating), None if code is None else ORIENTATIONS[int(code)]
    )
    alone = verdict(text)
    lines = [text]
    if alone.rating != wanted.rating or not text.strip():
        lines.append(f"Rating: {_UNREAD if wanted.rating is None else wanted.rating}")
    if alone.orientation != wanted.orientation:
        lines.append(f"Orientation: {_NAMED[wanted.orientation]}")
    return "\n".join(lines)
