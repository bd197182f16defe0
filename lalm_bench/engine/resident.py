"""A network in memory and everything between a batch of features and its answers."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from lalm_bench.engine.choose import chooser
from lalm_bench.engine.decode import Decoder, TokenFacts
from lalm_bench.engine.kv import Prefilled
from lalm_bench.engine.likelihood import Tokens, continuation_logprobs
from lalm_bench.engine.listening import Listener
from lalm_bench.engine.prefill import Reader, Row, tokens_of
from lalm_bench.engine.stages import WAITING, Stages
from lalm_bench.engine.stream import READ_AT_ONCE, Prepared
from lalm_bench.engine.vectors import EncodedAudio
from lalm_bench.types import Json, Response


class Resident:
    """Answers batches.

    Parameters
    ----------
    network : PreTrainedModel
        In evaluation mode, on its device.
    tokenizer : PreTrainedTokenizerBase
    listener : Listener, optional
        None for a model that only reads.
    encoded : EncodedAudio, optional
        Where encoded audio is kept; None encodes every request's audio and reads every prompt as a
        whole, as timing runs want it.
    """

    def __init__(
        self,
        network: Any,
        tokenizer: Any,
        facts: TokenFacts,
        listener: Listener | None = None,
        encoded: EncodedAudio | None = None,
        graphs: bool = True,
    ) -> None:
        self.network = network
        self.tokenizer = tokenizer
        self.decoder = Decoder(network, facts, graphs)
        self.reader = Reader(network, listener, facts.pad)
        self._facts = facts
        self._listener = listener
        self._encoded = encoded
        self._asked = self._encodings = 0
        loaded = listener is not None and getattr(network, "_hf_peft_config_loaded", False)
        self._adapters: bool | None = True if loaded else None

    @property
    def shares(self) -> bool:
        """True when prompts on the same audio read their common beginning once."""
        return self._encoded is not None and self.reader.may_share

    def report(self) -> dict[str, Json]:
        """Padding waste of the prefill, how often audio was encoded, and whether graphs ran."""
        read, padded = self.reader.tokens, self.reader.tokens_padded
        return {
            "tokens_read": read,
            "padding_waste": round(1 - read / padded, 4) if padded else None,
            "audio_asked": self._asked,
            "audio_encoded": self._encodings,
            "graphs_refused": self.decoder.refusal,
            "peak_memory_bytes": self._peak(),
        }

    def forget(self) -> None:
        """Begin the counts of another run."""
        self._asked = self._encodings = 0
        self.reader.tokens = self.reader.tokens_padded = 0
        if self.network.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.network.device)

    def _peak(self) -> int | None:
        """Most bytes held at a time on the GPU; None elsewhere, where nothing counts them."""
        device = self.network.device
        return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None

    def answers(self) -> Answers:
        """A batch of free-text answers, empty as yet."""
        return Answers(self)

    def logprobs(self, context: Sequence[int], continuations: Sequence[Tokens]) -> list[float]:
        """Log p(continuation | context), nats, of token ids after one text context."""
        ids = torch.tensor([list(context)])
        prompt = Row({"input_ids": ids, "attention_mask": torch.ones_like(ids)})
        read = self.reader.read([prompt], share=False)
        pairs = [(0, tokens) for tokens in continuations]
        return continuation_logprobs(self.reader, read, pairs, _rows(read))

    def text(self, ids: Sequence[int]) -> tuple[str, str]:
        """What was written, and whether it ended by itself (stop) or at the limit (length)."""
        stopped = bool(ids) and ids[-1] in self._facts.stops
        kept = list(ids[:-1] if stopped else ids)
        text = self.tokenizer.decode(kept, skip_special_tokens=True).strip()
        return text, "stop" if stopped else "length"

    def read(self, items: Sequence[Prepared], stages: Stages) -> Prefilled:
        """Hear and read the prompts of items that share a forward pass."""
        self._switch_adapters(items[0].audio is not None)
        vectors = self._listen(items)
        stages.mark("encoder")
        rows = [
            Row(tokens_of(item.inputs), heard, item.audio, item.request.sample_id)
            for item, heard in zip(items, vectors, strict=True)
        ]
        read = self.reader.read(rows, share=self.shares)
        stages.mark("prefill")
        return read

    def _switch_adapters(self, hearing: bool) -> None:
        """Low-rank weights are made for hearing: words alone go through the plain network."""
        if self._adapters is None or self._adapters == hearing:
            return
        (self.network.enable_adapters if hearing else self.network.disable_adapters)()
        self._adapters = hearing

    def _listen(self, items: Sequence[Prepared]) -> list[Tensor | None]:
        """What each item's audio became; equal audio is encoded once."""
        listener, kept = self._listener, self._encoded
        owners: dict[Hashable, int] = {}
        names: list[Hashable] = [i if kept is None else item.audio for i, item in enumerate(items)]
        for i, item in enumerate(items):
            if item.audio is not None:
                self._asked += 1
                owners.setdefault(names[i], i)
        if listener is None or not owners:
            return [None] * len(items)
        # Held here as well: a small cache may forget a clip while its batch is under way.
        known: dict[Hashable, Tensor | None] = {}
        if kept is not None:
            known = {audio: kept.get(str(audio), self.network.device) for audio in owners}
        missing = [audio for audio in owners if known.get(audio) is None]
        fresh = listener.encode([items[owners[audio]].inputs for audio in missing])
        self._encodings += len(missing)
        for audio, vectors in zip(missing, fresh, strict=True):
            known[audio] = vectors
            if kept is not None:
                kept.put(str(audio), vectors)
        return [known.get(name) for name in names]

    def usage(self, items: Sequence[Prepared], read: Prefilled) -> list[dict[str, float]]:
        """Tokens of each item's prompt, and bytes of keys and values that they left.

        `audio_tokens_kept` is what pruned layers hold; it is left out where heads differ in it.
        """
        whole, pruned = read.bytes_per_token()
        usages: list[dict[str, float]] = []
        for row, item in enumerate(items):
            ids = item.inputs["input_ids"]
            tokens = held = int(ids.shape[1])
            usage: dict[str, float] = {"input_tokens": tokens}
            if item.audio is not None and self._listener is not None:
                usage["audio_tokens"] = usage["audio_tokens_kept"] = int(
                    self._listener.places(ids).sum()
                )
            if read.pruned is not None:
                held = read.pruned.lengths[row]
                usage.pop("audio_tokens_kept", None)
                if read.pruned.audio is not None:
                    usage["audio_tokens_kept"] = read.pruned.audio[row]
            usages.append(usage | {"kv_bytes": whole * tokens + pruned * held})
        return usages

    def response(
        self,
        item: Prepared,
        text: str,
        finish: str,
        written: int,
        seconds: dict[str, float],
        used: dict[str, float],
    ) -> Response:
        """The response of one item; `seconds` are its share of each stage, `used` as `usage`."""
        request = item.request
        usage = {**item.usage, **used, "output_tokens": written}
        timing = {"featurise_s": round(item.seconds, 6)}
        timing |= {f"{name}_s": round(spent, 6) for name, spent in seconds.items()}
        return Response(
            request.key,
            request.sample_id,
            text,
            finish,
            request.variant,
            usage=usage,
            timing=timing,
        )


