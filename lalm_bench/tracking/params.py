"""Names and values as MLflow takes them, chosen so that runs can be compared in its tables."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import Any

from lalm_bench import identity

_NAME_CHARS = 250  # MLflow's limit
_VALUE_CHARS = 100
_SHOWN = 60
_PLAIN = frozenset("_-. :")


def params(config: Mapping[str, Any]) -> dict[str, str]:
    """The settings that name a run, flat: `intervention.snr_db` -> `-10`.

    They are what the fingerprint is made of, because MLflow never lets a param change: paths,
    speed, servers and judges may differ between two starts of one run, and differ between machines.
    The whole configuration is the artifact `config.yaml`.

    Parameters
    ----------
    config : mapping
        Resolved, as in `run.json`.
    """
    named = {part: identity._inside(config.get(part)) for part in identity._RUN_PARTS}
    return dict(sorted(_flat(named)))


def _flat(node: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    for key, value in node.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{name}.")
        elif key != "_target_":  # `name` says it in a word
            yield legal(name), short(_portable(str(value)))


def _portable(text: str) -> str:
    """A folder of this machine by its last part: the same weights may lie elsewhere on another."""
    return PurePath(text).name if PurePath(text).is_absolute() else text


def short(text: str) -> str:
    """Long texts (prompts) by their beginning and a digest: equal when the whole texts are.

    Examples
    --------
    >>> short("fastv")
    'fastv'
    """
    if len(text) <= _VALUE_CHARS and text.isprintable():
        return text
    digest = hashlib.blake2b(text.encode(errors="replace"), digest_size=4).hexdigest()
    return f"{' '.join(text[:_SHOWN].split())}... [{len(text)} characters, {digest}]"


def legal(name: str) -> str:
    """A name that MLflow takes for a param or metric: no brackets, no empty part between slashes.

    Examples
    --------
    >>> legal("accuracy/kind/a, b")
    'accuracy/kind/a_ b'
    >>> legal("accuracy/kind/")
    'accuracy/kind/_'
    """
    plain = "".join(c if c.isalnum() or c in _PLAIN or c == "/" else "_" for c in name)
    parts = plain[:_NAME_CHARS].split("/")
    return "/".join("_" if part in ("", ".", "..") else part for part in parts)
