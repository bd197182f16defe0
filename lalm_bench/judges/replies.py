"""Replies on disk, read while somebody else may be writing them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson

from lalm_bench.errors import StoreError, one_line
from lalm_bench.preflight import Answered
from lalm_bench.types import Response


@contextmanager
def replies(path: Path) -> Iterator[Answered]:
    """`with replies(path) as answer: answer(key)` is a reply, or None for none or only an error.

    A line that is being written is left out and left alone; a file that is not there holds nothing.

    Raises
    ------
    StoreError
        A line is no answer; names it.
    """
    if not path.is_file():
        yield lambda key: None
        return
    places: dict[str, int] = {}
    with open(path, "rb") as file:
        offset = 0
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                break
            try:
                row = orjson.loads(line)
                if row["finish"] != "error":
                    places[row["key"]] = offset
            except (KeyError, TypeError, ValueError) as error:
                raise StoreError(
                    f"{path} line {number}: not an answer ({one_line(error)}); delete that line "
                    "(its item is asked again) or the file"
                ) from error
            offset += len(line)

        def answer(key: str) -> Response | None:
            place = places.get(key)
            if place is None:
                return None
            file.seek(place)
            return Response(**orjson.loads(file.readline()))

        yield answer
