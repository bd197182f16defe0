"""Messages in the forms of templates."""

from __future__ import annotations

import base64
import io

import numpy as np
import soundfile

from lalm_bench.models import chat
from lalm_bench.types import Audio, AudioRef, AudioSource, Message, Text

CLIP = Audio(AudioSource(AudioRef("a.wav")))
SYSTEM = Message("system", (Text("Be brief."),))
USER = Message("user", (CLIP, Text("What?")))


def test_system_text_moves_in_front_of_the_first_user_turn():
    folded = chat.fold_system([SYSTEM, USER, Message("assistant", (Text("A"),)), USER])
    assert [m.role for m in folded] == ["user", "assistant", "user"]
    assert folded[0].parts == (Text("Be brief."), Text("\n\n"), CLIP, Text("What?"))
    assert folded[2] == USER


def test_messages_without_a_system_turn_stay_as_they_are():
    assert chat.fold_system([USER]) == [USER]


def test_a_system_turn_alone_becomes_a_user_turn():
    assert chat.fold_system([SYSTEM]) == [Message("user", (Text("Be brief."),))]


def test_clips_are_handed_out_in_order_and_in_their_pieces():
    waves = [[np.zeros(1)], [np.ones(2), np.ones(3)]]
    turns = chat.spoken([USER, SYSTEM, USER], waves, chat.array_part)
    assert [t["role"] for t in turns] == ["user", "system", "user"]
    heard = [[len(p["audio"]) for p in t["content"] if p["type"] == "audio"] for t in turns]
    assert heard == [[1], [], [2, 3]]
    for turn in (turns[0], turns[2]):
        assert turn["content"][-1] == {"type": "text", "text": "What?"}


def test_base64_carries_the_samples_without_loss():
    wave = np.random.default_rng(0).uniform(-1, 1, 500).astype(np.float32)
    part = chat.base64_part(wave, 16000)
    back, rate = soundfile.read(io.BytesIO(base64.b64decode(part["base64"])), dtype="float32")
    assert rate == 16000
    np.testing.assert_array_equal(back, wave)


def test_written_turns_drop_audio():
    assert chat.written([SYSTEM, USER]) == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What?"},
    ]


def test_a_plain_prompt_ends_where_the_answer_starts():
    assert chat.plain([SYSTEM, USER]) == "Be brief.\nWhat?\nAnswer:"
