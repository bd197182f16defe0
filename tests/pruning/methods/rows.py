"""Random rows of text and audio, as a method sees them."""

from dataclasses import dataclass

import torch
from hypothesis import settings
from hypothesis import strategies as st

from lalm_bench.pruning.contracts import Seen

# First calls into torch are slow, and so is a machine that others use.
patient = settings(deadline=None, max_examples=60)


@dataclass(frozen=True)
class Drawn:
    """A row and the columns of its audio, in one span or several."""

    seen: Seen
    audio: torch.Tensor

    def __len__(self):
        return len(self.audio)


def row(spans, seed=0, groups=2, heads=4, size=8, window=0, whole_numbers=False, **facts):
    """A row of `spans` (text tokens, audio tokens), the last usually without audio."""
    columns, tokens = [], 0
    for text, audio in spans:
        columns += range(tokens + text, tokens + text + audio)
        tokens += text + audio
    generator = torch.Generator().manual_seed(seed)

    def drawn(*shape):
        values = torch.randn(*shape, generator=generator)
        return values.round() if whole_numbers else values

    asking = min(window or tokens, tokens)
    # A part of each head turns, as in some models; cosines and sines are scaled, as in others.
    turned = size if size % 4 else size // 2
    angles = torch.arange(tokens)[:, None] / 3.0 ** torch.arange(turned // 2)
    angles = torch.cat([angles, angles], dim=1)
    seen = Seen(
        tokens,
        seed,
        hidden=drawn(tokens, 12),
        normed=drawn(tokens, 12),
        keys=drawn(groups, tokens, size),
        values=drawn(groups, tokens, size),
        queries=drawn(heads, tokens, size)[:, tokens - asking :],
        rotary=(1.3 * angles.cos(), 1.3 * angles.sin()),
        **{"scaling": size**-0.5, **facts},
    )
    return Drawn(seen, torch.tensor(columns, dtype=torch.long))


@st.composite
def rows(draw, least_audio=1, size=None, **settings):
    """Rows with one to three spans; text before, between and after may be empty."""
    spans = draw(
        st.lists(st.tuples(st.integers(0, 5), st.integers(0, 14)), min_size=1, max_size=3).filter(
            lambda spans: sum(audio for _, audio in spans) >= least_audio
        )
    )
    tail = draw(st.integers(0, 8))
    groups, share = draw(st.sampled_from([(1, 1), (1, 3), (2, 1), (2, 2), (3, 2)]))
    return row(
        [*spans, (tail, 0)],
        draw(st.integers(0, 2**31)),
        groups,
        groups * share,
        size or draw(st.sampled_from([2, 8])),
        **{
            name: draw(s) if isinstance(s, st.SearchStrategy) else s for name, s in settings.items()
        },
    )
