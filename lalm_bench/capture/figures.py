"""Figures of captured attention, in the house style, as PNG and SVG."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lalm_bench.capture.tokens import AUDIO
from lalm_bench.report.figures import BLUE, GREY, ORANGE
from lalm_bench.report.spectrogram import mel_power

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from lalm_bench.capture.observer import Attended
    from lalm_bench.capture.watching import Told

_QUERIES = {"last_token": (BLUE, "the last token"), "later_text": (ORANGE, "text behind the audio")}
# Okabe and Ito's light blue; matplotlib's map that reads alike with every colour vision.
_LIGHT, _COLOURS = "#56B4E9", "cividis"
_MOST_TICKS = 16
# Times uniform attention, the ends of the colours.
_LEAST, _MOST = 0.1, 10.0
# Silence behind a clip that is worth a line; the last token of any clip may stand over its end.
_SHOWN_SILENCE_S = 0.1


def share_by_layer(
    stem: Path, title: str, layers: Sequence[Mapping[str, Any]], prompts: int
) -> list[Path]:
    """Share of attention that audio gets in each layer; the band is the range over prompts."""
    figure = _figure(6.4, 3.4)
    axes = figure.subplots()
    places = list(range(len(layers)))
    marker = "o" if len(layers) <= _MOST_TICKS else ""
    for name, (colour, label) in _QUERIES.items():
        shown = [(place, row[name]) for place, row in zip(places, layers, strict=True) if row[name]]
        if not shown:
            continue
        x = [place for place, _ in shown]
        axes.plot(x, [s["audio"] for _, s in shown], marker=marker, color=colour, label=label, ms=4)
        low, high = ([s[f"audio_{end}"] for _, s in shown] for end in ("low", "high"))
        axes.fill_between(x, low, high, color=colour, alpha=0.2, lw=0)
    uniform = [row["uniform_audio"] for row in layers]
    axes.plot(places, uniform, "--", color=GREY, lw=1.2, label="uniform, last token")
    _ticks(axes.set_xticks, [row["layer"] for row in layers])
    axes.set_ylim(0, 1)
    axes.set_xlabel("layer")
    axes.set_ylabel("share of attention on audio")
    count = f"{prompts} prompts: mean and range" if prompts > 1 else "one prompt"
    axes.set_title(f"{title} · {count}", fontsize=10, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    return _save(figure, stem)


def heatmap(stem: Path, title: str, seen: Attended, told: Told) -> list[Path]:
    """What the last token attends to: layers against time, below the spectrogram.

    Colours are multiples of uniform attention (1 / tokens that the layer sees); bars are the share
    that all audio gets, the light part for silence that the model appends to a clip. Several clips
    follow each other.

    Parameters
    ----------
    told : Told
        With `soundings`.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LogNorm

    weights = np.nanmean(seen.last, axis=1)
    tokens, layers = len(seen.ids), range(len(weights))
    seeing = [min(told.reach(place) or tokens, tokens) for place in layers]
    times = weights[:, seen.kinds == AUDIO] * np.array(seeing)[:, None]
    norm = LogNorm(_LEAST, max(_MOST, float(np.nanquantile(times, 0.995))), clip=True)
    figure = _figure(8.6, 3.0 + 0.14 * min(max(len(weights), 8), 40))
    grid = figure.add_gridspec(2, 2, width_ratios=(6, 1), height_ratios=(1, 2))
    above = figure.add_subplot(grid[0, 0])
    below = figure.add_subplot(grid[1, 0], sharex=above)
    beside = figure.add_subplot(grid[1, 1], sharey=below)
    begin = 0.0
    for clip in range(len(told.clips)):
        begin = _clip(above, below, clip, begin, told, times, norm)
    above.set_xlim(0, begin)
    above.set_ylabel("mel band")
    above.tick_params(labelbottom=False)
    above.set_title(f"{title} · attention of the last token", fontsize=10, loc="left")
    below.set_xlabel("time, s")
    below.set_ylabel("layer")
    _ticks(below.set_yticks, told.layers)
    shares = weights[:, seen.kinds == AUDIO].sum(1)
    silent = weights[:, told.appended(seen.kinds)].sum(1)
    beside.barh(layers, shares - silent, color=BLUE, height=0.8)
    beside.barh(layers, silent, left=shares - silent, color=_LIGHT, height=0.8)
    beside.set_xlim(0, 1)
    beside.set_xlabel("share on audio")
    beside.tick_params(labelleft=False)
    beside.spines[["top", "right"]].set_visible(False)
    figure.colorbar(
        ScalarMappable(norm, _COLOURS),
        ax=[above, below, beside],
        label="times uniform attention",
        extend="both",
        format="%g",
        aspect=40,
    )
    return _save(figure, stem)


def _clip(
    above: Axes, below: Axes, clip: int, begin: float, told: Told, times: np.ndarray, norm: Any
) -> float:
    """Draw one clip from `begin` on; where it ends, silence behind it included.

    Parameters
    ----------
    times : numpy.ndarray
        (layers, audio tokens), multiples of uniform attention.
    """
    heard = told.clips[clip]
    end = length = len(heard.wave) / heard.rate
    _spectrogram(above, heard.wave, heard.rate, begin, length)
    own = [(place, s) for place, s in enumerate(told.soundings or ()) if s.clip == clip]
    if own:
        edges = [*(s.start for _, s in own), own[-1][1].end]
        end = max(length, edges[-1])
        rows = np.arange(len(times) + 1) - 0.5
        shown = times[:, [place for place, _ in own]]
        mesh = below.pcolormesh(begin + np.array(edges), rows, shown, norm=norm, cmap=_COLOURS)
        mesh.set_rasterized(True)
    if end > length + _SHOWN_SILENCE_S:
        for axes in (above, below):
            axes.axvline(begin + length, color=ORANGE, lw=1, ls="--")
        where: dict[str, Any] = {"transform": above.get_xaxis_transform(), "va": "top"}
        above.text(begin + length, 0.96, " appended silence", color=ORANGE, fontsize=8, **where)
    if clip:
        for axes in (above, below):
            axes.axvline(begin, color="black", lw=1.4)
    return begin + end


def _spectrogram(axes: Axes, wave: np.ndarray, rate: int, begin: float, length: float) -> None:
    decibels = 10 * np.log10(np.maximum(mel_power(wave, rate), 1e-12))
    top = float(decibels.max())
    axes.imshow(
        decibels,
        origin="lower",
        aspect="auto",
        cmap="magma",
        vmin=top - 80,
        vmax=top,
        extent=(begin, begin + length, 0, len(decibels)),
    )


def _ticks(put: Any, layers: Sequence[int]) -> None:
    """Names of layers at their places, not too many."""
    step = -(-len(layers) // _MOST_TICKS)
    put(range(0, len(layers), step), [str(layer) for layer in layers[::step]])


def _figure(width: float, height: float) -> Figure:
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "lalm_bench"
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _save(figure: Figure, stem: Path) -> list[Path]:
    files = [stem.with_suffix(".png"), stem.with_suffix(".svg")]
    with warnings.catch_warnings():
        # An id may be in any script; what the font lacks is drawn as boxes.
        warnings.filterwarnings("ignore", message="Glyph")
        figure.savefig(files[0], dpi=150, metadata={"Software": None})
        figure.savefig(files[1], metadata={"Date": None, "Creator": None}, dpi=150)
    return files
