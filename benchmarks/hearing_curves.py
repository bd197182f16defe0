r"""What masking and noise do to listeners that hear real recordings, and to a reader that does not.

    python benchmarks/hearing_curves.py --sakura DATA/sakura --yamnet YAMNET.onnx \
        --whisper WHISPER_FOLDER --gguf SMOLLM2.gguf [--runs FOLDER] [--figure STEM]

Every point is a run of its own below --runs; what is finished there is not asked again, and a
listener without weights is left out. Prints one JSON line and a table, and draws the figure.
`ratio=0` is the clip as it is, and stands at the left of both panels.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

RATIOS = (0.0, 0.2, 0.4, 0.6, 0.8, 0.9, 1.0)
SNRS_DB = (20, 10, 0, -10, -20)
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#767676"


@dataclass(frozen=True)
class Curve:
    """One listener on its track: how it is run, and how it is drawn."""

    name: str
    label: str
    colour: str
    overrides: tuple[str, ...]


@dataclass(frozen=True)
class Point:
    """One finished run."""

    level: float | None
    n: int
    accuracy: float
    low: float
    high: float
    chance: float
    invalid: float


def curves(args: argparse.Namespace) -> Iterator[Curve]:
    sakura = ("task=sakura", f"task.root={args.sakura}", "task.hop=single")
    if args.yamnet:
        words = (*sakura, "task.track=animal", "model=tagger", f"model.path={args.yamnet}")
        yield Curve("tagger", "YAMNet, SAKURA animal", BLUE, words)
    if args.whisper:
        words = (*sakura, "task.track=language", "model=language_id", f"model.path={args.whisper}")
        yield Curve("language_id", "Whisper base, SAKURA language", ORANGE, words)
    yield Curve(
        "signal",
        "signal listener, mcq_synthetic",
        GREEN,
        ("model=signal", "model.guesses=true"),
    )
    if args.gguf:
        weights = Path(args.gguf)
        words = (
            *(*sakura, "task.track=animal", "model=text", f"model.path={weights.parent}"),
            *(f"model.gguf_file={weights.name}", "model.dtype=float32"),
            "generation.mode=option_pmi",
        )
        yield Curve("text", "SmolLM2 135M (reads only), SAKURA animal", GREY, words)


def run(curve: Curve, runs: Path) -> None:
    """Every level of both interventions; a sweep that ends in an error ends the benchmark."""
    common = ("tracking=none", "figures=false", f"paths.outputs={runs / curve.name}")
    for sweep in (
        ("intervention=mask", f"intervention.ratio={','.join(map(str, RATIOS))}"),
        ("intervention=noise", f"intervention.snr_db={','.join(map(str, SNRS_DB))}"),
    ):
        words = [*curve.overrides, *sweep, *common, f"paths.multirun={runs / 'multirun'}"]
        done = subprocess.run(
            [sys.executable, "-m", "lalm_bench", "-m", *words],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        if done.returncode:
            sys.exit(f"{curve.name}: {done.stderr.strip()}")


def points(curve: Curve, runs: Path, intervention: str, setting: str) -> list[Point]:
    """The runs of one panel, by level; the newest where code or data gave several."""
    found: dict[float, tuple[str, Point]] = {}
    for file in (runs / curve.name).glob("*/*/*/*/run.json"):
        state = json.loads(file.read_bytes())
        node = state["config"]["intervention"]
        if node["name"] != intervention or state["status"] != "finished":
            continue
        values = json.loads((file.parent / "metrics.json").read_bytes())["metrics"]
        point = Point(
            float(node[setting]),
            values["n"],
            values["accuracy"],
            values["accuracy_wilson_low"],
            values["accuracy_wilson_high"],
            values["chance"],
            values["invalid_rate"],
        )
        level = float(node[setting])
        if level not in found or state["finished"] > found[level][0]:
            found[level] = (state["finished"], point)
    return [point for _, (_, point) in sorted(found.items())]


def draw(measured: list[tuple[Curve, list[Point], list[Point]]], stem: Path) -> None:
    """Accuracy over mask ratio and over SNR, 95 % Wilson intervals as bands, as SVG and PNG."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "lalm_bench"
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.6, 3.5), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    order = [None, *SNRS_DB]
    for curve, masked, noisy in measured:
        clean = [p for p in masked if p.level == 0]
        noisy = [*clean, *sorted(noisy, key=lambda p: -p.level)]
        places = [0, *[order.index(p.level) for p in noisy[1:]]]
        for axes, x, line in (
            (left, [p.level for p in masked], masked),
            (right, places, noisy),
        ):
            axes.plot(x, [p.accuracy for p in line], "o-", color=curve.colour, ms=3.5, lw=1.6)
            axes.fill_between(
                x,
                [p.low for p in line],
                [p.high for p in line],
                color=curve.colour,
                alpha=0.13,
                lw=0,
            )
    beyond = right.get_yaxis_transform()
    for chance in sorted({round(masked[0].chance, 4) for _, masked, _ in measured}):
        colours = [c.colour for c, masked, _ in measured if round(masked[0].chance, 4) == chance]
        for axes in (left, right):
            axes.axhline(chance, color=colours[0] if len(colours) == 1 else "black", lw=1, ls=":")
        place = {"xytext": (6, 0), "textcoords": "offset points", "va": "center", "fontsize": 7}
        right.annotate(f"chance\n{chance:.2f}", (1, chance), xycoords=beyond, **place)
    left.set_xlabel("share of the clip that is masked")
    right.set_xlabel("signal-to-noise ratio, dB")
    right.set_xticks(range(len(order)), ["clean", *[str(s) for s in SNRS_DB]])
    left.set_ylabel("accuracy, 95 % Wilson")
    left.set_ylim(0, 1.02)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    handles = [
        left.plot([], [], "o-", color=curve.colour, ms=3.5, label=curve.label)[0]
        for curve, _, _ in measured
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    stem.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(stem.with_suffix(".png"), dpi=150, metadata={"Software": None})
    figure.savefig(stem.with_suffix(".svg"), metadata={"Date": None, "Creator": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sakura", required=True, help="folder that holds data/<Track>/")
    parser.add_argument("--yamnet", help="YAMNet ONNX file")
    parser.add_argument("--whisper", help="folder of a multilingual Whisper")
    parser.add_argument("--gguf", help="GGUF file of a small language model")
    parser.add_argument("--runs", default="outputs/hearing_curves_runs")
    parser.add_argument("--figure", default="outputs/hearing_curves")
    args = parser.parse_args()
    for name in ("sakura", "yamnet", "whisper", "gguf", "runs", "figure"):
        value = getattr(args, name)
        setattr(args, name, value and str(Path(value).resolve()))
    measured = []
    for curve in curves(args):
        run(curve, Path(args.runs))
        masked = points(curve, Path(args.runs), "mask", "ratio")
        noisy = points(curve, Path(args.runs), "noise", "snr_db")
        measured.append((curve, masked, noisy))
    draw(measured, Path(args.figure))
    print(json.dumps({"benchmark": "hearing_curves", "curves": as_json(measured)}))
    for title, levels, place in (("mask", RATIOS, 0), ("noise", SNRS_DB, 1)):
        print(f"\n{title:22}" + "".join(f"{level:>15}" for level in levels))
        for curve, *lines in measured:
            cells = {p.level: f"{p.accuracy:.3f} inv {p.invalid:.2f}" for p in lines[place]}
            print(f"{curve.name:22}" + "".join(f"{cells.get(lv, '-'):>15}" for lv in levels))


def as_json(measured: list[tuple[Curve, list[Point], list[Point]]]) -> dict[str, Any]:
    return {
        curve.name: {
            "n": masked[0].n,
            "chance": round(masked[0].chance, 4),
            "mask": {str(p.level): round(p.accuracy, 4) for p in masked},
            "snr_db": {str(p.level): round(p.accuracy, 4) for p in noisy},
        }
        for curve, masked, noisy in measured
    }


if __name__ == "__main__":
    main()
