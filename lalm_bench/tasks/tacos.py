"""Fetch TACOS: 12,358 Freesound recordings with 47,748 temporally aligned captions.

"TACOS: Temporally-aligned Audio CaptiOnS" (Primus, Schmid, Widmer; arXiv 2505.07609), Zenodo
record 15379789, DOI 10.5281/zenodo.15379789.

Run `python -m lalm_bench.tasks.tacos ROOT`. The transfer is our own because pooch starts a
download over after every break, and the recordings are 1.6 GB.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path, PurePosixPath
from zipfile import BadZipFile, ZipFile, ZipInfo

from lalm_bench.errors import BenchError, DataError, one_line

URL = "https://zenodo.org/api/records/15379789/files/{name}/content"
LICENCE = (
    "TACOS (doi:10.5281/zenodo.15379789): the captions are CC BY 4.0; every recording has its own "
    "Freesound licence, listed with its creator in metadata.csv. Do not pass the audio on unread."
)
_BLOCK = 1 << 20
_TIMEOUT_S = 60

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class File:
    """A file of the record: its size in bytes and its MD5."""

    name: str
    size: int
    md5: str


ARCHIVE = "audio.zip"
# The large one comes last: whatever is wrong shows before it.
FILES = (
    File("annotations_strong.csv", 4_109_451, "882d5a5a28f59441f4c7b4ed17ebab05"),
    File("annotations_weak.csv", 1_318_097, "1445727f4d470273a7395ddcb9e34b93"),
    File("development_split.csv", 112_843, "bee28197d13e859dbc36021c2a928f07"),
    File("test_split.csv", 21_794, "16f5b5eab84753a571e9944739508854"),
    File("metadata.csv", 8_134_917, "17e8df44f2d217dc7cf4b75767ee5ab3"),
    File(ARCHIVE, 1_629_958_981, "a1b11ed7a88d6b95109decb577c128fd"),
)


def fetch(file: File, root: Path, url: str = URL) -> bool:
    """Bring one file into `root`, continuing what an earlier call left in `NAME.part`.

    Parameters
    ----------
    file : File
    root : pathlib.Path
    url : str
        Address with `{name}`, or a folder to which the name is added.

    Returns
    -------
    bool
        False when the right file was there already.

    Raises
    ------
    DataError
        No connection, no room, wrong content, or another file in its place (left untouched).
    """
    target, part = root / file.name, root / f"{file.name}.part"
    if target.exists():
        if target.stat().st_size == file.size and _md5(target) == file.md5:
            return False
        raise DataError(
            f"{target}: differs from the published file (size or MD5); "
            "move it away and run again, it will not be overwritten"
        )
    _make(root)
    have = _size(part)
    with _progress(file.name, file.size) as advance:
        # Whoever breaks off is asked for the rest, for as long as each try brings something.
        while have < file.size:
            before = have
            fault = _transfer(_address(url, file.name), part, have, file.size, advance)
            have = _size(part)
            if have <= before:
                raise DataError(
                    f"{file.name}: {fault}; {have} of {file.size} bytes are kept in {part}, "
                    "run again to resume, or name a mirror with --base-url"
                )
    if have != file.size or _md5(part) != file.md5:
        part.unlink()
        raise DataError(
            f"{file.name}: wrong size or MD5, so the transfer was damaged or the source has other "
            f"data; {part} was thrown away, run again"
        )
    os.replace(part, target)
    return True


def extract(archive: Path, folder: Path) -> tuple[int, int]:
    """Unpack a zip of recordings; what is there already stays.

    Returns
    -------
    tuple of int
        Files written and files that were there with the right size.

    Raises
    ------
    DataError
        A member would land outside `folder` (nothing is written then), the archive is damaged,
        there is no room, or files of another size are in the way (left untouched).
    """
    written, present, other = 0, 0, []
    try:
        with ZipFile(archive) as source:
            members = [(m, folder / _inside(m, archive)) for m in source.infolist()]
            files = [(member, path) for member, path in members if not member.is_dir()]
            with _progress("extract", len(files), unit="files") as advance:
                for done, (member, path) in enumerate(files, 1):
                    if not path.exists():
                        _unpack(source, member, path)
                        written += 1
                    elif path.stat().st_size == member.file_size:
                        present += 1
                    else:
                        other.append(path)
                    advance(done)
    except (BadZipFile, zlib.error, EOFError) as error:
        raise DataError(
            f"{archive}: damaged archive ({error}); move it away and fetch it again"
        ) from error
    except OSError as error:
        raise _unwritable(folder, error) from error
    if other:
        raise DataError(
            f"{other[0]}: differs in size from the archive's file, like {len(other) - 1} others; "
            "move them away and run again, they will not be overwritten"
        )
    return written, present


def main(argv: Sequence[str] | None = None) -> int:
    """Fetch and unpack; 2 when network, disk or data are at fault, 130 when stopped."""
    parser = argparse.ArgumentParser(
        prog="python -m lalm_bench.tasks.tacos",
        description="Fetch the TACOS recordings and captions (1.6 GB, and as much again unpacked).",
    )
    parser.add_argument("root", type=Path, help="folder to fill")
    parser.add_argument("--skip-audio", action="store_true", help="captions and tables only")
    parser.add_argument("--base-url", default=URL, help="a mirror: folder, or address with {name}")
    args = parser.parse_args(argv)
    print(LICENCE)
    try:
        for file in FILES:
            if file.name == ARCHIVE and args.skip_audio:
                continue
            fresh = fetch(file, args.root, args.base_url)
            print(f"{args.root / file.name}: {'fetched' if fresh else 'already there'}, MD5 right")
        if not args.skip_audio:
            written, present = extract(args.root / ARCHIVE, args.root / "audio")
            print(f"{args.root / 'audio'}: {written} recordings unpacked, {present} already there")
    except BenchError as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; run again to resume", file=sys.stderr)
        return 130
    return 0


class _BrokenTransferError(Exception):
    """The connection failed; apart from OSError, which also says that the disk is full."""


def _transfer(url: str, part: Path, have: int, size: int, advance: Progress) -> str:
    """Append the rest of `url` to `part`, and say why it ended."""
    try:
        with _open(url, have) as response:
            resumed = response.status == 206
            _check(response, have if resumed else 0, size)
            # A server that ignores Range sends everything: begin anew.
            done = have if resumed else 0
            with open(part, "ab" if resumed else "wb") as file:
                while done <= size and (block := _read(response)):
                    file.write(block)
                    done += len(block)
                    advance(done)
    except _BrokenTransferError as error:
        return str(error)
    except OSError as error:
        raise _unwritable(part, error) from error
    return f"the transfer ended at byte {done}"


def _open(url: str, start: int) -> HTTPResponse:
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen

    headers = {"User-Agent": "lalm_bench"} | ({"Range": f"bytes={start}-"} if start else {})
    try:
        request = Request(url, headers=headers)  # noqa: S310 (the scheme is checked by _address)
        response: HTTPResponse = urlopen(request, timeout=_TIMEOUT_S)  # noqa: S310
    except HTTPError as error:
        error.close()
        raise _BrokenTransferError(f"{url} answers {error.code} {error.reason}") from error
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise _BrokenTransferError(f"cannot reach {url} ({reason})") from error
    return response


def _read(response: HTTPResponse) -> bytes:
    try:
        # What has arrived, and not a full block: nothing received is lost when the connection dies.
        return response.read1(_BLOCK)
    except (OSError, HTTPException) as error:
        raise _BrokenTransferError(f"the connection broke ({error})") from error


def _check(response: HTTPResponse, start: int, size: int) -> None:
    """Refuse what cannot be the file, such as a login page, before it spoils the `.part`."""
    span = response.headers.get("Content-Range") or ""
    if response.status == 206 and not span.startswith(f"bytes {start}-"):
        raise _BrokenTransferError(f"the server sent {span or 'no range'} instead of byte {start}")
    length = response.headers.get("Content-Length")
    if length is not None and length != str(size - start):
        raise _BrokenTransferError(f"the server offers {length} bytes instead of {size - start}")


def _address(url: str, name: str) -> str:
    if not url.startswith(("https://", "http://")):
        raise DataError(f"{url}: not a web address; --base-url begins with https:// or http://")
    return url.replace("{name}", name) if "{name}" in url else f"{url.rstrip('/')}/{name}"


def _inside(member: ZipInfo, archive: Path) -> PurePosixPath:
    path = PurePosixPath(member.filename)
    if path.is_absolute() or ".." in path.parts or "\\" in member.filename:
        raise DataError(
            f"{archive}: member {member.filename!r} would land outside the folder; "
            "do not trust this archive, fetch it again"
        )
    # Recordings lie directly in the audio folder, whether or not the archive wraps them in one.
    return path.relative_to("audio") if path.parts[:1] == ("audio",) else path


def _unpack(source: ZipFile, member: ZipInfo, path: Path) -> None:
    """Write one member; a kill leaves a `.part` and never half a recording."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    with source.open(member) as packed, open(part, "wb") as file:
        shutil.copyfileobj(packed, file, _BLOCK)
    os.replace(part, path)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _md5(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            # The record publishes nothing else; it guards against damage, not against malice.
            digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); move it away") from error
    return digest.hexdigest()


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error) from error


def _unwritable(path: Path, error: OSError) -> DataError:
    return DataError(
        f"{error.filename or path}: {error.strerror}; make room or choose another folder, "
        "then run again to resume"
    )


@contextmanager
def _progress(name: str, total: int, unit: str = "bytes") -> Iterator[Progress]:
    """A bar on standard error; yields a function of the amount done so far."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )
    from rich.progress import Progress as Bar

    amount = (
        (DownloadColumn(), TransferSpeedColumn()) if unit == "bytes" else (MofNCompleteColumn(),)
    )
    columns = (TextColumn("{task.description}"), BarColumn(), *amount, TimeRemainingColumn())
    console = Console(stderr=True)
    # A log file has no use for a bar.
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(name, total=total)
        yield lambda done: bar.update(task, completed=done)


if __name__ == "__main__":
    sys.exit(main())
