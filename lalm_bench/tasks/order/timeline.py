"""From strong captions (text, onset, offset) to one timeline of events a recording.

Source: the TACoBeLAL timeline over TACOS annotations (Primus et al., arXiv 2505.07609).
"""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lalm_bench.errors import DataError
from lalm_bench.parsing.compat.tacobelal import normalise

COLUMNS = ("filename", "text", "onset", "offset")

Row = tuple[str, str, str, str]


@dataclass(frozen=True, slots=True)
class Region:
    """One annotated stretch of a recording: seconds, its caption and its row in the table."""

    onset: float
    offset: float
    row: int
    text: str


@dataclass(frozen=True, slots=True)
class Event:
    """All regions of a recording that share a caption.

    Parameters
    ----------
    index : int
        Rank in the timeline.
    text : str
        The spelling met first in the table.
    captions : tuple of str
        Every spelling, in the order of the table.
    onset, offset : float
        Seconds, of the first occurrence.
    occurrences : int
        Distinct (onset, offset) pairs.
    last_offset : float
        Seconds; when the last occurrence is over.
    spans : tuple of (float, float)
        Onset and offset of each occurrence, seconds, ascending.
    """

    index: int
    text: str
    captions: tuple[str, ...]
    onset: float
    offset: float
    occurrences: int
    last_offset: float
    spans: tuple[tuple[float, float], ...]

    def as_record(self) -> dict[str, Any]:
        """The event under the published field names, in their order."""
        return {
            "event_index": self.index,
            "text": self.text,
            "captions": list(self.captions),
            "onset": self.onset,
            "offset": self.offset,
            "duration": self.offset - self.onset,
            "occurrence_count": self.occurrences,
            "last_offset": self.last_offset,
        }


def read_annotations(path: str | Path) -> Iterator[tuple[int, Row]]:
    """Rows of a strong-caption table as text, with the line each ends in.

    Other columns are ignored, short rows padded.

    Raises
    ------
    DataError
        The file cannot be read as CSV or lacks a column.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            lines = csv.reader(file)
            header = [name.strip() for name in next(lines, [])]
            absent = [name for name in COLUMNS if name not in header]
            if absent:
                raise DataError(
                    f"{path}: no column {', '.join(absent)}; "
                    f"a strong-caption table has {', '.join(COLUMNS)}"
                )
            name, text, onset, offset = [header.index(column) for column in COLUMNS]
            padding = [""] * len(header)
            for line in lines:
                if not line:
                    continue
                cells = line if len(line) >= len(header) else line + padding
                yield lines.line_num, (cells[name], cells[text], cells[onset], cells[offset])
    except csv.Error as error:
        raise DataError(
            f"{path} line {lines.line_num}: not readable as CSV ({error}); mend the quotes there"
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 ({error.reason}); save the table as UTF-8") from error
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror}); fetch the annotations or mend the path"
        ) from error


def row_fault(row: Row) -> str | None:
    """Why a row places no sound in a recording; None when it does.

    Examples
    --------
    >>> row_fault(("a.wav", "A bell.", "2", "1"))
    "'2' to '1' is no span of seconds"
    """
    name, text, start, end = row
    if not name.strip() or not text.strip():
        return "no file name" if not name.strip() else "no text"
    # NaN fails every comparison, so an unparsable time takes this branch as well.
    if not _seconds(end) - _seconds(start) > 0:
        return f"{start!r} to {end!r} is no span of seconds"
    return None


def timelines(
    rows: Iterable[Row], min_duration: float = 0.5, min_events: int = 2
) -> tuple[dict[str, tuple[Event, ...]], Counter[str]]:
    """Group regions by caption and put each recording's events in order.

    Parameters
    ----------
    rows : iterable of (filename, text, onset, offset)
        Unparsed cells.
    min_duration : float
        Seconds; shorter regions are dropped, equal ones kept.
    min_events : int
        Recordings with fewer events are dropped.

    Returns
    -------
    dict
        File name -> events ordered by (onset, offset, row), sorted by file name.
    Counter
        `rows`, rows dropped as `empty`, `invalid_time` or `short`, recordings dropped as
        `few_events`, and the `files` that stay.
    """
    counts: Counter[str] = Counter()
    grouped: dict[str, dict[str, list[Region]]] = {}
    for number, (filename, text, start, end) in enumerate(rows):
        counts["rows"] += 1
        filename, text = filename.strip(), text.strip()
        if not filename or not text:
            counts["empty"] += 1
            continue
        onset, offset = _seconds(start), _seconds(end)
        # NaN fails every comparison, so an unparsable time takes this branch as well.
        if not offset - onset > 0:
            counts["invalid_time"] += 1
        elif offset - onset < min_duration:
            counts["short"] += 1
        else:
            region = Region(onset, offset, number, text)
            grouped.setdefault(filename, {}).setdefault(normalise(text), []).append(region)
    kept = {name: _events(g) for name, g in sorted(grouped.items()) if len(g) >= min_events}
    counts["files"] = len(kept)
    counts["few_events"] = len(grouped) - len(kept)
    return kept, counts


def _seconds(cell: str) -> float:
    """A finite number of seconds, or NaN."""
    try:
        value = float(cell)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan


def _events(grouped: dict[str, list[Region]]) -> tuple[Event, ...]:
    firsts = [
        (min(regions, key=lambda r: (r.onset, r.row)), regions) for regions in grouped.values()
    ]
    firsts.sort(key=lambda pair: (pair[0].onset, pair[0].offset, pair[0].row))
    return tuple([_event(index, first, regions) for index, (first, regions) in enumerate(firsts)])


def _event(index: int, first: Region, regions: list[Region]) -> Event:
    spans = tuple(sorted({(r.onset, r.offset) for r in regions}))
    return Event(
        index,
        regions[0].text,
        tuple(dict.fromkeys([r.text for r in regions])),
        first.onset,
        first.offset,
        len(spans),
        max([r.offset for r in regions]),
        spans,
    )
