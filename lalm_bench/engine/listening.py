"""What audio becomes: the vectors that take the place of audio tokens before the language model.

Every family's forward pass encodes the audio and puts the result among the text embeddings before
its language model runs. Here that pass is run up to this point and no further, so that encoding is
timed apart and shared; later passes get the vectors put in place. The family's own code does
everything else (per-layer inputs, masks, heads), so one mechanism serves all.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lalm_bench.engine.collate import audio_shape, collate
from lalm_bench.errors import ModelError

# Clips encoded at a time: enough to fill a GPU, few enough for the activations of 30 s windows.
ENCODED_AT_ONCE = 32


class _ReachedError(Exception):
    """Carries the embeddings out of a forward pass that need not go on."""


class Listener:
    """Audio to vectors, for one network.

    Parameters
    ----------
    network : PreTrainedModel
    pad_id : int
    merges : str, optional
        Module whose output is text and audio merged, for families whose language model embeds its
        own input; by default they are merged at the entrance of `network.get_decoder()`.
    trims : bool
        The encoder masks padding (its positions are a table called `embed_positions`): clips
        shorter than its window are encoded at their own length.
    alike : bool
        The encoder hears the padding of clips beside longer ones: only clips whose features have
        equal shapes are encoded together.

    Raises
    ------
    ModelError
        The configuration names no audio token.
    """

    def __init__(
        self,
        network: Any,
        pad_id: int,
        merges: str | None = None,
        trims: bool = False,
        alike: bool = False,
    ) -> None:
        self.network = network
        self._alike = alike
        self.token = audio_token(network.config)
        self._pad_id = pad_id
        self._merges = None if merges is None else network.get_submodule(merges)
        self._encoder = _positioned(network) if trims else None

    @torch.inference_mode()
    def encode(self, rows: Sequence[dict[str, Tensor]]) -> list[Tensor]:
        """Vectors (audio tokens, hidden size) of each row's audio.

        Parameters
        ----------
        rows : sequence of dict
            Features of one item each, with audio.
        """
        groups: dict[Hashable, list[int]] = {}
        for i, row in enumerate(rows):
            groups.setdefault(audio_shape(row) if self._alike else None, []).append(i)
        vectors: dict[int, Tensor] = {}
        for group in groups.values():
            for first in range(0, len(group), ENCODED_AT_ONCE):
                piece = group[first : first + ENCODED_AT_ONCE]
                vectors |= zip(piece, self._encode([rows[i] for i in piece]), strict=True)
        return [vectors[i] for i in range(len(rows))]

    def _encode(self, rows: Sequence[dict[str, Tensor]]) -> list[Tensor]:
        batch = collate(rows, self._pad_id, self.network.device, self.network.dtype)
        # `get_rope_index` of the omni families walks rows in Python unless positions are given.
        batch["position_ids"] = positions(batch["attention_mask"])

        def stop(embeddings: Tensor) -> Tensor:
            raise _ReachedError(embeddings)

        with self._at_entrance(stop), _as_long_as(self._encoder, batch):
            try:
                self.network(**batch)
            except _ReachedError as reached:
                merged: Tensor = reached.args[0]
            else:
                raise ModelError("the forward pass never reached its language model")
        return [
            vectors[places.to(vectors.device, non_blocking=True)]
            for vectors, places in zip(merged, self._columns(rows, merged.shape[1]), strict=True)
        ]

    def _columns(self, rows: Sequence[dict[str, Tensor]], longest: int) -> list[Tensor]:
        """Columns of each row's audio in the batch; known before the GPU knows them."""
        ids = [row["input_ids"][0] for row in rows]
        return [self.places(i).nonzero()[:, 0] + longest - len(i) for i in ids]

    def places(self, ids: Tensor) -> Tensor:
        """Where audio stands in token ids."""
        return ids == self.token

    @contextlib.contextmanager
    def hearing(self, ids: Tensor, vectors: Sequence[Tensor]) -> Iterator[None]:
        """Inside, a forward pass over `ids` (rows, tokens) hears `vectors` in order."""
        if not vectors:
            yield
            return
        where, given = self.places(ids)[..., None], torch.cat(list(vectors))

        def put(embeddings: Tensor) -> Tensor:
            # Indexing with a mask would wait for the GPU to count it.
            return embeddings.masked_scatter(where, given.to(embeddings.dtype))

        with self._at_entrance(put):
            yield

    @contextlib.contextmanager
    def _at_entrance(self, act: Callable[[Tensor], Tensor]) -> Iterator[None]:
        if self._merges is not None:
            handle = self._merges.register_forward_hook(lambda module, args, output: act(output))
        else:
            handle = self.network.get_decoder().register_forward_pre_hook(
                lambda module, args, kwargs: (
                    args,
                    {**kwargs, "inputs_embeds": act(kwargs["inputs_embeds"])},
                ),
                with_kwargs=True,
            )
        try:
            yield
        finally:
            handle.remove()


def positions(mask: Tensor) -> Tensor:
    """Places of tokens in their rows, counted without padding (which gets 0)."""
    return (mask.cumsum(-1) - 1).clamp(min=0)


def audio_token(config: Any) -> int:
    """Id of the token that stands for audio; ModelError when the configuration names none."""
    for holder in (config, getattr(config, "audio_config", None)):
        for name in ("audio_token_id", "audio_token_index"):
            found = getattr(holder, name, None)
            if isinstance(found, int):
                return found
    raise ModelError(f"{type(config).__name__} names no audio token; is this an audio model?")


def trimmed(features: dict[str, Tensor]) -> dict[str, Tensor]:
    """A clip's spectrogram without the silence that its extractor appended.

    The frames behind the last one stay as far as the encoder's convolutions see them; frames count
    in fours, because the encoder halves its input twice.
    """
    masks = [k for k in ("feature_attention_mask", "input_features_mask") if k in features]
    if not masks:
        return features
    longest = int(features[masks[0]].sum(-1).max())
    keep = -(-(longest + 2) // 4) * 4
    cut = {"input_features", masks[0]}
    return {k: v[..., :keep].contiguous() if k in cut else v for k, v in features.items()}


def _positioned(network: Any) -> nn.Module:
    """The audio encoder: the one module with a table of positions and convolutions."""
    for module in network.modules():
        if hasattr(module, "embed_positions") and hasattr(module, "conv1"):
            return module  # type: ignore[no-any-return]
    raise ModelError(f"{type(network).__name__} has no audio encoder with embed_positions")


@contextlib.contextmanager
def _as_long_as(encoder: Any, batch: dict[str, Tensor]) -> Iterator[None]:
    """The encoder's window as long as the batch's spectrograms."""
    if encoder is None or "input_features" not in batch:
        yield
        return
    frames = batch["input_features"].shape[-1]
    table, window = encoder.embed_positions.weight, encoder.config.max_source_positions
    encoder.embed_positions.weight = nn.Parameter(table[: frames // 2], requires_grad=False)
    encoder.config.max_source_positions = frames // 2
    try:
        yield
    finally:
        encoder.embed_positions.weight = table
        encoder.config.max_source_positions = window
