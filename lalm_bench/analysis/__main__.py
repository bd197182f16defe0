"""`python -m lalm_bench.analysis VERB`: analyses of finished runs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from lalm_bench.errors import DataError, exit_code

_ABOUT = """
RUN is a run's folder, its fingerprint, or the fingerprint's first digits; SWEEP is multirun/<time>,
a study's folder, or a folder that holds runs. Results are a folder of Markdown, CSV, LaTeX and JSON
with a figure; --out DIR names it. Only `rubrics generate` asks a language model.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb: 0 done, 1 incomplete, 2 bad input (one line says what), 130 stopped."""
    parser = _parser()
    args, left = parser.parse_known_args(arguments)
    # argparse ends a list of words at the first option; settings may also follow one.
    if left and hasattr(args, "overrides") and not any(word.startswith("-") for word in left):
        args.overrides += left
    elif left:
        parser.error(f"unrecognized arguments: {' '.join(left)}")
    if args.work is None:
        (args.parser if hasattr(args, "parser") else parser).print_help()
        return 0
    return exit_code(lambda: _run(args), "the same command continues where it left off")


def _run(args: argparse.Namespace) -> int:
    from lalm_bench import cli  # noqa: F401 - resolvers that a run's settings may use

    code: int = args.work(args)
    return code


def _similarity(args: argparse.Namespace) -> int:
    from lalm_bench import runs
    from lalm_bench.analysis import similarity
    from lalm_bench.compare.loaded import load

    words = (args.original, *args.run)
    found = [load(runs.find(name, args.outputs, runs.SCORED)) for name in words]
    if len({run.folder.resolve() for run in found}) < len(found):
        raise DataError("a run is named twice; name each once, the original first")
    findings = similarity.compare(
        found[0], found[1:], args.encoder, across=args.across, most=args.most, seed=args.seed
    )
    findings.write(out := args.out or Path("analysis", findings.verb))
    return _told(out, findings.verb)


def _captions(args: argparse.Namespace) -> int:
    from lalm_bench import runs
    from lalm_bench.analysis import captions
    from lalm_bench.compare.loaded import load

    run = load(runs.find(args.run, args.outputs, runs.SCORED))
    findings = captions.analyse(run, args.encoder, by=args.by, far=args.far)
    findings.write(out := args.out or run.folder / "analysis" / findings.verb)
    return _told(out, findings.verb)


def _duration(args: argparse.Namespace) -> int:
    from lalm_bench.analysis import duration
    from lalm_bench.report import sources

    found = sources.find(args.what, args.outputs)
    for line in found.left_out:
        sys.stderr.write(f"note: {line}\n")
    studies = [Path(word) for word in args.what if (Path(word) / "timing").is_dir()]
    findings = duration.analyse(found.runs, args.edges, args.metric, studies)
    # A folder that was named, the run whose fingerprint was, or here.
    by_name = len(args.what) == 1 and not Path(args.what[0]).is_dir()
    home = found.runs[0].folder if by_name else found.home.parent
    findings.write(out := args.out or home / "analysis" / findings.verb)
    return _told(out, findings.verb)


def _generate(args: argparse.Namespace) -> int:
    from lalm_bench.analysis import writing

    return writing.generate(args.run, args.outputs, args.out, args.wording, args.overrides)


def _clean(args: argparse.Namespace) -> int:
    from lalm_bench.analysis import rubrics
    from lalm_bench.analysis.sifting import Rules

    out = args.out or args.folder / "clean"
    rules = Rules(args.near, args.least, args.most)
    rubrics.clean(args.folder, out, rules, args.run, args.outputs, args.dataset).write(out)
    return _told(out, "rubrics")


def _told(folder: Path, verb: str) -> int:
    sys.stdout.write(f"{folder / verb}.md\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lalm_bench.analysis",
        description="Analyses of finished runs.",
        epilog=_ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(work=None)
    verbs = parser.add_subparsers(metavar="VERB")

    verb = verbs.add_parser(
        "similarity",
        help="how far answers on changed audio are the answers on the original",
        description="Pair runs by item and measure how alike their answers are.",
    )
    add = verb.add_argument
    add("original", metavar="RUN_A", help="on the original audio")
    add("run", metavar="RUN_B", nargs="+", help="on changed audio")
    _encoder(verb)
    add(
        "--across",
        metavar="KEY",
        action="append",
        default=[],
        help="a setting that may differ, as model, generation, task.protocol (repeatable)",
    )
    add("--most", type=_count, default=20, metavar="N", help="most changed items on the page (20)")
    add("--seed", type=int, default=7, help="draws the other item of the floor")
    _common(verb, _similarity, "analysis/similarity")

    verb = verbs.add_parser(
        "captions",
        help="predictions against references, references among each other, outliers",
        description="How alike predictions and references are, of a run with reference captions.",
    )
    verb.add_argument("run", metavar="RUN")
    _encoder(verb)
    verb.add_argument(
        "--by",
        metavar="MEASURE",
        help="finds outliers (default: the encoder where one is given, else words)",
    )
    verb.add_argument(
        "--far",
        type=_positive,
        default=3.5,
        metavar="Z",
        help="how many robust standard deviations below the median an outlier lies (3.5)",
    )
    _common(verb, _captions, "RUN/analysis/captions")

    verb = verbs.add_parser(
        "duration",
        help="accuracy, time and memory by the length of the audio",
        description="One row a run and bucket of audio duration.",
    )
    add = verb.add_argument
    add("what", metavar="RUN|SWEEP", nargs="+")
    add(
        "--edges",
        type=_positive,
        nargs="+",
        metavar="S",
        help="rising bucket edges in seconds (10 30 60 90 120 180 300)",
    )
    add("--metric", help="default: accuracy where the run has it, else what the task shows first")
    _common(verb, _duration, "analysis/duration in what is named, or here")

    verb = verbs.add_parser("rubrics", help="have a model write criteria for each item; clean them")
    verb.set_defaults(parser=verb)
    steps = verb.add_subparsers(metavar="STEP")
    step = steps.add_parser(
        "generate",
        help="ask a model for criteria",
        description="Ask a language model for criteria of each item of a run, from its question "
        "and reference answer. A stopped command continues.",
        epilog="SETTING: as for judges: judge/panel=api judge.panel.judge.served_name=NAME "
        "judge.panel.judge.endpoint.base_url=URL, or judge/panel=local judge.panel.judge.path=DIR; "
        "judge.temperature, judge.seed, judge.max_new_tokens, runtime.*, progress.",
    )
    step.add_argument("run", metavar="RUN")
    step.add_argument("overrides", metavar="SETTING", nargs="*")
    step.add_argument("--wording", type=Path, metavar="FILE", help="a rubric YAML of your own")
    _common(step, _generate, "analysis/rubrics")
    step = steps.add_parser(
        "clean",
        help="drop what cannot be judged with, and write what judge=mmar_rubric reads",
        description="Parse what was generated, drop duplicates, leaks and what cannot be scored.",
    )
    add = step.add_argument
    add("folder", metavar="DIR", type=Path, help="of rubrics generate")
    add("--run", metavar="RUN", action="append", default=[], help="a run to judge (repeatable)")
    add("--dataset", type=Path, metavar="FILE", help="questions as MMAR's, to give the rubrics to")
    add("--near", type=_share, default=0.85, metavar="S", help="alike from here on (0.85)")
    add("--least", type=_count, default=2, metavar="N", help="fewest criteria of an item (2)")
    add("--most", type=_count, metavar="N", help="keep so many of the greatest weight (all)")
    _common(step, _clean, "DIR/clean")
    return parser


def _common(parser: argparse.ArgumentParser, work: object, home: str) -> None:
    add = parser.add_argument
    add("--out", type=Path, metavar="DIR", help=f"default: {home}")
    add("--outputs", type=Path, default=Path("outputs"), help="where runs lie (default: outputs)")
    parser.set_defaults(work=work)


def _encoder(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--encoder",
        metavar="DIR|NAME",
        help="a sentence encoder: a sentence-transformers folder, or its name in the local cache",
    )


def _count(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} must be a positive whole number")
    return int(text)


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} must be a number above 0")
    return value


def _share(text: str) -> float:
    value = _positive(text)
    if value > 1:
        raise argparse.ArgumentTypeError(f"{text} must not be above 1")
    return value


if __name__ == "__main__":
    sys.exit(main())
