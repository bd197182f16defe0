"""A row that cannot become an item stays in its run under its name, as an error.

A loader that raised would end the run for one bad row; one that left the row out would change what
the other rows are a sample of.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lalm_bench.errors import BenchError, DataError, one_line
from lalm_bench.types import Sample


def bad_row(identity: str, error: BenchError) -> Sample:
    """The item that a row would have been: nothing but its name and what is wrong with it.

    Parameters
    ----------
    identity : str
        The row's own id, or its line where it has none.
    error : BenchError
        Says where the row stands, what is wrong and how to mend it.
    """
    return Sample(identity, (), "", (), None, identity, fault=one_line(error))


def demand_whole(row: Mapping[Any, Any], where: str) -> None:
    """DataError unless a row of `csv.DictReader` has as many cells as the header."""
    if None in row or None in row.values():
        raise DataError(
            f"{where}: not as many cells as the header has; put texts with a comma into quotes, or "
            "drop the row"
        )
