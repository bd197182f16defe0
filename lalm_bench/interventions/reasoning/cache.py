"""Perturbations of reasoning made elsewhere, as JSONL.

Understood are the files of the audio faithfulness study (`id`, `chain_id`, then `sentence_idx`,
`original_sentence`, `mistaken_sentence`, or `original_text`, `paraphrased_text`) and ours, which
name an item's `variant` instead of a chain; further fields do no harm.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from lalm_bench.errors import DataError


@dataclass(frozen=True, slots=True)
class Entry:
    """One perturbation: what stood there ("" where that is not said), and what stands instead."""

    line: int
    original: str
    changed: str


@dataclass(frozen=True)
class Cache:
    """A file's perturbations by (item, variant), then by the place that they change.

    Parameters
    ----------
    path : str
    entries : mapping
        A place is the number of a sentence, a text without needless white space, or a label.
    other_chains : int
        Rows left out because they belong to another chain of their item.
    """

    path: str
    entries: Mapping[tuple[str, str], Mapping[int | str, Entry]]
    other_chains: int

    def of(self, sample_id: str, variant: str) -> Mapping[int | str, Entry]:
        """Perturbations of one item's chain; none where the file does not know it."""
        return self.entries.get((sample_id, variant), {})

    def unknown(self, ids: Collection[str]) -> int:
        """How many of the file's items are not among `ids`."""
        return len({name for name, _ in self.entries}.difference(ids))

    def refused(self, entry: Entry, sample_id: str, why: str) -> DataError:
        """The error that an entry does not belong to its item."""
        return DataError(f"{self.path} line {entry.line}, item '{sample_id}': {why}")


def read(
    path: str, place: str, original: str | None, changed: str, chain_id: int | None = None
) -> Cache:
    """Read and check a file of perturbations.

    Parameters
    ----------
    path : str
    place : str
        Name of the field that says what is changed: a sentence's number from 0, or a text.
    original, changed : str
        Names of the fields with the text that stood there, and with what stands instead.
    chain_id : int, optional
        Of several chains of an item, the one that the baseline holds; None where there is one.

    Raises
    ------
    DataError
        The file cannot be read, a row is malformed, or two rows contradict each other.
    """
    entries: dict[tuple[str, str], dict[int | str, Entry]] = {}
    chains: set[str] = set()
    others = 0
    try:
        lines = open(path, "rb").readlines()  # noqa: SIM115
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror}); mend intervention.file"
        ) from error
    for number, content in enumerate(lines, 1):
        if not content.strip():
            continue
        row = _Row(f"{path} line {number}", content)
        chain = str(row.values.get("chain_id", ""))
        chains.add(chain)
        if chain_id is not None and chain != str(chain_id):
            others += 1
            continue
        entry = Entry(number, row.text(original) if original else "", row.text(changed))
        where = row.number(place) if place == SENTENCE else plain(row.text(place))
        known = entries.setdefault((row.text("id"), row.variant()), {})
        before = known.setdefault(where, entry)
        if plain(before.changed) != plain(entry.changed) or before.original != entry.original:
            raise DataError(
                f"{path} lines {before.line} and {number}: two texts for one place; keep one"
            )
    if chain_id is None and len(chains) > 1:
        raise DataError(
            f"{path}: rows of several chains ({', '.join(sorted(chains)[:5])}); choose one with "
            "intervention.chain_id"
        )
    if not entries:
        raise DataError(f"{path}: no row{'' if chain_id is None else f' of chain {chain_id}'}")
    return Cache(path, entries, others)


SENTENCE = "sentence_idx"


def plain(text: str) -> str:
    """The text with single blanks: two splitters rarely agree on white space."""
    return " ".join(text.split())


class _Row:
    """One line's object, and the complaints about it."""

    def __init__(self, where: str, content: bytes) -> None:
        self.where = where
        try:
            self.values: dict[str, Any] = orjson.loads(content)
        except orjson.JSONDecodeError as error:
            raise DataError(f"{where}: no JSON ({error}); write one object a line") from error
        if not isinstance(self.values, dict):
            raise DataError(f"{where}: no JSON object; write one object a line")

    def text(self, field: str) -> str:
        value = self.values.get(field)
        if not isinstance(value, str) or not value.strip():
            raise DataError(f"{self.where}: '{field}' is {value!r} and must be a text")
        return value

    def number(self, field: str) -> int:
        value = self.values.get(field)
        if type(value) is not int or value < 0:
            raise DataError(f"{self.where}: '{field}' is {value!r} and must be 0 or more")
        return value

    def variant(self) -> str:
        value = self.values.get("variant", "")
        if not isinstance(value, str):
            raise DataError(f"{self.where}: 'variant' is {value!r} and must be a text")
        return value
