"""What a key means where its own file does not say: the file that it starts from, or around it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from settings import Option, Setting

# Keys that mean the same wherever they stand.
_EVERYWHERE = {
    "cells": "Lists of overrides; see `study.cells` among the top-level settings.",
    "each": "A setting and its values: all cells are asked for each.",
    "groups": "What scores are broken down by.",
    "levels": "Word -> number.",
    "max_new_tokens": "Longest answer, in tokens.",
    "max_pairs_per_audio": "Most pairs of events that are asked of one recording.",
    "name": "What it is called in folders, tables and MLflow.",
    "prompt": "What is asked; slots in braces are filled.",
    "published_items": "How many items the published set has; reported beside yours.",
    "references": "Published numbers with their sources; the report shows them beside yours.",
    "root": "Folder of the data set.",
    "scale": "nominal, ordinal or binary: which agreement is computed.",
    "seed": "Of its draws.",
    "stage": "What is done; see `stage` among the top-level settings.",
    "system": "System turn.",
    "temperature": "Of sampling; 0 takes the likeliest token.",
    "top_p": "Share of probability that sampling draws from.",
}


def with_inherited(found: Sequence[Option]) -> list[Option]:
    """The options, with what the files that they start from say of the same keys."""
    by_place = {f"{option.group}/{option.name}".lstrip("/"): option for option in found}

    def meaning(option: Option, key: str) -> str:
        for entry in option.starts_from:
            place, below = _place(option.group, entry)
            base = by_place.get(place)
            if base is None or not key.startswith(below):
                continue
            bare = key.removeprefix(below)
            own = {s.key: s.meaning for s in base.settings}.get(bare, "")
            if text := own or meaning(base, bare):
                return text
        return ""

    return [
        replace(
            option,
            settings=_complete(
                option,
                [
                    s if s.meaning else replace(s, meaning=meaning(option, s.key))
                    for s in option.settings
                ],
            ),
        )
        for option in found
    ]


def _complete(option: Option, settings: Sequence[Setting]) -> tuple[Setting, ...]:
    """Settings without words of their own get those of what stands around them."""
    said: dict[str, str] = {}
    done = []
    for one in settings:
        parent = one.key.rpartition(".")[0]
        # In files of plain settings one comment often stands for neighbours.
        above = said.get(f"{parent}.", "") if not option.target else ""
        around = above or said.get(parent, "") or one.section or option.about
        text = one.meaning or _usual(one.key) or around
        said[one.key] = said[f"{parent}."] = text
        done.append(replace(one, meaning=text))
    return tuple(done)


def _place(group: str, entry: str) -> tuple[str, str]:
    """Where an entry of `defaults` lies, and the path at which its keys come to stand."""
    key, is_group, value = entry.rpartition("=")
    if not is_group:
        return f"{group}/{value.partition('@')[0]}".lstrip("/"), ""
    name, _, package = key.removeprefix("override ").partition("@")
    folder = name.lstrip("/") if name.startswith("/") else f"{group}/{name}".lstrip("/")
    below = package or name.rpartition("/")[2]
    return f"{folder}/{value}", f"{below}."


def _usual(key: str) -> str:
    return _EVERYWHERE.get(key.rpartition(".")[2], "")
