"""Reading prompts: together or in shared beginnings, the logits are those of whole prompts."""

from __future__ import annotations

import pytest
import torch

from lalm_bench.engine.listening import positions
from lalm_bench.engine.prefill import Reader, Row, tokens_of
from lalm_bench.types import Audio, AudioRef, AudioSource, Message, Request, Text

ENDS = (
    "What?",
    "Which event comes next?",
    "Choose exactly one option. A) a dog B) a car passes C) rain falls " * 6,
    "Return only the option label from: A, B, C, D. " * 3,
)
# Every way in: merged before the language model or inside it, low-rank weights, three axes of
# position, sliding windows, token types.
FAMILIES = ("qwen2_audio", "qwen2_5_omni", "voxtral", "music_flamingo", "phi4_multimodal")
SLIDING = ("gemma3n", "gemma4")


def request(path, end, begin=""):
    parts = (Text(begin), Audio(AudioSource(AudioRef(path))), Text(end))
    return Request("q", (Message("user", parts[0 if begin else 1 :]),), key="q")


@pytest.fixture
def rows_of(loaded, plain, featured):
    """`rows_of(family, requests)`: a fresh reader, rows, and the logits that they should give."""

    def make(family, requests):
        model = loaded(family)
        listener = model._listener
        rows = []
        for item in map(model._prepare, requests):
            vectors = listener.encode([item.inputs])[0]
            rows.append(Row(tokens_of(item.inputs), vectors, item.audio))
        reader = Reader(model.network, listener, model.resident.decoder.facts.pad)
        return reader, rows, plainly(plain(family), [featured(family, r) for r in requests])

    return make


def plainly(network, inputs):
    """Logits after the last token, by the family's own forward pass over single items."""
    with torch.inference_mode():
        return torch.cat([network(**item).logits[:, -1] for item in inputs])


def assert_near(logits, expected):
    """Within 1e-5 of the largest logit."""
    assert torch.isfinite(logits).all()
    bound = 1e-5 * float(expected.detach().abs().max())
    torch.testing.assert_close(logits, expected, rtol=0, atol=bound)


@pytest.mark.parametrize("family", [*FAMILIES, *SLIDING])
def test_shared_beginnings_give_the_logits_of_whole_prompts(rows_of, clips, family):
    requests = [request(clips[path], end) for end in ENDS for path in (2, 0)]
    reader, rows, whole = rows_of(family, requests)
    assert_near(reader.read(rows, share=False).logits, whole)
    all_tokens = reader.tokens
    assert reader.may_share == (family not in SLIDING)
    shared = reader.read(rows, share=reader.may_share)
    twice = 0 if family in SLIDING else 3 * sum(beginning(reader, row) for row in rows[:2])
    assert reader.tokens - all_tokens == all_tokens - twice
    assert_near(shared.logits, whole)
    assert torch.equal(shared.mask.sum(1), torch.tensor([len(row) for row in rows]))


def beginning(reader, row):
    """Tokens up to the end of the audio."""
    return 1 + int((row.tokens["input_ids"][0] == reader._listener.token).nonzero()[-1])


@pytest.mark.parametrize(
    ("heard", "pays"),
    [("a", False), ("aa", True), ("aba", False), ("abab", True), ("abca", False)],
)
def test_beginnings_are_shared_exactly_when_it_pays(rows_of, clips, heard, pays):
    requests = [request(clips["abc".index(clip)], ENDS[i]) for i, clip in enumerate(heard)]
    reader, rows, whole = rows_of("qwen2_audio", requests)
    logits = reader.read(rows).logits
    assert (reader.tokens < sum(map(len, rows))) == pays
    assert_near(logits, whole)


def test_other_words_before_the_audio_are_another_beginning(rows_of, clips):
    begins = ("Listen: ", "Hear this: ")
    different = [request(clips[0], ENDS[i], f"{i}: ") for i in range(4)]
    reader, rows, whole = rows_of("qwen2_audio", different)
    assert_near(reader.read(rows).logits, whole)
    assert reader.tokens == sum(map(len, rows))

    twice = [request(clips[0], end, begin) for end in ENDS[:3] for begin in begins]
    reader, rows, whole = rows_of("qwen2_audio", twice)
    assert_near(reader.read(rows).logits, whole)
    twice = 2 * sum(beginning(reader, row) for row in rows[:2])
    assert reader.tokens == sum(map(len, rows)) - twice


