"""A loaded model, watched while it reads one prompt after another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from lalm_bench import audio
from lalm_bench.capture.observer import Attended, Observer
from lalm_bench.capture.tokens import AUDIO, Sounding, pieces_of, soundings, special_ids, texts_of
from lalm_bench.engine.layers import SLIDING, Stack
from lalm_bench.errors import ConfigError, ModelError
from lalm_bench.pruning.fitting import pruned_by
from lalm_bench.types import (
    Audio,
    AudioSource,
    Generation,
    Message,
    Request,
    Response,
    Runtime,
    Text,
)

if TYPE_CHECKING:
    from lalm_bench.models.hf import HFModel

# Whisper's window, into which several families pad, whatever a clip's length.
_WINDOW_S = 30.0
_ONE_TOKEN = Generation(max_new_tokens=1)


@dataclass(frozen=True)
class Heard:
    """One clip as the model hears it.

    Parameters
    ----------
    wave : numpy.ndarray
        float32, shape (samples,).
    rate : int
        Hz.
    pieces : list of float
        Seconds of each piece that it is heard in.
    """

    wave: np.ndarray
    rate: int
    pieces: list[float]


@dataclass(frozen=True)
class Told:
    """What the tokens and layers of a captured prompt are.

    Parameters
    ----------
    texts : list of str
        What each token reads.
    soundings : list of Sounding or None
        Of each audio token, where it can be told.
    clips : list of Heard
    rate : float
        Audio tokens a second.
    layers : list of int
    kinds : list of str
        Kind of attention of each layer.
    window : int or None
        Tokens that a sliding layer's query sees back, itself included.
    """

    texts: list[str]
    soundings: list[Sounding] | None
    clips: list[Heard]
    rate: float
    layers: list[int]
    kinds: list[str]
    window: int | None

    def appended(self, kinds: np.ndarray) -> np.ndarray:
        """(tokens,) bool: audio tokens of `kinds` that stand for silence behind a clip."""
        found = np.zeros(len(kinds), bool)
        if self.soundings is not None:
            found[kinds == AUDIO] = [not sounding.heard for sounding in self.soundings]
        return found

    def reach(self, place: int) -> int | None:
        """`window` where it is that layer's."""
        return self.window if self.kinds[place] == SLIDING else None


class Watching:
    """Asks for one token a prompt, and sees what is attended to.

    Parameters
    ----------
    layers : sequence of int, optional
        None for all.
    heads : str
        One of `weights.HEADS`.
    full_bytes : int, optional
        As in `Observer`.

    Raises
    ------
    ConfigError
        The model has no such layer.
    """

    def __init__(
        self,
        model: HFModel,
        runtime: Runtime,
        layers: Sequence[int] | None,
        heads: str,
        full_bytes: int | None,
    ) -> None:
        model.load(runtime)
        self._model = model
        self.stack = Stack(model.network)
        count = len(self.stack.layers)
        self.layers = list(range(count)) if layers is None else sorted(layers)
        demand_layers(self.layers, count, model.name)
        self._seen: dict[str, Attended] = {}
        special = special_ids(self._tokenizer)
        self._observer = Observer(
            self.stack, self.layers, heads, special, full_bytes, self._seen.__setitem__
        )

    @property
    def _tokenizer(self) -> Any:
        return self._model.resident.tokenizer

    def see(self, request: Request) -> Attended | None:
        """What the prompt's tokens attend to; None for a prompt without audio.

        Raises
        ------
        ModelError
            The prompt cannot be read, or its attention takes more memory than it may.
        """
        with pruned_by(self._model, self._observer):
            response = self._asked(request)
        if response.error is not None:
            self._seen.clear()
            raise ModelError(response.error)
        return self._seen.pop(request.sample_id, None)

    def told(self, request: Request, seen: Attended) -> Told:
        """What the tokens of a prompt are; AudioError where a clip cannot be read."""
        model = self._model
        longest = model.settings().max_audio_s
        clips = []
        for source in request.clips():
            wave = audio.render(source, model.rate)
            pieces = pieces_of(len(wave) / model.rate, longest, model.overlong)
            clips.append(Heard(wave, model.rate, pieces))
        positions = np.flatnonzero(seen.kinds == AUDIO)
        return Told(
            texts_of(seen.ids.tolist(), self._tokenizer),
            soundings(positions, [clip.pieces for clip in clips], self.rate),
            clips,
            self.rate,
            self.layers,
            [self.stack.kinds[number] for number in self.layers],
            self.stack.window,
        )

    @cached_property
    def rate(self) -> float:
        """Audio tokens a second, counted on a clip as long as the window that families pad to."""
        longest = self._model.settings().max_audio_s
        seconds = _WINDOW_S if longest is None else min(_WINDOW_S, float(longest))
        heard = Audio(AudioSource(_Silence(seconds, self._model.rate)))
        response = self._asked(
            Request(
                "silence",
                (
                    Message(
                        "user",
                        (heard, Text(".")),
                    ),
                ),
            )
        )
        if response.error is not None:
            raise ModelError(response.error)
        return (response.usage or {})["audio_tokens"] / seconds

    def _asked(self, request: Request) -> Response:
        (response,) = self._model.answer([replace(request, generation=_ONE_TOKEN)])
        return response


def demand_layers(layers: Sequence[int], count: int, model: str) -> None:
    """ConfigError where a layer is none of `count`."""
    if absent := [number for number in layers if number >= count]:
        raise ConfigError(
            f"capture.layers={absent}: {model} has {count} layers, 0 to {count - 1}; choose some "
            "of them, or all"
        )


@dataclass(frozen=True)
class _Silence:
    """A clip to count tokens on."""

    length: float
    rate: int

    def content(self) -> str:
        return f"silence {self.length} {self.rate}"

    def seconds(self) -> float:
        return self.length

    def synthesise(self) -> tuple[np.ndarray, int]:
        return np.zeros(round(self.length * self.rate), np.float32), self.rate
