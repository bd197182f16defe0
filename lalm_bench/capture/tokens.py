"""What the tokens of a prompt are: their kinds, their texts, and when audio tokens sound."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

KINDS = ("audio", "text", "special")
AUDIO, TEXT, SPECIAL = range(len(KINDS))
# Clips end somewhere within their last token.
_SLACK_S = 1e-6


def special_ids(tokenizer: Any) -> frozenset[int]:
    """Ids of the control tokens: those with a role, and all others that are marked so."""
    added = tokenizer.added_tokens_decoder
    # Mistral's has a method that refuses in its place, and gives all control tokens a role.
    known = added if isinstance(added, Mapping) else {}
    marked = [number for number, token in known.items() if token.special]
    return frozenset([*tokenizer.all_special_ids, *marked])


def kinds_of(ids: Tensor, audio: Tensor, special: frozenset[int]) -> Tensor:
    """Kind (tokens,) of each of `ids`, where audio stands at the positions `audio`."""
    kinds = torch.tensor([SPECIAL if i in special else TEXT for i in ids.tolist()])
    kinds[audio] = AUDIO
    return kinds


def texts_of(ids: Sequence[int], tokenizer: Any) -> list[str]:
    """What each token reads; part of a character reads as the replacement sign."""
    known = {i: str(tokenizer.decode([i])) for i in set(ids)}
    return [known[i] for i in ids]


def pieces_of(seconds: float, longest: float | None, overlong: str) -> list[float]:
    """Lengths, seconds, of the pieces in which a model hears one clip.

    Parameters
    ----------
    longest : float, optional
        Longest piece that it hears.
    overlong : str
        truncate or chunk, as in `models.hf.HFModel`.

    Examples
    --------
    >>> pieces_of(70.0, 30.0, "chunk"), pieces_of(70.0, 30.0, "truncate")
    ([23.333333333333332, 23.333333333333332, 23.333333333333332], [30.0])
    """
    if longest is None or seconds <= longest:
        return [seconds]
    if overlong != "chunk":
        return [float(longest)]
    count = math.ceil(seconds / longest)
    return [seconds / count] * count


@dataclass(frozen=True)
class Sounding:
    """When an audio token sounds.

    Parameters
    ----------
    clip : int
        Of the request's clips, in order.
    start, end : float
        Seconds from the clip's beginning.
    heard : bool
        False where it stands for silence that the model appends to the clip.
    """

    clip: int
    start: float
    end: float
    heard: bool


def soundings(
    audio: np.ndarray, clips: Sequence[Sequence[float]], rate: float
) -> list[Sounding] | None:
    """When each audio token sounds; None where the tokens of clips cannot be told apart.

    Parameters
    ----------
    audio : numpy.ndarray
        (n,) their sorted positions.
    clips : sequence of sequence of float
        Pieces of each clip, seconds, as in `pieces_of`.
    rate : float
        Audio tokens a second.

    Notes
    -----
    Clips are told apart by what stands between them; without that, by number where all pieces are
    equally long.
    """
    pieces = [(clip, place) for clip, lengths in enumerate(clips) for place in range(len(lengths))]
    runs = np.split(audio, np.flatnonzero(np.diff(audio) > 1) + 1)
    lengths = {length for pieces_of_clip in clips for length in pieces_of_clip}
    if len(pieces) == 1:
        sizes = [len(audio)]
    elif len(runs) == len(pieces):
        sizes = [len(run) for run in runs]
    elif len(lengths) == 1 and len(audio) % len(pieces) == 0:
        sizes = [len(audio) // len(pieces)] * len(pieces)
    else:
        return None
    found = []
    for (clip, place), size in zip(pieces, sizes, strict=True):
        before = sum(clips[clip][:place])
        for token in range(size):
            heard = token / rate < clips[clip][place] - _SLACK_S
            found.append(Sounding(clip, before + token / rate, before + (token + 1) / rate, heard))
    return found
