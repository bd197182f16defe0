"""`fetch`: data sets by name, at a fixed revision, licence first."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from lalm_bench.errors import ConfigError, DataError, one_line
from lalm_bench.store import write_json

if TYPE_CHECKING:
    from huggingface_hub.hf_api import DatasetInfo

RECORD = "fetched.json"
_BLOCK = 1 << 20
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EROFS)


@dataclass(frozen=True, slots=True)
class HubSource:
    """A data set on the Hugging Face hub and what must be known before using it."""

    repo: str
    licence: str


HUB = {
    "audiomarathon": HubSource(
        "Hezep/AudioMarathon",
        "AudioMarathon joins ten data sets that keep their own licences; VoxCeleb, VESUS and TAU "
        "are restricted to research. Its files were not seen when this was written: set task.root "
        "(and task.table, task.audio_root) to where they turn out to lie.",
    ),
}
TACOS = "tacos"


def source(name: str) -> HubSource:
    """The source called `name`, or a hub repository `owner/name` that we know nothing of."""
    if name in HUB:
        return HUB[name]
    if "/" in name:
        return HubSource(name, "see the licence on its card")
    known = ", ".join(sorted([TACOS, *HUB]))
    raise ConfigError(f"no data set called '{name}'; there are {known}, or a hub id OWNER/NAME")


@dataclass(frozen=True)
class Offer:
    """What the hub has: the commit, its files and its licence."""

    repo: str
    commit: str
    licence: str
    patterns: list[str] | None
    sizes: dict[str, int]
    sha256: dict[str, str]

    @property
    def bytes(self) -> int:
        """Of all files together."""
        return sum(self.sizes.values())


def look_up(repo: str, revision: str | None, patterns: Sequence[str] | None = None) -> Offer:
    """What `repo` holds at `revision`; only files that match one of `patterns`, where given.

    Raises
    ------
    DataError
        Not reachable, not there, or gated; says what to do.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.utils._paths import filter_repo_objects

    with _hub_errors(repo):
        info: DatasetInfo = HfApi().dataset_info(repo, revision=revision, files_metadata=True)
    wanted = list(patterns) if patterns else None
    listed = list(info.siblings or [])
    kept = list(filter_repo_objects(listed, allow_patterns=wanted, key=lambda s: s.rfilename))
    if not kept:
        raise DataError(
            f"{repo}: no file matches {', '.join(wanted)}; mend --include"
            if wanted
            else f"{repo}: holds no files; mend the name"
        )
    for file in kept:
        path = PurePosixPath(file.rfilename)
        if path.is_absolute() or ".." in path.parts or "\\" in file.rfilename:
            raise DataError(
                f"{repo}: {file.rfilename!r} would land outside the folder; do not trust this data"
            )
    card = info.card_data
    licence = (card.get("license") if card is not None else None) or "not stated on the card"
    return Offer(
        repo,
        str(info.sha),
        licence if isinstance(licence, str) else ", ".join(str(one) for one in licence),
        wanted,
        {s.rfilename: int(s.size or 0) for s in kept},
        {s.rfilename: s.lfs.sha256 for s in kept if s.lfs},
    )


def download(offer: Offer, folder: Path) -> int:
    """Bring the files into `folder`, continuing an earlier start, and check each.

    Returns
    -------
    int
        Files that are there and right.

    Raises
    ------
    DataError
        No room, the transfer failed (what came is kept), or a file is not what the hub lists.
    """
    from huggingface_hub import snapshot_download

    _demand_room(offer, folder)
    with _hub_errors(offer.repo):
        snapshot_download(
            offer.repo,
            repo_type="dataset",
            revision=offer.commit,
            local_dir=folder,
            allow_patterns=offer.patterns,
        )
    for name, size in offer.sizes.items():
        _verify(folder / name, size, offer.sha256.get(name))
    write_json(
        folder / RECORD,
        {
            "repo": offer.repo,
            "revision": offer.commit,
            "licence": offer.licence,
            "files": len(offer.sizes),
            "bytes": offer.bytes,
        },
    )
    return len(offer.sizes)


def _demand_room(offer: Offer, folder: Path) -> None:
    there = sum((folder / name).stat().st_size for name in offer.sizes if (folder / name).is_file())
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise DataError(f"{folder}: {error.strerror}; choose another folder") from error
    if offer.bytes - there > free:
        raise DataError(
            f"{folder}: {offer.bytes - there:,} bytes are wanted and {free:,} are free; make room, "
            "choose another folder, or take a part with --include"
        )


def _verify(path: Path, size: int, sha256: str | None) -> None:
    remedy = "delete it and run again"
    if not path.is_file() or path.stat().st_size != size:
        raise DataError(f"{path}: not the {size} bytes that the hub lists; {remedy}")
    if sha256 is None:
        return
    hasher = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        while block := file.read(_BLOCK):
            hasher.update(block)
    if hasher.hexdigest() != sha256:
        raise DataError(f"{path}: its SHA-256 is not the one that the hub lists; {remedy}")


class _hub_errors:  # noqa: N801 - used like a function
    """The hub's exceptions as one line each that says what to do."""

    def __init__(self, repo: str) -> None:
        self.repo = repo

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        from huggingface_hub.errors import (
            EntryNotFoundError,
            GatedRepoError,
            HfHubHTTPError,
            HFValidationError,
            LocalEntryNotFoundError,
            OfflineModeIsEnabled,
            RepositoryNotFoundError,
            RevisionNotFoundError,
        )

        repo = self.repo
        if error is None or not isinstance(error, Exception):
            return
        if isinstance(error, OfflineModeIsEnabled) or os.environ.get("HF_HUB_OFFLINE") == "1":
            raise DataError(f"{repo}: HF_HUB_OFFLINE is set; unset it to fetch") from error
        if isinstance(error, GatedRepoError):
            raise DataError(
                f"{repo} is gated: accept its terms on its page on the hub and set HF_TOKEN"
            ) from error
        if isinstance(error, RevisionNotFoundError):
            raise DataError(f"{repo}: no such revision; mend --revision") from error
        if isinstance(error, RepositoryNotFoundError):
            raise DataError(
                f"{repo}: not on the hub, or private: mend the name, or set HF_TOKEN"
            ) from error
        if isinstance(error, HFValidationError):
            raise DataError(f"{repo}: no name of a data set; write OWNER/NAME") from error
        if isinstance(error, OSError) and error.errno in _DISK:
            raise DataError(
                f"{error.filename or repo}: cannot be written ({error.strerror}); make room or "
                "choose another folder, then run again to resume"
            ) from error
        # The client's transport is httpx or a fork of it, and lets its exceptions through.
        transport = type(error).__module__.startswith(("httpx", "requests"))
        known = (EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError)
        if transport or isinstance(error, known):
            raise DataError(
                f"{repo}: the transfer failed ({one_line(error)}); run again to resume"
            ) from error
