"""`python -m lalm_bench.judges check VERDICTS REFERENCE`: how far a judge is to be trusted."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lalm_bench.errors import DataError, exit_code

_ABOUT = """
VERDICTS   folder of a judged run (RUN/judge/RUBRIC), a CSV, or SAKURA's result file (.json)
REFERENCE  the same, by people or published: a CSV has `id`, where items were asked several times
           also `variant` or `prompt`, and one column a field; several raters: rating[anna], ...

  coverage   share of the answers that both have which the judge gave a number for
  accuracy   share of equal numbers among those, with a 95 % bootstrap interval over clusters; a
             panel's mean counts as the nearest level
  kappa      Cohen's; with quadratic weights where numbers are ordered
  lenient    mean of judge minus reference, 95 %
  length     Spearman correlation of judge minus reference with the answer's length in words
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a verb: 0 done, 2 bad input (one line says what), 130 stopped."""
    parser = _parser()
    args = parser.parse_args(argv)
    if args.verb is None:
        parser.print_help()
        return 0
    return exit_code(lambda: _check(args), "nothing was changed")


def _check(args: argparse.Namespace) -> int:
    import orjson

    from lalm_bench.judges.check import check, flat
    from lalm_bench.judges.rated import read

    report: dict[str, Any] = check(read(args.verdicts), read(args.reference))
    show(report)
    if args.json:
        _write(args.json, orjson.dumps(report, option=orjson.OPT_INDENT_2) + b"\n")
    if args.csv:
        _write(args.csv, flat(report).encode())
    return 0


def _write(path: Path, content: bytes) -> None:
    from lalm_bench.store import write_bytes

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, content)
    except OSError as error:
        raise DataError(
            f"{path}: cannot be written ({error.strerror}); choose another place"
        ) from error


def show(report: dict[str, Any]) -> None:
    """Print the comparison for people."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(width=None if sys.stdout.isatty() else 120)

    def table(title: str, titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        drawn = Table(title=Text(title), title_justify="left")
        for place, name in enumerate(titles):
            drawn.add_column(Text(name), justify="right" if place else "left")
        for row in rows:
            # As Text, because rich would read `rating[x]` as markup.
            drawn.add_row(*[Text(cell) for cell in row])
        console.print(drawn)

    rows = report["comparisons"]
    title = f"{report['matched']} of {report['reference']} rated answers were judged"
    titles = ["judge", "field", "n", "coverage", "malformed", "accuracy, 95 %", "kappa"]
    table(title, [*titles, "lenient, 95 %", "length"], [_cells(row) for row in rows])
    last = rows[-1]["judge"] if rows else None  # the panel, or the only judge
    for row in rows:
        if row["judge"] != last:
            continue
        name = f"{row['field']}, {row['judge']}"
        if row["confusion"]:
            first = [*row["confusion"][0]]
            cells = [[str(cell) for cell in line.values()] for line in row["confusion"]]
            table(f"{name}: reference down, judge across", first, cells)
        for by, key in (("length", "words"), ("position", "value"), ("variant", "value")):
            parts = row[f"by_{by}"]
            if parts:
                cells = [
                    [str(p[key]), str(p["n"]), *[_number(p[k]) for k in ("accuracy", "difference")]]
                    for p in parts
                ]
                heading = "words" if by == "length" else by
                table(f"{name}: by {by}", [heading, "n", "accuracy", "lenient"], cells)
    if report["not_compared"]:
        print(f"columns that are no field of the verdicts: {', '.join(report['not_compared'])}")
    if report["unmatched"]:
        more = report["reference"] - report["matched"]
        shown = ", ".join(report["unmatched"][:3]) + (" ..." if more > 3 else "")
        print(f"without a judged answer: {more} ({shown})")


def _cells(row: dict[str, Any]) -> list[str]:
    return [
        row["judge"],
        row["field"],
        str(row["n"]),
        _number(row["coverage"]),
        str(row["malformed"]),
        _interval(row, "accuracy"),
        _number(row["kappa"]),
        _interval(row, "difference"),
        _number(row["length_spearman"]),
    ]


def _number(value: float | None) -> str:
    from lalm_bench.report.table import number

    return number(value, 3)


def _interval(row: dict[str, Any], name: str) -> str:
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    shown = _number(row[name])
    return shown if low is None else f"{shown} [{_number(low)}, {_number(high)}]"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lalm_bench.judges", description="How far a judge is to be trusted."
    )
    add = parser.add_subparsers(dest="verb", metavar="VERB").add_parser
    verb = add(
        "check",
        help="compare verdicts with those of people, or with published ones",
        epilog=_ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verb.add_argument("verdicts", type=Path, metavar="VERDICTS")
    verb.add_argument("reference", type=Path, metavar="REFERENCE")
    verb.add_argument("--json", type=Path, metavar="FILE", help="write everything there")
    verb.add_argument("--csv", type=Path, metavar="FILE", help="write the first table there")
    return parser


if __name__ == "__main__":
    sys.exit(main())
