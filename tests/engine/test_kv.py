"""Keys and values in place: copies of rows, parts joined on the right, steps, room."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lalm_bench.engine.kv import Prefilled, Slab, growing, joined

HEADS, SIZE, LAYERS, VOCABULARY = 2, 4, 3, 5


def prefilled(rows, tokens, seed=0):
    """Random keys and values under a mask with padding on the left."""
    draw = torch.Generator().manual_seed(seed)
    cache = growing()
    for number in range(LAYERS):
        pair = torch.randn(2, rows, HEADS, tokens, SIZE, generator=draw)
        cache.update(pair[0], pair[1], number)
    padding = torch.randint(0, tokens, (rows, 1), generator=draw)
    mask = (torch.arange(tokens) >= padding).long()
    return Prefilled(cache, mask, torch.randn(rows, VOCABULARY, generator=draw))


def contents(past):
    return [(layer.keys.clone(), layer.values.clone()) for layer in past.cache.layers]


@pytest.fixture
def _unwritten_memory_is_nan():
    """Memory that nobody has written holds NaN, and whatever reads it shows."""
    before = torch.utils.deterministic.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = True
    assert torch.empty(3).isnan().all()
    yield
    torch.utils.deterministic.fill_uninitialized_memory = before
    torch.use_deterministic_algorithms(False)


def test_a_growing_cache_keeps_what_came_first_without_a_copy():
    cache, keys, values = growing(), torch.ones(1, 2, 3, 4), torch.ones(1, 2, 3, 4)
    assert cache.update(keys, values, 0)[0].data_ptr() == keys.data_ptr()
    longer, _ = cache.update(2 * keys[:, :, :1], 2 * values[:, :, :1], 0)
    assert longer[0, 0, :, 0].tolist() == [1, 1, 1, 2]
    assert cache.get_seq_length() == 4


def test_rows_are_copied_in_the_order_asked_and_may_repeat():
    past = prefilled(3, 4)
    before = contents(past)
    copy = past.rows(torch.tensor([2, 0, 2, 2]))
    for layer, (keys, values) in zip(copy.cache.layers, before, strict=True):
        assert torch.equal(layer.keys, keys[[2, 0, 2, 2]])
        assert torch.equal(layer.values, values[[2, 0, 2, 2]])
    assert torch.equal(copy.mask, past.mask[[2, 0, 2, 2]])
    assert torch.equal(copy.logits, past.logits[[2, 0, 2, 2]])
    for number in range(LAYERS):
        copy.cache.update(torch.ones(4, HEADS, 1, SIZE), torch.ones(4, HEADS, 1, SIZE), number)
        copy.cache.layers[number].keys.zero_()
    for layer, (keys, values) in zip(past.cache.layers, before, strict=True):
        assert torch.equal(layer.keys, keys)
        assert torch.equal(layer.values, values)


@pytest.mark.usefixtures("_unwritten_memory_is_nan")
@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 3), st.integers(1, 9)), min_size=1, max_size=4),
    st.integers(0, 5),
)
def test_joined_parts_end_in_one_column_and_nothing_is_unwritten(sizes, room):
    parts = [prefilled(rows, tokens, seed) for seed, (rows, tokens) in enumerate(sizes)]
    before = [(contents(part), part.mask.clone()) for part in parts]
    longest = max(tokens for _, tokens in sizes)
    index = torch.tensor([longest])
    cache, mask = joined(parts, room, index)
    assert mask.shape == (sum(rows for rows, _ in sizes), longest + room)
    assert not mask[:, longest:].any()
    for number, layer in enumerate(cache.layers):
        assert layer.index is index
        for buffer, which in ((layer.keys, 0), (layer.values, 1)):
            assert buffer.shape == (len(mask), HEADS, longest + room, SIZE)
            assert buffer.isfinite().all()
            row = 0
            for (pairs, held), (rows, tokens) in zip(before, sizes, strict=True):
                part = buffer[row : row + rows]
                assert torch.equal(part[:, :, longest - tokens : longest], pairs[number][which])
                assert not part[:, :, : longest - tokens].any()
                assert torch.equal(mask[row : row + rows, longest - tokens : longest], held)
                assert not mask[row : row + rows, : longest - tokens].any()
                row += rows
            assert not buffer[:, :, longest:].any()
    assert all(layer.keys is None is layer.values for p in parts for layer in p.cache.layers)


def test_a_step_writes_one_token_in_every_row_where_the_index_points():
    index = torch.tensor([3])
    slab = Slab(torch.zeros(2, HEADS, 6, SIZE), torch.zeros(2, HEADS, 6, SIZE), index)
    place, new = slab.keys.data_ptr(), torch.randn(2, 2, HEADS, 1, SIZE)
    keys, values = slab.update(new[0], new[1])
    assert keys.data_ptr() == slab.keys.data_ptr() == place
    assert torch.equal(keys[:, :, 3:4], new[0])
    assert torch.equal(values[:, :, 3:4], new[1])
    index += 1
    slab.update(2 * new[0], 2 * new[1])
    assert torch.equal(slab.keys[:, :, 3:5], torch.cat([new[0], 2 * new[0]], dim=2))
    assert not slab.keys[:, :, :3].any()
    assert not slab.keys[:, :, 5:].any()
    assert (slab.get_seq_length(), slab.get_mask_sizes(1)) == (6, (6, 0))


@pytest.mark.parametrize("room", [0, 5])
@pytest.mark.parametrize("rows", [None, [2, 0]])
def test_a_slab_keeps_the_rows_that_stay_and_makes_room_behind_them(rows, room):
    held = torch.randn(2, 3, HEADS, 4, SIZE)
    slab = Slab(held[0], held[1], torch.tensor([4]))
    kept = slab.resized(None if rows is None else torch.tensor(rows), room)
    wanted = [0, 1, 2] if rows is None else rows
    assert kept.index is slab.index
    for buffer, source in ((kept.keys, held[0]), (kept.values, held[1])):
        assert buffer.shape == (len(wanted), HEADS, 4 + room, SIZE)
        assert torch.equal(buffer[:, :, :4], source[wanted])
        assert not buffer[:, :, 4:].any()
