"""The report as one file, for where a folder cannot be opened: MLflow's artifact view, a mail.

MLflow shows an HTML artifact in a frame of its own, which runs scripts and can load nothing beside
the file. So page, data, pictures and clips are put into it, as blocks that the page's own scripts
look into before they ask for a file.
"""

from __future__ import annotations

import base64
import hashlib
import mimetypes
import re
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import orjson

# Bytes of samples and of their clips that go into the file; a browser holds all of it as text.
ROOM = 24_000_000
_POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')
_STYLE = re.compile(r'<link rel="stylesheet" href="([\w.]+)">')
_SCRIPT = re.compile(r'<script src="([\w.]+)"></script>\n?')


def pieces(index: Mapping[str, Any], folder: Path, room: int = ROOM) -> Iterator[bytes]:
    """The page with all that it loads, as far as there is room, a piece at a time.

    Parameters
    ----------
    index : mapping
        What `data/index.js` hands to the viewer.
    folder : Path
        Where the files of the report lie.
    room : int
        Bytes for samples and clips. Runs whose samples find none are in the overview alone; a note
        on the page names them.
    """
    listed, left_out, kept, silent = [], [], [], 0
    for run in index["runs"]:
        data = _data(folder, run["key"])
        size = sum(file.stat().st_size for file in data)
        if size > room:
            left_out.append(str(run["name"]))
            continue
        room -= size
        kept += data
        listed.append(run)
    clips = [file for name in ("clips", "attention") for file in _below(folder, name)]
    for file in clips:
        # What found no room leaves none to those behind it: a clip goes with its pictures.
        room -= 4 * file.stat().st_size // 3
        if room >= 0:
            kept.append(file)
        else:
            silent += 1
    notes = [*index["notes"], *_notes(left_out, silent)]
    kept += [file for name in ("figures", "tables") for file in _below(folder, name)]
    page = (folder / "index.html").read_text(encoding="utf-8")
    scripts = [(folder / name).read_text(encoding="utf-8") for name in _SCRIPT.findall(page)]
    style = "".join((folder / name).read_text(encoding="utf-8") for name in _STYLE.findall(page))
    page = _POLICY.sub(lambda _: _policy(style, scripts), page)
    page = _STYLE.sub(lambda _: f"<style>{style}</style>", page)
    page = page.replace("<html ", '<html data-alone="" ', 1)
    head, tail = _SCRIPT.sub("", page).split("</body>")
    yield head.encode()
    # No text in a block can end it: data is written without this character, here and in `data/`.
    found = orjson.dumps({**index, "notes": notes, "listed": listed}).replace(b"<", b"\\u003c")
    yield from _block("data:index", "application/json", found)
    for file in kept:
        yield from _inside(folder, file)
    for script in scripts:
        yield f"<script>{script}</script>\n".encode()
    yield f"</body>{tail}".encode()


def _notes(left_out: Sequence[str], silent: int) -> Iterator[str]:
    if left_out:
        yield (
            "This file has no room for the samples of "
            f"{', '.join(left_out)}: index.html of the report's folder has them."
        )
    if silent:
        yield f"This file has no room for {silent} clips and pictures; the folder has them."


def _policy(style: str, scripts: Sequence[str]) -> str:
    """Nothing runs but the page's own scripts, by their digests, and nothing is loaded."""
    sources = " ".join(map(_digest, scripts))
    return (
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        f"script-src {sources}; style-src {_digest(style)}; img-src data:; media-src data:; "
        "base-uri 'none'; form-action 'none'\">"
    )


def _digest(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _below(folder: Path, name: str) -> list[Path]:
    """Files that the page shows: of a figure its PNG, which is smaller than its SVG."""
    found = sorted(path for path in (folder / name).rglob("*") if path.is_file())
    return [path for path in found if path.suffix != ".svg"]


def _data(folder: Path, key: str) -> list[Path]:
    """The columns and chunks of a run."""
    return [folder / "data" / f"{key}.js", *sorted((folder / "data").glob(f"{key}-*.js"))]


def _inside(folder: Path, file: Path) -> Iterator[bytes]:
    """A file as a block: what a data script hands to the page, or a data URL."""
    if file.parent == folder / "data":
        head, tail = f'LB.put("{file.stem}",', ");\n"
        data = file.read_bytes()[len(head.encode()) : -len(tail)]
        yield from _block(f"data:{file.stem}", "application/json", data)
        return
    kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    name = f"file:{file.relative_to(folder).as_posix()}"
    data = base64.b64encode(file.read_bytes())
    yield from _block(name, "text/plain", f"data:{kind};base64,".encode() + data)


def _block(name: str, kind: str, data: bytes) -> Iterator[bytes]:
    """What a browser neither shows nor runs."""
    yield f'<script type="{kind}" id="{escape(name)}">'.encode()
    yield data
    yield b"</script>\n"