class Answers:
    """One batch of free-text answers: read piece by piece, written together.

    The items share one generation setting.
    """

    def __init__(self, resident: Resident) -> None:
        self._resident = resident
        self._stages = Stages(resident.network.device)
        self._items: list[Prepared] = []
        self._parts: list[Prefilled] = []
        self._used: list[dict[str, float]] = []

    def read(self, items: Sequence[Prepared]) -> None:
        """Hear and read the next items; on a GPU this returns before it is done."""
        self._stages.mark(WAITING)
        read = self._resident.read(items, self._stages)
        self._parts.append(read)
        self._used += self._resident.usage(items, read)
        self._items += items

    def finish(self) -> list[Response]:
        """Write the answers of all items, in the order in which they were read."""
        resident, stages = self._resident, self._stages
        generations = [item.request.generation for item in self._items]
        limit = generations[0].max_new_tokens
        stages.mark(WAITING)
        written = resident.decoder.write(self._parts, chooser(generations), limit)
        stages.mark("decode")
        seconds = {name: spent / len(written) for name, spent in stages.seconds().items()}
        return [
            resident.response(item, *resident.text(ids), len(ids), seconds, used)
            for item, ids, used in zip(self._items, written, self._used, strict=True)
        ]


class Comparison:
    """One batch of answers that are the option with the highest score; the first of equals.

    Parameters
    ----------
    forms : callable
        Item -> (option label, token ids) of everything whose log-probability is wanted.
    score : callable
        Item and its (option label, log-probability) pairs -> score of each label.
    """

    def __init__(
        self,
        resident: Resident,
        forms: Callable[[Prepared], list[tuple[str, Tokens]]],
        score: Callable[[Prepared, list[tuple[str, float]]], dict[str, float]],
    ) -> None:
        self._resident, self._forms, self._score = resident, forms, score
        self._responses: list[Response] = []

    def read(self, items: Sequence[Prepared]) -> None:
        """Read the prompts of the next items and compare their options."""
        resident = self._resident
        stages = Stages(resident.network.device)
        prompts = resident.read(items, stages)
        forms = [self._forms(item) for item in items]
        pairs = [(row, tokens) for row, found in enumerate(forms) for _, tokens in found]
        values = iter(continuation_logprobs(resident.reader, prompts, pairs, _rows(prompts)))
        stages.mark("decode")
        seconds = {name: spent / len(items) for name, spent in stages.seconds().items()}
        used = resident.usage(items, prompts)
        for item, found, use in zip(items, forms, used, strict=True):
            scores = self._score(item, [(label, next(values)) for label, _ in found])
            best = max(scores, key=lambda label, by=scores: by[label])  # type: ignore[misc]
            response = resident.response(item, best, "stop", 0, seconds, use)
            self._responses.append(replace(response, scores=scores))

    def finish(self) -> list[Response]:
        """Responses in the order in which items were read."""
        return self._responses


def _rows(prompts: Prefilled) -> int:
    """Copies of the longest prompt that weigh as much as one piece."""
    return max(1, READ_AT_ONCE // prompts.mask.shape[1])