def test_prompts_that_end_with_the_audio_are_read_whole(rows_of, plain, featured, clips):
    asked = request(clips[0], "What?")
    reader, rows, _ = rows_of("qwen2_audio", [asked] * 3)
    size = beginning(reader, rows[0])
    cut = [Row(row.cut(0, size).tokens, row.vectors, row.audio) for row in rows]
    logits = reader.read(cut).logits
    assert reader.tokens == 3 * size
    features = featured("qwen2_audio", asked)
    features |= {name: features[name][:, :size] for name in cut[0].tokens}
    assert_near(logits, plainly(plain("qwen2_audio"), [features] * 3))


def test_rows_that_hear_nothing_are_read_whole(rows_of, plain, featured, clips, ask):
    reader, rows, whole = rows_of("qwen2_audio", [request(clips[0], end) for end in ENDS])
    mute = featured("qwen2_audio", ask("mute", "What?"))
    logits = reader.read([*rows, Row(tokens_of(mute))]).logits
    assert reader.tokens == sum(map(len, rows)) + mute["input_ids"].shape[1]
    assert_near(logits, torch.cat([whole, plainly(plain("qwen2_audio"), [mute])]))


def test_a_read_prompt_can_be_continued_again_and_again(loaded):
    llama = loaded("tiny_llama").resident
    reader = Reader(llama.network, None, 0)

    def row(text):
        ids = torch.tensor([llama.tokenizer(text)["input_ids"]])
        return Row({"input_ids": ids, "attention_mask": torch.ones_like(ids)})

    begins, ends = ("Which event?", "a dog barks B)"), ("A", " a car passes", " rain")
    past = reader.read([row(text) for text in begins])
    before = [layer.keys.clone() for layer in past.cache.layers]
    which = torch.tensor([1, 0, 1])
    for keep in (1, 2):
        got = reader.extend(past, which, [row(end) for end in ends], keep)
        for number, end in enumerate(ends):
            both = (row(begins[which[number]]), row(end))
            whole = torch.cat([r.tokens["input_ids"] for r in both], dim=1)
            with torch.inference_mode():
                expected = llama.network(whole).logits[0, -keep:]
            last = got.logits[number] if keep > 1 else got.logits[number : number + 1]
            seen = min(keep, len(row(end)))
            assert_near(last[-seen:], expected[-seen:])
    assert all(
        torch.equal(layer.keys, keys) for layer, keys in zip(past.cache.layers, before, strict=True)
    )


def test_padding_is_counted(loaded):
    llama = loaded("tiny_llama").resident
    reader = Reader(llama.network, None, 0)
    tensors = [torch.ones(1, tokens, dtype=torch.long) for tokens in (2, 7, 3)]
    ones = [Row({"input_ids": tensor, "attention_mask": tensor}) for tensor in tensors]
    reader.read(ones)
    reader.read(ones[:1])
    assert (reader.tokens, reader.tokens_padded) == (12 + 2, 21 + 2)


@pytest.mark.parametrize("fails", ["network", "vectors"])
def test_hooks_go_when_reading_fails(rows_of, clips, monkeypatch, fails):
    reader, rows, _ = rows_of("qwen2_audio", [request(clips[0], "What?")])
    before = hooks(reader._network)
    if fails == "network":
        monkeypatch.setattr(reader._network.get_decoder(), "forward", _broken)
    else:
        rows = [Row(rows[0].tokens, rows[0].vectors[:5], rows[0].audio)]
    with pytest.raises(RuntimeError):
        reader.read(rows)
    assert hooks(reader._network) == before


def hooks(network):
    return [
        (name, len(module._forward_hooks), len(module._forward_pre_hooks))
        for name, module in network.named_modules()
    ]


def _broken(*args, **kwargs):
    raise RuntimeError("out of order")


def test_positions_do_not_count_padding():
    mask = torch.tensor([[0, 0, 1, 1], [1, 1, 1, 1], [1, 0, 0, 1]])
    assert positions(mask).tolist() == [[0, 0, 0, 1], [0, 1, 2, 3], [0, 0, 0, 1]]


def test_cutting_a_row_leaves_the_audio_with_its_beginning():
    tokens = {"input_ids": torch.arange(6)[None], "attention_mask": torch.ones(1, 6)}
    row = Row(tokens, torch.ones(2, 3), "clip")
    begin, end = row.cut(0, 4), row.cut(4, 6)
    assert (len(begin), len(end)) == (4, 2)
    assert begin.vectors is row.vectors
    assert end.vectors is None
    assert end.tokens["input_ids"].tolist() == [[4, 5]]
