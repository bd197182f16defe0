"""A checkpoint named by a hub id or a local folder: where it is, what lacks, what it is."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lalm_bench.errors import ModelError, one_line
from lalm_bench.models import hub
from lalm_bench.models.digest import folder_digest
from lalm_bench.models.families import EXTRAS
from lalm_bench.types import Json

_WHOLE = ("model.safetensors", "pytorch_model.bin")
# Low-rank weights beside those of the network.
_ADAPTERS = ("adapter_model.safetensors", "*/adapter_model.safetensors")
_INDEX = tuple(f"{name}.index.json" for name in _WHOLE)


@dataclass(frozen=True)
class Checkpoint:
    """Files of one model.

    Parameters
    ----------
    path : str
        Hub id (`owner/name`) or local folder.
    revision : str, optional
        Branch, tag or commit on the hub.
    licence_url : str, optional
        Where the licence of gated weights is accepted.
    gguf_file : str, optional
        File name of GGUF weights inside the folder or repository.
    model_class : str, optional
        Class to load, when `config.json` does not name the right one.
    """

    path: str
    revision: str | None = None
    licence_url: str | None = None
    gguf_file: str | None = None
    model_class: str | None = None

    @property
    def is_local(self) -> bool:
        """True when `path` is an existing folder, or could not be a hub id."""
        return self._folder.is_dir() or not hub.is_id(self.path)

    @property
    def _folder(self) -> Path:
        return Path(self.path).expanduser()

    def folder(self) -> Path | None:
        """The local folder or cached snapshot, if it is complete."""
        found = self._found()
        return found if found is not None and not self._lacking(found) else None

    def config(self) -> dict[str, Any]:
        """`config.json` of what is on this machine; empty when there is none (GGUF alone has none).

        Raises
        ------
        ModelError
            It is not JSON.
        """
        found = self._found()
        return _json(found / "config.json") if found and (found / "config.json").is_file() else {}

    def class_name(self) -> str | None:
        """Class to load: the one asked for, else the first that `config.json` names."""
        return self.model_class or next(iter(self.config().get("architectures") or []), None)

    def missing(self) -> list[str]:
        """What must be done before loading, one instruction each; empty when nothing must be.

        The hub is asked for one connection, and only when weights are not on this machine.
        """
        lacking = self._weights_missing()
        extra = EXTRAS.get(self.class_name() or "")
        if extra is not None:
            lacking += extra.missing(self.path)
        if self.gguf_file and importlib.util.find_spec("gguf") is None:
            lacking.append("model.gguf_file needs the package gguf: run 'pip install gguf'")
        return lacking

    def fetch(self) -> Path:
        """The folder to load from; downloads it when it is not here.

        Raises
        ------
        ModelError
            It is not here and cannot be fetched.
        """
        here = self.folder()
        if here is not None:
            return here
        if self.is_local or hub.offline():
            raise ModelError("; ".join(self._weights_missing()))
        fetched = hub.download(self.path, self.revision, self.gguf_file, self.licence_url)
        lacking = self._lacking(fetched)
        if lacking:
            raise ModelError(f"the hub's {self.path} holds no {lacking}; mend model.path")
        return fetched

    def identity(self) -> dict[str, Json]:
        """The commit of a hub id, or the content digest of a local folder; null when not here."""
        here = self.folder()
        if self.is_local:
            files = _weights(here, self.gguf_file) if here else []
            files += [f for where in _ADAPTERS for f in here.glob(where)] if here else []
            return {"content": folder_digest(here, files) if here else None}
        file = {"file": self.gguf_file} if self.gguf_file else {}
        return {"repo": self.path, "commit": here.name if here else None, **file}

    def _found(self) -> Path | None:
        if self.is_local:
            return self._folder if self._folder.is_dir() else None
        return hub.snapshot(self.path, self.revision, self.gguf_file or "config.json")

    def _lacking(self, folder: Path) -> str:
        """The first file that loading would miss, or an empty string."""
        if self.gguf_file is None and not (folder / "config.json").is_file():
            return "config.json"
        files = _weights(folder, self.gguf_file)
        if not files:
            return "weights (model.safetensors)"
        return next((f.name for f in files if not f.is_file()), "")

    def _weights_missing(self) -> list[str]:
        if self.folder() is not None:
            return []
        found = self._found()
        if self.is_local:
            if found is None:
                return [f"model.path={self.path}: no such folder; set it to a checkpoint's folder"]
            return [
                f"model.path={self.path}: {self._lacking(found)} is missing; copy the whole "
                "checkpoint there"
            ]
        if not hub.offline() and hub.reachable():
            return []
        state = f"lack {self._lacking(found)}" if found else "are not"
        todo = hub.instruction(self.path, self.revision, self.licence_url)
        return [f"weights of {self.path} {state} in the local Hugging Face cache: {todo}"]


def _weights(folder: Path, gguf_file: str | None) -> list[Path]:
    """Weight files that transformers will read, in its own order of preference."""
    if gguf_file is not None:
        return [folder / gguf_file]
    for whole, index in zip(_WHOLE, _INDEX, strict=True):
        if (folder / whole).is_file():
            return [folder / whole]
        if (folder / index).is_file():
            shards = _json(folder / index).get("weight_map", {}).values()
            return [folder / name for name in sorted(set(shards))]
    return []


def _json(file: Path) -> dict[str, Any]:
    try:
        loaded: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{file}: not JSON ({one_line(error)}); fetch it again") from error
    return loaded
