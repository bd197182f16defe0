"""The overview as one file without scripts, for where a folder cannot be opened.

MLflow's page shows an HTML artifact alone, without the files beside it; a mail takes one file.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_STYLE = """
:root { color-scheme: light dark; font: 15px/1.45 system-ui, sans-serif; }
body { max-width: 78rem; margin: 1rem auto; padding: 0 1rem; background: #fff; color: #1b1f24; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: .9rem; }
th, td { text-align: left; padding: .28rem .55rem; border-bottom: 1px solid #d8dce2; }
.num { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
img { max-width: 100%; max-height: 26rem; background: #fff; }
p { color: #5a626c; font-size: .87rem; }
@media (prefers-color-scheme: dark) {
  body { background: #14171b; color: #e7eaee; }
  p { color: #a3acb8; }
  th, td { border-color: #343b44; }
}
"""


def render(index: Mapping[str, Any], folder: Path) -> str:
    """The page.

    Parameters
    ----------
    index : mapping
        What `data/index.js` hands to the viewer.
    folder : Path
        Where its figures lie.
    """
    body = "\n".join(_body(index, folder))
    title = escape(str(index["title"]))
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{_STYLE}</style></head><body>\n"
        f"<h1>{title}</h1>\n{body}\n</body></html>\n"
    )


def _body(index: Mapping[str, Any], folder: Path) -> Iterator[str]:
    made = str(index["made"])[:16].replace("T", " ")
    yield f"<p>Made {made} UTC. index.html, beside this file, has the samples.</p>"
    if index["notes"]:
        yield f"<ul>{''.join(f'<li>{escape(note)}</li>' for note in index['notes'])}</ul>"
    for section in index["sections"]:
        opened = "" if section.get("fold") else " open"
        yield f"<details{opened}><summary><b>{escape(section['title'])}</b></summary>"
        if section.get("note"):
            yield f"<p>{escape(section['note'])}</p>"
        for table in section.get("tables", ()):
            yield from _table(table)
        for figure in section.get("figures", ()):
            data = base64.b64encode((folder / figure["png"]).read_bytes()).decode()
            yield f'<img alt="{escape(figure["title"])}" src="data:image/png;base64,{data}">'
        yield "</details>"


def _table(table: Mapping[str, Any]) -> Iterator[str]:
    numeric = table["numeric"]
    yield f"<h3>{escape(table['title'])}</h3><div class=scroll><table>"
    yield f"<thead>{_row('th', table['columns'], numeric)}</thead><tbody>"
    for row in table["rows"]:
        yield _row("td", row, numeric)
    yield f"</tbody></table></div><p>{escape(table['note'])}</p>"


def _row(tag: str, cells: Iterable[str], numeric: Iterable[bool]) -> str:
    shown = [
        f"<{tag}{' class=num' if right else ''}>{escape(cell)}</{tag}>"
        for cell, right in zip(cells, numeric, strict=True)
    ]
    return f"<tr>{''.join(shown)}</tr>"
