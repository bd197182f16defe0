"""One forward pass whose rows get shorter at layer K.

A pre-hook on layer K chooses the columns that stay and gathers them; the layers behind it get
positions and masks of the same columns. Rows are aligned on the right as before. Counts follow from
token ids on the host, so the device is never waited for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lalm_bench.engine.layers import SLIDING, Columns, Stack, aligned, causal, parameters
from lalm_bench.engine.prefill import Passing, Row
from lalm_bench.errors import ConfigError, ModelError
from lalm_bench.pruning.contracts import HIDDEN, KEYS, NORMED, QUERIES, VALUES, Seen
from lalm_bench.pruning.gathering import STATES, Gathering
from lalm_bench.pruning.probe import Probe
from lalm_bench.randomness import derive

if TYPE_CHECKING:
    from lalm_bench.pruning.prefill import PrefillPruning


class Shortener:
    """The `engine.prefill.Pruner` of one setting and one network.

    Parameters
    ----------
    per_token : tuple of str
        Arguments of the layers, of shape (rows, tokens, ...), that shorten with the states.

    Raises
    ------
    ConfigError
        The method asks for keys of a layer that has none of its own.
    """

    def __init__(self, setting: PrefillPruning, stack: Stack, per_token: tuple[str, ...]) -> None:
        self.setting, self.stack, self.per_token = setting, stack, per_token
        before, needs = setting.layer - 1, setting.method.needs
        if needs & {KEYS, VALUES, QUERIES} and not stack.caches(before):
            raise ConfigError(
                f"pruning.layer={setting.layer}: {setting.name} looks at the keys of layer "
                f"{before}, which has none of its own; choose another layer"
            )
        self._windows = {before: setting.method.window} if QUERIES in needs else {}

    @contextmanager
    def pruning(
        self, rows: Sequence[Row], audio: Sequence[Tensor], cache: Any
    ) -> Iterator[Passing]:
        """One forward pass; what it leaves out of `cache` is known when it is over."""
        probe = Probe(self._windows)
        shortening = _Shortening(self, probe, rows, audio, cache)
        with probe.watching(self.stack), shortening.hooked():
            yield shortening


class _Shortening(Passing):
    """The hooks of one pass, and what they found out."""

    def __init__(
        self,
        shortener: Shortener,
        probe: Probe,
        rows: Sequence[Row],
        audio: Sequence[Tensor],
        cache: Any,
    ) -> None:
        super().__init__()
        self._setting, self._stack = shortener.setting, shortener.stack
        self._per_token = shortener.per_token
        self._probe, self._cache = probe, cache
        self._rows, self._audio = rows, audio
        self._width = max(map(len, rows))
        self._kept = [self._count(len(columns)) for columns in audio]
        self._lengths = [
            len(row) - len(a) + k for row, a, k in zip(rows, audio, self._kept, strict=True)
        ]
        self._queries: tuple[Tensor, float] | None = None
        self._masks: dict[str, Tensor | None] = {}
        self._gathering: Gathering | None = None

    def _count(self, audio: int) -> int:
        if audio == 0:
            return 0
        setting = self._setting
        return min(audio, setting.method.count(audio, setting.ratio, setting.count))

    @contextmanager
    def hooked(self) -> Iterator[None]:
        """Inside, the forward pass runs shortened."""
        layers, first = self._stack.layers, self._setting.layer
        names = parameters(layers[first])
        hooks = []

        def shorten(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            given = dict(zip(names, args, strict=False)) | kwargs
            if layer is layers[first]:
                given[STATES] = self._begin(given[STATES])
            assert self._gathering is not None  # noqa: S101 - the first layer made it
            return (), self._gathering.arguments(given, self._masks[kinds[layer]])

        kinds = dict(zip(layers, self._stack.kinds, strict=True))
        try:
            for layer in layers[first:]:
                hooks.append(layer.register_forward_pre_hook(shorten, with_kwargs=True))
            yield
        finally:
            for hook in hooks:
                hook.remove()
            self._gathering = self._queries = None

    def _begin(self, hidden: Tensor) -> Tensor:
        """The shorter hidden states (..., rows, columns, size), and everything else settled."""
        device, longest = hidden.device, max(self._lengths)
        if QUERIES in self._setting.method.needs:
            self._queries = self._probe.take(self._setting.layer - 1)
        if hasattr(self._setting.method, "replace"):
            hidden = hidden.clone()
        chosen = []
        for number, row in enumerate(self._rows):
            chosen.append(self._chosen(number, hidden) + (self._width - len(row)))
        index = aligned(chosen, longest)
        self._gathering = Gathering(index, self._width, self._per_token)
        held = torch.tensor(self._lengths)[:, None]
        mask = (torch.arange(longest) >= longest - held).long().to(device, non_blocking=True)
        # Places in the prompt; a padded column stands nowhere.
        offsets = torch.tensor([[self._width - len(row)] for row in self._rows])
        places = (index - offsets.to(device, non_blocking=True)).clamp(min=0)
        layers = frozenset(range(self._setting.layer, len(self._stack.layers)))
        window = self._stack.window
        self.columns = Columns(
            layers,
            mask,
            None if window is None else places,
            tuple(self._lengths),
            tuple(self._kept),
        )
        self._make_masks(longest, window)
        return self._gathering(hidden)

    def _make_masks(self, longest: int, window: int | None) -> None:
        assert self.columns is not None  # noqa: S101 - made just before
        # Without a mask attention takes its fastest way, which is causal.
        padded = min(self._lengths) < longest
        whole = causal(self.columns, longest) if padded else None
        self._masks = dict.fromkeys(self._stack.kinds, whole)
        if window is not None and self._width > window:
            self._masks[SLIDING] = causal(self.columns, longest, window)

    def _chosen(self, number: int, hidden: Tensor) -> Tensor:
        """Columns of one row that stay; new values are written into its hidden states."""
        row, audio, keep = self._rows[number], self._audio[number], self._kept[number]
        everything = torch.arange(len(row))
        device = hidden.device
        if keep == len(audio):
            return everything.to(device, non_blocking=True)
        text = torch.ones(len(row), dtype=torch.bool)
        text[audio] = False
        audio = audio.to(device, non_blocking=True)
        seen = self._seen(number, hidden)
        method, values = self._setting.method, None
        if hasattr(method, "replace"):
            picked, values = method.replace(seen, audio, keep)
        else:
            picked = method.select(seen, audio, keep)
        if picked.shape != (keep,):
            raise ModelError(f"{self._setting.name} kept {len(picked)} tokens where {keep} stay")
        stay = audio[picked.to(device, non_blocking=True)]
        if values is not None:
            self._put(hidden, number, stay + (self._width - len(row)), values)
        words = everything[text].to(device, non_blocking=True)
        return torch.cat([words, stay]).sort().values

    def _seen(self, number: int, hidden: Tensor) -> Seen:
        row, setting = self._rows[number], self._setting
        needs, before = setting.method.needs, setting.layer - 1
        fields: dict[str, Any] = {}
        own = hidden[..., number, self._width - len(row) :, :]
        if HIDDEN in needs:
            fields[HIDDEN] = own.movedim(0, 1).flatten(1) if own.dim() == 3 else own
        if NORMED in needs:
            fields[NORMED] = self._stack.norm(own[0] if own.dim() == 3 else own)
        for name in needs & {KEYS, VALUES}:
            fields[name] = getattr(self._cache.layers[before], name)[number, :, -len(row) :]
        if self._queries is not None:
            queries, fields["scaling"] = self._queries
            fields[QUERIES] = queries[number, :, -len(row) :]
            if self._stack.kinds[before] == SLIDING:
                fields["reach"] = self._stack.window
        seed = derive(setting.seed, row.name, "prune")
        return Seen(len(row), seed, hidden.device, **fields)

    @staticmethod
    def _put(hidden: Tensor, row: int, columns: Tensor, values: Tensor) -> None:
        values = values.to(hidden.dtype)
        if hidden.dim() == 4:
            values = values.reshape(len(values), len(hidden), -1).movedim(1, 0)
        hidden[..., row, columns, :] = values
