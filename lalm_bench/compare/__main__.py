"""`python -m lalm_bench.compare BASELINE RUN...`: paired results of finished runs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from lalm_bench.errors import DataError, exit_code

_ABOUT = """
A run is its folder, its fingerprint, or the fingerprint's first digits. All runs answered the same
items, asked in the same way by the same model: they may differ in intervention and pruning, and in
what --across names.

  delta    run minus baseline on the same items, in points (hundredths), with a 95 % interval
           clustered by clip
  p Holm   exact sign-flip test by cluster (McNemar's where no clip is shared), corrected for
           all runs named
  same     share of answers equal to the baseline's, and of how many that are valid in both
  R>W W>R  items that were right and are wrong, and the other way; L>null: no longer an answer
  shows    smallest difference, in points, that this number of items shows with power 80 %
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Compare: 0 done, 2 bad input (one line says what), 130 stopped."""
    args = _parser().parse_args(argv)
    return exit_code(lambda: _compare(args), "nothing was changed")


def _compare(args: argparse.Namespace) -> int:
    if args.sweep:
        return _sweep(args)
    from lalm_bench import runs
    from lalm_bench.compare.family import adjust, compare
    from lalm_bench.compare.loaded import load
    from lalm_bench.compare.output import write
    from lalm_bench.compare.tables import show

    if not args.run:
        raise DataError("name the baseline and one run or more, or --sweep DIR (see --help)")
    found = [
        load(runs.find(name, args.outputs, runs.SCORED)) for name in (args.baseline, *args.run)
    ]
    if len({run.folder.resolve() for run in found}) < len(found):
        raise DataError("a run is named twice; name each once, the baseline first")
    family = compare(found[0], found[1:], across=args.across, metric=args.metric)
    adjust([family])
    show([family], args.groups, args.power)
    if args.out:
        files = write(args.out, [family], not args.no_figures)
        print(f"{len(files)} files: {args.out}")
    return 0


def _sweep(args: argparse.Namespace) -> int:
    from lalm_bench.compare.sweep import compare_sweep, publish

    if args.baseline or args.metric or args.across:
        raise DataError("--sweep finds baselines itself: leave out runs, --metric and --across")
    report = compare_sweep(args.sweep, args.outputs)
    folder = args.out or args.sweep
    publish(report, folder, groups=args.groups, power=args.power, figures=not args.no_figures)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lalm_bench.compare",
        description="Compare finished runs with a baseline on the same items.",
        epilog=_ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("baseline", metavar="BASELINE", nargs="?", help="the run to compare with")
    add("run", metavar="RUN", nargs="*", help="runs to compare")
    add("--metric", help="default: what the task shows first; a wrong name lists what there is")
    add(
        "--across",
        metavar="KEY",
        action="append",
        default=[],
        help="a setting that may differ, as model, generation, task.protocol (repeatable)",
    )
    add("--groups", action="store_true", help="tables by the task's groups and by label, too")
    add(
        "--power",
        metavar="POINTS",
        nargs="+",
        type=_points,
        default=[],
        help="how many items differences of so many points need",
    )
    add("--out", type=Path, metavar="DIR", help="write paired.json, .csv, .md and the curves")
    add("--no-figures", action="store_true", help="tables only")
    add("--sweep", type=Path, metavar="DIR", help="make the tables of multirun/<time> again")
    add("--outputs", type=Path, default=Path("outputs"), help="where runs lie (default: outputs)")
    return parser


def _points(text: str) -> float:
    value = float(text)
    if not 0 < value <= 100:
        raise argparse.ArgumentTypeError(f"{text} must lie between 0 and 100 points")
    return value


if __name__ == "__main__":
    sys.exit(main())
