"""Turning a model's text into an option label."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lalm_bench.types import Choice


@dataclass(frozen=True, slots=True)
class Parsed:
    """Outcome of one extraction.

    Parameters
    ----------
    label : str or None
        One of the item's labels; None when the text names none (see `stage` for why).
    stage : str
        The rule that fired, e.g. `exact`, `json`, `statement`; for None one of `empty`, `refusal`,
        `several`, `out-of-range` (a letter that the item has not), `none`.
    conflict : bool
        The label that was taken and the option text beside it name different options.
    """

    label: str | None
    stage: str
    conflict: bool = False


Parser = Callable[[str, Sequence[Choice]], Parsed]
