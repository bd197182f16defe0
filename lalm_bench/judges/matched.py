"""Verdicts beside a reference: which fields both have, what a cell says, which rows are a pair."""

from __future__ import annotations

import math
from collections.abc import Sequence

from lalm_bench.errors import DataError
from lalm_bench.judges.fields import BINARY, NOMINAL, Field
from lalm_bench.judges.rated import Rated, RatedFile, Said


def number(of: Field, said: Said, where: str) -> float:
    """A cell as the field's number; NaN for an empty one.

    Raises
    ------
    DataError
        The cell is none of the field's levels.
    """
    if said is None or isinstance(said, int | float):
        return math.nan if said is None else float(said)
    text = said.strip()
    if not text:
        return math.nan
    value = of.read(text)
    if value is None and of.scale != NOMINAL:
        value = _plain_number(of, text)
    if value is None:
        wanted = ", ".join(of.levels or ()) or f"{of.low:g} to {of.high:g}"
        raise DataError(f"{where}: {of.name} {said!r} is none of {wanted}; mend the cell")
    return value


def _plain_number(of: Field, text: str) -> float | None:
    """`1`, `1.0`, `yes` where a field's levels have other texts."""
    yes_and_no = {"yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}
    if of.scale == BINARY and text.lower() in yes_and_no:
        return yes_and_no[text.lower()]
    try:
        value = float(text)
    except ValueError:
        return None
    return value if value in {float(v) for v in (of.levels or {}).values()} else None


def settle(verdicts: RatedFile, reference: RatedFile) -> tuple[Field, ...]:
    """The fields that both have: as a rubric or a published form has them, else as cells suggest.

    Raises
    ------
    DataError
        They have none in common; names the columns.
    """
    known = verdicts.fields or reference.fields
    names = verdicts.columns() & reference.columns()
    if known:
        fields = tuple(f for f in known if f.name.lower() in names)
    else:
        fields = tuple(_suggested(name, [verdicts, reference]) for name in sorted(names))
    if not fields:
        have = [
            f"{f.path} has {', '.join(sorted(f.columns())) or 'none'}"
            for f in (verdicts, reference)
        ]
        raise DataError(
            f"no column of {reference.path} is a field of the verdicts: {'; '.join(have)}; name "
            "its columns after the fields"
        )
    return fields


def _suggested(name: str, files: Sequence[RatedFile]) -> Field:
    cells = {
        str(s).strip()
        for f in files
        for r in f.rows
        for (_, n), s in r.said.items()
        if n == name and str(s or "").strip()
    }
    try:
        numbers = sorted(float(cell) for cell in cells)
    except ValueError:
        return Field(name=name, levels={c: i for i, c in enumerate(sorted(cells))}, scale=NOMINAL)
    if not numbers or not all(map(math.isfinite, numbers)):
        raise DataError(f"column {name!r} has no number or text to compare; fill it in")
    if set(numbers) <= {0.0, 1.0}:
        return Field(name=name, levels={"0": 0, "1": 1}, scale=BINARY)
    return Field(name=name, low=numbers[0], high=numbers[-1])


def pairs(verdicts: RatedFile, reference: RatedFile) -> list[tuple[Rated, Rated]]:
    """(verdict, reference) of the same answer; reference rows without one are left out.

    Raises
    ------
    DataError
        A row fits several answers, two rows fit one, they are about different answers, or
        nothing fits at all.
    """
    by_name: dict[str, list[Rated]] = {}
    for row in verdicts.rows:
        for name in dict.fromkeys(row.names):
            by_name.setdefault(name, []).append(row)
    found: list[tuple[Rated, Rated]] = []
    taken: dict[int, Rated] = {}
    for wanted in reference.rows:
        fits = next((by_name[name] for name in wanted.names if name in by_name), [])
        if wanted.asked:
            fits = [row for row in fits if not row.asked or row.asked & wanted.asked]
        if not fits:
            continue
        if len(fits) > 1:
            raise DataError(
                f"{wanted.where}: item '{wanted.names[0]}' has {len(fits)} answers; say which one "
                "in a column 'variant' or 'prompt'"
            )
        (row,) = fits
        if id(row) in taken:
            raise DataError(f"{wanted.where} and {taken[id(row)].where} rate one answer; keep one")
        if None not in (row.text, wanted.text) and _words(row.text) != _words(wanted.text):
            raise DataError(
                f"{wanted.where}: another answer was rated than in {row.where}; compare verdicts "
                "on the same answers"
            )
        taken[id(row)] = wanted
        found.append((row, wanted))
    if not found:
        raise DataError(
            f"no row of {reference.path} is about an answer in {verdicts.path}: its first is "
            f"'{reference.rows[0].names[0]}', there '{verdicts.rows[0].names[0]}'; mend id, "
            "variant or prompt"
        )
    return found


def _words(text: str | None) -> list[str]:
    return (text or "").split()
