"""Control: the clip of another item, with another answer; what is still right was not heard."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from lalm_bench.errors import ConfigError
from lalm_bench.interventions.audio_edit import change_clips
from lalm_bench.randomness import derive
from lalm_bench.types import AudioRef, AudioSource, Context, Request, Sample, Skip


class Circle:
    """Items in an order drawn from the seed, each with the next one of another label."""

    def __init__(self, samples: Sequence[Sample], labels: Sequence[str | None], seed: int) -> None:
        order = sorted((_rank(seed, s.id), n) for n, s in enumerate(samples))
        self._ranks = [rank for rank, _ in order]
        self._items = [samples[n] for _, n in order]
        self._labels = [labels[n] for _, n in order]
        self._seed = seed
        count = len(order)
        # Steps to the next item of another label; all round when there is none.
        self._steps = [count] * count
        for place in reversed(range(2 * count - 1)):
            here, after = place % count, (place + 1) % count
            alike = _alike(self._labels[here], self._labels[after])
            self._steps[here] = min(1 + self._steps[after] if alike else 1, count)

    def others(self, sample: Sample, label: str | None) -> Iterator[Sample]:
        """Items of another label, from the place of `sample` once round."""
        count = len(self._items)
        place = bisect_right(self._ranks, _rank(self._seed, sample.id))
        end = place + count
        while place < end:
            if _alike(self._labels[place % count], label):
                place += self._steps[place % count]
            else:
                yield self._items[place % count]
                place += 1


@dataclass(frozen=True)
class Swap:
    """Audio intervention `swap`.

    All items stand on a circle in an order drawn from the seed; an item gets the clips of the
    first one after it with other recordings and another label. So the order of the items changes
    nothing, every clip is used about equally often, and one item more or less in the run changes
    what its neighbour hears and nothing else.

    Parameters
    ----------
    label : str, optional
        Field of the items' meta that must differ. None: `attribute` where an item has it, else
        the text of its right answer; items without either may be swapped with any.
    """

    label: str | None = None
    name: str = "swap"
    _known: list[tuple[object, int, Circle]] = field(
        default_factory=list, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        if self.label is not None and not isinstance(self.label, str):
            raise ConfigError(f"intervention.label={self.label!r} must name a field of the meta")

    def apply(self, sample: Sample, request: Request, context: Context) -> Request | Skip:
        """Each clip replaced by one of the other item's, which comes without earlier edits.

        Raises
        ------
        ConfigError
            No item has the field that `label` names.
        """
        own = _recordings(sample)
        if not own:
            return request
        others = self._circle(context).others(sample, self._label(sample))
        clips = next((o.audio for o in others if o.audio and own.isdisjoint(_recordings(o))), None)
        if clips is None:
            return Skip("no other item has another clip and another label")
        return change_clips(request, lambda _, number: AudioSource(clips[number % len(clips)]))

    def _circle(self, context: Context) -> Circle:
        for samples, seed, circle in self._known:
            if samples is context.samples and seed == context.seed:
                return circle
        if self.label and not any(self.label in s.meta for s in context.samples):
            raise ConfigError(f"intervention.label={self.label}: no item's meta has this field")
        labels = [self._label(s) for s in context.samples]
        circle = Circle(context.samples, labels, context.seed)
        self._known[:] = [(context.samples, context.seed, circle)]
        return circle

    def _label(self, sample: Sample) -> str | None:
        if self.label is not None or "attribute" in sample.meta:
            value = sample.meta.get(self.label or "attribute")
        else:
            value = next((c.text for c in sample.choices if c.label == sample.target), None)
        return None if value is None else " ".join(str(value).casefold().split())


def _alike(one: str | None, other: str | None) -> bool:
    return one is not None and one == other


def _rank(seed: int, identity: str) -> int:
    return derive(seed, "swap", identity)


def _recordings(sample: Sample) -> set[str]:
    """A part of a long recording is no other clip than another part of it."""
    return {c.path if isinstance(c, AudioRef) else c.content() for c in sample.audio}
