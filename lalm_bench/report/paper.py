"""A table of results for people: on the page, and as Markdown, LaTeX and CSV for papers."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lalm_bench.store import write_bytes

_NUMBER = re.compile(r"[-+−]?\d.*|-|")
_SPECIAL = {
    **{c: f"\\{c}" for c in "&%$#_{}"},
    **{"\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}"},
    **{"<": "\\textless{}", ">": "\\textgreater{}", "|": "\\textbar{}", '"': "''"},
    **{
        "→": "$\\rightarrow$",
        "·": "\\textperiodcentered{}",
        "–": "--",
        "−": "$-$",
        "×": "$\\times$",
    },
    **{"≥": "$\\geq$", "≤": "$\\leq$", "Δ": "$\\Delta$", "…": "\\ldots{}", "\n": " "},
}
_MINUS = re.compile(r"(?<![\w.])-(?=\d)")


@dataclass(frozen=True)
class Table:
    """Cells as they are shown.

    Parameters
    ----------
    name : str
        Stem of its files.
    title : str
    columns : sequence of str
    rows : sequence of (sequence of str)
    note : str
        What a reader must know.
    runs : sequence of (str or None)
        Key of the run that each row is about.
    data : sequence of mapping
        The same in full precision, for CSV; the cells themselves where there is none.
    """

    name: str
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""
    runs: Sequence[str | None] = ()
    data: Sequence[Mapping[str, Any]] = field(default=())

    def numeric(self) -> list[bool]:
        """Which columns hold numbers, and stand right."""
        return [
            place > 0 and all(_NUMBER.fullmatch(row[place]) for row in self.rows)
            for place in range(len(self.columns))
        ]

    def write(self, folder: Path) -> dict[str, str]:
        """Write `<name>.{md,tex,csv}` below `folder`; kind -> file name."""
        written = {}
        for kind, text in (("md", self.markdown()), ("tex", self.latex()), ("csv", self.csv())):
            write_bytes(folder / f"{self.name}.{kind}", text.encode())
            written[kind] = f"{self.name}.{kind}"
        return written

    def markdown(self) -> str:
        """A pipe table below its title."""
        marks = ["---:" if right else "---" for right in self.numeric()]
        lines = [f"### {_plain(self.title)}", "", _piped(self.columns), _piped(marks)]
        lines += [_piped(row) for row in self.rows]
        return "\n".join([*lines, *(["", _plain(self.note)] if self.note else [])]) + "\n"

    def latex(self) -> str:
        """A `booktabs` table; text is escaped, so that names of models cannot break it."""
        sides = "".join("r" if right else "l" for right in self.numeric())
        note = f" {escape(self.note)}" if self.note else ""
        lines = [
            "% needs \\usepackage{booktabs}",
            "\\begin{table}[t]",
            "  \\centering",
            f"  \\caption{{{escape(self.title)}.{note}}}",
            f"  \\label{{tab:{re.sub(r'[^A-Za-z0-9]+', '-', self.name)}}}",
            f"  \\begin{{tabular}}{{{sides}}}",
            "    \\toprule",
            f"    {_row(self.columns)}",
            "    \\midrule",
            *[f"    {_row(row)}" for row in self.rows],
            "    \\bottomrule",
            "  \\end{tabular}",
            "\\end{table}",
        ]
        return "\n".join(lines) + "\n"

    def csv(self) -> str:
        """Full precision where it is known; empty where there is no value."""
        out = io.StringIO()
        if self.data:
            names = list(dict.fromkeys(name for row in self.data for name in row))
            rows = [["" if row.get(n) is None else row[n] for n in names] for row in self.data]
        else:
            names, rows = list(self.columns), [list(row) for row in self.rows]
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(names)
        writer.writerows([[_unformulated(cell) for cell in row] for row in rows])
        return out.getvalue()

    def json(self, files: Mapping[str, str]) -> dict[str, Any]:
        """For the page."""
        return {
            "title": self.title,
            "columns": list(self.columns),
            "rows": [list(row) for row in self.rows],
            "numeric": self.numeric(),
            "note": self.note,
            "runs": list(self.runs),
            "files": {
                {"md": "Markdown", "tex": "LaTeX", "csv": "CSV"}[kind]: f"tables/{name}"
                for kind, name in files.items()
            },
        }


def escape(text: str) -> str:
    r"""Text that LaTeX prints as it is.

    Examples
    --------
    >>> print(escape("mask_ratio=0.5 & 20 %"))
    mask\_ratio=0.5 \& 20 \%
    """
    return "".join(_SPECIAL.get(c, c) for c in _MINUS.sub("−", text))


def file_name(text: str) -> str:
    """A stem of letters, digits, `_`, `-` and `.` alone."""
    kept = "".join(c if (c.isascii() and c.isalnum()) or c in "_-." else "_" for c in text)
    return kept.strip("._")[:100] or "table"


def _row(cells: Sequence[str]) -> str:
    # In braces, so that a cell that begins with a bracket is no option of the line break before it.
    shown = [escape(cell) for cell in cells]
    return " & ".join(f"{{{c}}}" if c.startswith("[") else c for c in shown) + " \\\\"


def _piped(cells: Sequence[str]) -> str:
    return "| " + " | ".join(_plain(cell) for cell in cells) + " |"


def _plain(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")


def _unformulated(cell: Any) -> Any:
    """A text that a spreadsheet will not take for a formula."""
    if isinstance(cell, str) and cell[:1] in ("=", "@", "+") and not _NUMBER.fullmatch(cell):
        return "'" + cell
    return cell
