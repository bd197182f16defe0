"""MMAU-Pro: closed questions, open questions and instructions, over all kinds of audio.

Kumar et al. (2025), arXiv 2508.13992. Layout: `test.parquet`, and the recordings that its
`audio_path` names. Rows that the published evaluator drops in silence are left out and listed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lalm_bench import prompts
from lalm_bench.errors import ConfigError
from lalm_bench.metrics import closed_match, instructions
from lalm_bench.metrics.mmau_pro import INSTRUCTION, KINDS, summarise
from lalm_bench.parsing.compat.mmau import string_match
from lalm_bench.parsing.open_verdict import CRITERIA, open_verdict, published_open_verdict
from lalm_bench.tasks.mmau_pro_items import kind_of, left_out, to_sample
from lalm_bench.tasks.multiple_choice import MultipleChoice
from lalm_bench.tasks.published_items import absent, plain, read_items, read_samples, text_of
from lalm_bench.types import (
    Generation,
    Json,
    Metrics,
    Request,
    Response,
    Sample,
    Score,
)

if TYPE_CHECKING:
    import pandas as pd

_SOURCE = "fetch gamma-lab-umd/MMAU-Pro from the Hugging Face hub"
_PARTS = ("all", *KINDS)
_UNKNOWN = float("nan")


@dataclass(kw_only=True)
class MmauPro(MultipleChoice):
    """All three kinds of question, or one of them.

    Parameters
    ----------
    dataset : str
        The published Parquet file, or the same rows as .jsonl or .json.
    audio_root : str
        Folder to which its audio paths are relative.
    part : str
        `all`, `closed`, `open` or `instruction_following`.
    encoder : str, optional
        Folder of a sentence encoder, for closed answers in free words.
    verdicts : str, optional
        What a judge said of open answers: a .jsonl or .json with `id` and `verdict` (its text).
    """

    dataset: str
    audio_root: str
    part: str = "all"
    encoder: str | None = None
    verdicts: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.part not in _PARTS:
            raise ConfigError(f"task.part={self.part} must be one of {', '.join(_PARTS)}")
        self._columns = self.groups
        self.groups = tuple(dict.fromkeys((*self.groups, "kind", "rule")))
        self._left_out: dict[str, list[Json]] = {}
        self._said: dict[str, str] = {}
        self._loaded: closed_match.Remembered | None = None

    def missing(self, audio: bool) -> list[str]:
        """The questions, the recordings when the model hears, and what else is named."""
        named = [path for path in (self.encoder, self.verdicts) if path and not Path(path).exists()]
        needed = absent(self.dataset, self.audio_root if audio else None, _SOURCE)
        return [*needed, *(f"{path} is not there; mend the path" for path in named)]

    def inputs(self) -> list[Path]:
        """The questions, and the verdicts."""
        return [Path(path) for path in (self.dataset, self.verdicts) if path]

    def report(self) -> dict[str, Json]:
        """Ids of the rows that the published evaluator drops too, by reason."""
        return {"left_out": dict(self._left_out)}

    def samples(self) -> Iterator[Sample]:
        """Items in the order of the file; a bad row is an item with a fault."""
        self._left_out.clear()
        if self.verdicts:
            self._said = {
                text_of(row, "id", where): text_of(row, "verdict", where)
                for where, row in read_items(self.verdicts)
            }
        return read_samples(self.dataset, self._sample)

    def _sample(self, index: int, where: str, row: dict[str, Any]) -> Sample | None:
        kind = kind_of(row, where)
        if self.part not in ("all", kind):
            return None
        identity = plain(row.get("id")) or f"mmau_pro_{index}"
        if reason := left_out(row, kind):
            self._left_out.setdefault(reason, []).append(identity)
            return None
        return to_sample(row, kind, identity, self.audio_root, self._columns, where)

    def requests(self, sample: Sample, generation: Generation) -> list[Request]:
        """Closed items with their options; the others as their bare question."""
        if sample.choices:
            return super().requests(sample, generation)
        messages = (prompts.user_turn(sample, sample.question),)
        return [Request(sample.id, messages, question=sample.question, generation=generation)]

    def prepare(self, answered: Sequence[tuple[Sample, Sequence[Response]]]) -> None:
        """Encode, many at once, what the text alone leaves open."""
        encoder = self._encoder()
        if encoder is None:
            return
        texts: list[str] = []
        for sample, responses in answered:
            for response in responses if sample.choices else ():
                if closed_match.match(response.text, sample.choices).stage is None:
                    texts += [response.text, *(choice.text for choice in sample.choices)]
        encoder.learn(texts)

    def score(self, sample: Sample, responses: Sequence[Response]) -> list[Score]:
        """Closed: a label. Instructions: followed or broken. Open: the verdict, if there is one."""
        if sample.choices:
            return super().score(sample, responses)
        return [self._free(sample, response) for response in responses]

    def further_values(self, sample: Sample, text: str, label: str | None) -> dict[str, float]:
        """The closed match and its parts."""
        right = next(c.text for c in sample.choices if c.label == sample.target)
        found = closed_match.match(text, sample.choices, self._encoder())
        early = found.stage in closed_match.STAGES[:2]
        values = self._empty() | {
            "correct[string_match]": float(
                string_match(text, right, [choice.text for choice in sample.choices])
            ),
            "correct[exact_or_string]": float(early and found.text == right),
        }
        if found.stage is not None:
            values["closed_stage"] = float(closed_match.STAGES.index(found.stage))
        if self.encoder:
            values[self._match_name] = float(found.text == right)
        return values

    def metrics(self, decisions: pd.DataFrame) -> Metrics:
        """Closed accuracy, instructions followed, open scores, and their weighted mean."""
        from lalm_bench.metrics import option_order, reasoning

        encoder = Path(self.encoder).name if self.encoder else None
        metrics = summarise(decisions, self._columns, encoder)
        if self.options != "fixed" and len(decisions):
            closed = decisions[decisions["n_options"] > 0]
            if len(closed):
                option_order.add(metrics, closed)
        if (self.protocol or self.recover) and len(decisions):
            reasoning.add(metrics, decisions[decisions["n_options"] > 0])
        metrics.values["n_left_out"] = sum(map(len, self._left_out.values()))
        return metrics

    def _free(self, sample: Sample, response: Response) -> Score:
        values = {"correct": _UNKNOWN, **self._empty()}
        values |= {f"correct[{name}]": _UNKNOWN for name in self.compare_parsers}
        if self.options != "fixed":
            values |= {"position": _UNKNOWN, "target_position": _UNKNOWN}
        values |= dict.fromkeys(self.reading_values, _UNKNOWN)
        if sample.meta["kind"] == INSTRUCTION:
            rule = instructions.find(str(sample.meta["rule"]))
            kept = rule is not None and instructions.followed(
                rule, response.text, sample.meta["arguments"]
            )
            values |= {"correct": float(kept), "followed": float(kept)}
            label = stage = "followed" if kept else "broken"
            return Score(sample.id, label, stage, values, variant=response.variant)
        said = self._said.get(sample.id)
        if said is None:
            return Score(sample.id, "unjudged", "unjudged", values, variant=response.variant)
        for name, score in open_verdict(said).items():
            values[name] = _UNKNOWN if score is None else score
        values["open_published"] = published_open_verdict(said)["overall"]
        return Score(sample.id, "judged", "judged", values, variant=response.variant)

    def _empty(self) -> dict[str, float]:
        """All value names that some kind of item has."""
        names = ["correct[string_match]", "correct[exact_or_string]", "closed_stage"]
        if self.encoder:
            names.append(self._match_name)
        return dict.fromkeys([*names, "followed", *CRITERIA, "open_published"], _UNKNOWN)

    @property
    def _match_name(self) -> str:
        return f"correct[closed_match:{Path(self.encoder or '').name}]"

    def _encoder(self) -> closed_match.Remembered | None:
        if self.encoder and self._loaded is None:
            from lalm_bench.metrics.captions.encoder import SentenceEncoder

            self._loaded = closed_match.Remembered(SentenceEncoder(Path(self.encoder)))
        return self._loaded
