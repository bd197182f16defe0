"""The tagger and the language identifier: networks by path, options by words, clips by ear.

Networks here are made for the test: a tagger whose classes are bands of the spectrum, a Whisper
with random weights. `LALM_BENCH_TEST_YAMNET` (an ONNX file) and `LALM_BENCH_TEST_WHISPER` (a
folder) name the real ones.
"""

import os

import numpy as np
import pytest
import soundfile

from lalm_bench.errors import ConfigError, ModelError
from lalm_bench.models import yamnet
from lalm_bench.models.language_id import LanguageId
from lalm_bench.models.listener import CANNOT_TELL
from lalm_bench.models.tagger import Tagger
from lalm_bench.parsing import Parsed
from lalm_bench.tasks.sakura import Sakura
from lalm_bench.types import (
    Audio,
    AudioRef,
    AudioSource,
    Choice,
    Generation,
    Message,
    Request,
    Runtime,
    Text,
)
from tests.test_conf import experiment

RATE = 16_000
WORDS = {"dog": [70], "cat": [78, 79], "owl": [115]}


def request(path, *texts, clips=1, name="item"):
    heard = [Audio(AudioSource(AudioRef(str(path)))) for _ in range(clips)]
    choices = tuple(Choice("abcd"[n], text) for n, text in enumerate(texts))
    return Request(name, (Message("user", (*heard, Text("Which one?"))),), choices, key=name)


def answers(model, *requests):
    return [r.text for r in model.answer(requests)]


# ------------------------------------------------------------------ YAMNet's front end


def test_patches_cover_the_clip():
    for samples, count in ((1, 1), (15600, 1), (15601, 2), (RATE * 2, 4), (RATE * 10, 20)):
        cut = yamnet.patches(np.zeros(samples, np.float32))
        assert cut.shape == (count, 1, 96, 64)
        assert cut.dtype == np.float32
    late = np.zeros(RATE * 3, np.float32)
    late[-200:] = 0.5
    assert yamnet.patches(late)[-1].max() > yamnet.patches(late)[0].max()


def test_silence_is_the_floor_and_a_tone_its_band():
    assert yamnet.patches(np.zeros(RATE, np.float32)) == pytest.approx(np.log(1e-3))
    for hertz in (200.0, 1000.0, 4000.0):
        tone = np.sin(2 * np.pi * hertz * np.arange(RATE) / RATE).astype(np.float32)
        band = yamnet.patches(tone)[0, 0].mean(axis=0).argmax()
        edges = np.linspace(*1127 * np.log1p(np.array([125.0, 7500.0]) / 700), 66)
        mel = 1127 * np.log1p(hertz / 700)
        assert abs(edges[band + 1] - mel) <= edges[1] - edges[0]


def test_a_frame_equals_its_definition():
    wave = np.random.default_rng(0).standard_normal(RATE).astype(np.float32) * 0.1
    n, k = np.arange(400), np.arange(257)
    frame = wave[480:880] * (0.5 - 0.5 * np.cos(2 * np.pi * n / 400))
    magnitude = np.abs(np.exp(-2j * np.pi * np.outer(k, n) / 512) @ frame)
    mel = 1127 * np.log1p(k * 31.25 / 700)
    edges = np.linspace(*1127 * np.log1p(np.array([125.0, 7500.0]) / 700), 66)
    for band in (0, 31, 63):
        weights = np.interp(mel, edges[band : band + 3], [0, 1, 0])
        expected = np.log(weights @ magnitude + 1e-3)
        assert yamnet.patches(wave)[0, 0, 3, band] == pytest.approx(expected, abs=1e-4)


# ------------------------------------------------------------------ the tagger


def bands(path, quantised=False, classes=521):
    """A network whose classes 70, 78 and 115 are a low, a middle and a high band."""
    onnx = pytest.importorskip("onnx", reason="needs the extra listeners")
    pytest.importorskip("onnxruntime", reason="needs the extra listeners")
    from onnx import TensorProto, helper, numpy_helper

    weights = np.zeros((64, classes), np.float32)
    for number, band in ((70, slice(0, 15)), (78, slice(25, 40)), (115, slice(50, 64))):
        weights[band, number % classes] = 0.05
    tensors = {"weights": weights, "axes": np.array([1, 2], np.int64)}
    kind = TensorProto.UINT8 if quantised else TensorProto.FLOAT
    mean = helper.make_node("ReduceMean", ["heard", "axes"], ["profile"], keepdims=0)
    nodes = [mean, helper.make_node("MatMul", ["profile", "weights"], ["said"])]
    ends = ("heard", "said")
    if quantised:
        ends = ("patch", "scores")
        for end, scale, zero in (("patch", 0.048, 144), ("scores", 0.76, 190)):
            tensors[f"{end}_scale"] = np.array(scale, np.float32)
            tensors[f"{end}_zero"] = np.array(zero, np.uint8)
        taken = ["patch", "patch_scale", "patch_zero"]
        nodes.insert(0, helper.make_node("DequantizeLinear", taken, ["heard"]))
        given = ["said", "scores_scale", "scores_zero"]
        nodes.append(helper.make_node("QuantizeLinear", given, ["scores"]))
    graph = helper.make_graph(
        nodes,
        "bands",
        [helper.make_tensor_value_info(ends[0], kind, [1, 1, 96, 64])],
        [helper.make_tensor_value_info(ends[1], kind, [1, classes])],
        [numpy_helper.from_array(value, name) for name, value in tensors.items()],
    )
    opset = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), str(path))
    return path


@pytest.fixture
def tagger(tmp_path):
    model = Tagger(name="tagger", path=str(bands(tmp_path / "bands.onnx")), words=WORDS)
    assert model.missing() == []
    model.load(Runtime(workers=2))
    return model


def test_it_names_the_option_that_it_hears(tagger, wav):
    low, high = wav("low.wav", pitch=250), wav("high.wav", pitch=5000)
    asked = [request(f, *o) for f in (low, high) for o in (("dog", "owl"), ("an Owl.", "Dog"))]
    assert answers(tagger, *asked) == ["a", "b", "b", "a"]


def test_of_words_outside_its_map_it_cannot_tell(tagger, wav):
    low = wav("low.wav", pitch=250)
    asked = [
        request(low, "dog", "leash"),
        request(low),
        request(low, "dog", "owl", clips=2),
        request(low, "dog", "owl", clips=0),
    ]
    assert answers(tagger, *asked) == [CANNOT_TELL] * 4


def test_silence_gets_a_guess_and_a_broken_clip_an_error(tagger, tmp_path, wav):
    soundfile.write(tmp_path / "silent.wav", np.zeros(RATE), RATE)
    (tmp_path / "broken.wav").write_bytes(b"not audio\n")
    silent = request(tmp_path / "silent.wav", "dog", "owl")
    broken = request(tmp_path / "broken.wav", "dog", "owl", name="item7")
    guess, error, sound = tagger.answer([silent, broken, request(wav(), "dog", "owl")])
    assert guess.text in ("a", "b")
    assert (error.text, error.finish) == ("", "error")
    assert error.error.startswith("item7: ")
    assert "broken.wav" in error.error
    assert sound.finish == "stop"


def test_a_network_for_phones_is_run_in_float(tmp_path, wav):
    wave, _ = soundfile.read(wav("low.wav", pitch=250), dtype="float32")
    plain = yamnet.session(bands(tmp_path / "bands.onnx"))
    phone = yamnet.session(bands(tmp_path / "phone.onnx", quantised=True))
    heard = yamnet.probabilities(plain, wave)
    assert np.array_equal(yamnet.probabilities(phone, wave), heard)
    assert heard.shape == (521,)
    assert heard[[0, 1]] == pytest.approx(0.5)


def test_what_is_no_yamnet_is_refused(tmp_path):
    other = bands(tmp_path / "other.onnx", classes=100)
    with pytest.raises(ModelError, match=r"\(n, 521\) is needed"):
        yamnet.session(other)
    (tmp_path / "text.onnx").write_text("no network")
    with pytest.raises(ModelError, match="not readable as ONNX"):
        yamnet.session(tmp_path / "text.onnx")


def test_weights_map_and_place(tmp_path):
    one, two = bands(tmp_path / "one.onnx"), bands(tmp_path / "two.onnx")
    settings = {"name": "tagger", "words": WORDS}
    assert Tagger(path=str(one), **settings).identity() == (
        Tagger(path=str(two), **settings).identity()
    )
    fewer = Tagger(name="tagger", path=str(one), words={"dog": [70]})
    assert fewer.identity() != Tagger(path=str(one), **settings).identity()
    assert "add model.path=" in Tagger(**settings).missing()[-1]
    assert "is not there" in Tagger(path=str(tmp_path / "no.onnx"), **settings).missing()[-1]
    for classes in ([], [521], [-1], ["Dog"]):
        with pytest.raises(ConfigError, match=r"model\.words\.dog"):
            Tagger(name="tagger", words={"dog": classes})


def test_the_written_map_knows_the_animals_of_sakura():
    known = experiment("model=tagger").model.words
    assert {"cat", "cow", "crow", "dog", "frog", "hen", "pig", "rooster", "sheep"} <= known.keys()
    assert known["dog"][0] == 69
    assert 78 in known["cat"]


# ------------------------------------------------------------------ the language identifier


@pytest.fixture(scope="module")
def whisper(tmp_path_factory):
    """A Whisper of random weights that knows four languages."""
    import torch
    from transformers import (
        GenerationConfig,
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperForConditionalGeneration,
    )

    torch.manual_seed(0)
    sizes = {"encoder_layers": 1, "decoder_layers": 1}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
    feed = {"encoder_ffn_dim": 32, "decoder_ffn_dim": 32}
    special = dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id"), 1)
    network = WhisperForConditionalGeneration(
        WhisperConfig(
            vocab_size=64, d_model=16, **sizes, **heads, **feed, **special, decoder_start_token_id=2
        )
    )
    languages = {"<|en|>": 10, "<|de|>": 11, "<|fr|>": 12, "<|ja|>": 13}
    network.generation_config = GenerationConfig(
        lang_to_id=languages, is_multilingual=True, decoder_start_token_id=2
    )
    folder = tmp_path_factory.mktemp("whisper")
    network.save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=80).save_pretrained(folder)
    return folder


@pytest.fixture
def language_id(whisper):
    model = LanguageId(name="language_id", path=str(whisper))
    assert model.missing() == []
    model.load(Runtime(workers=2, device="cpu"))
    return model


def test_the_language_is_named_by_name_or_code_wherever_it_stands(language_id, wav):
    clip = wav()
    names = ["English", "german", "French", "Japanese"]
    said = [names["abcd".index(answers(language_id, request(clip, *names))[0])]]
    turned = names[1:] + names[:1]
    said.append(turned["abcd".index(answers(language_id, request(clip, *turned))[0])])
    codes = {"en": "English", "de": "german", "fr": "French", "ja": "Japanese"}
    said.append(codes[list(codes)["abcd".index(answers(language_id, request(clip, *codes))[0])]])
    assert len(set(said)) == 1
    pair = [name for name in names if name != said[0]][:2]
    assert answers(language_id, request(clip, *pair))[0] in ("a", "b")


def test_scores_are_those_of_the_first_token_after_the_start(language_id, whisper, wav):
    import torch
    from transformers import WhisperFeatureExtractor, WhisperForConditionalGeneration

    wave, rate = soundfile.read(wav(seconds=2), dtype="float32")
    network = WhisperForConditionalGeneration.from_pretrained(whisper)
    features = WhisperFeatureExtractor()(wave, sampling_rate=rate, return_tensors="pt")
    with torch.no_grad():
        found = network.detect_language(features["input_features"])
    scores = language_id._score(wave, [10, 11, 12, 13])
    assert 10 + scores.argmax() == int(found)


def test_what_is_no_language_it_cannot_tell(language_id, wav):
    asked = [request(wav(), "English", "TOEFL"), request(wav(), "English", "Klingon")]
    assert answers(language_id, *asked) == [CANNOT_TELL] * 2


def test_what_is_past_the_window_is_counted(language_id, wav):
    long, short = wav("long.wav", 32.5), wav("short.wav", 1.0)
    options = ("English", "German")
    heard = list(language_id.answer([request(long, *options), request(short, *options)]))
    assert [r.usage["truncated_s"] for r in heard] == [2.5, 0.0]


def test_an_english_whisper_is_refused(whisper, tmp_path):
    import shutil

    shutil.copytree(whisper, tmp_path / "en")
    (tmp_path / "en" / "generation_config.json").unlink()
    with pytest.raises(ModelError, match="take a multilingual Whisper"):
        LanguageId(name="l", path=str(tmp_path / "en")).load(Runtime(device="cpu"))
    assert "nowhere" in LanguageId(name="l", path=str(tmp_path / "nowhere")).missing()[0]


# ------------------------------------------------------------------ real weights, real recordings


def right(model, track, shared_data):
    task = Sakura(
        name="sakura",
        prompt="{question} {choices}",
        parser=lambda text, choices: Parsed(text, "exact"),
        root=str(shared_data / "sakura"),
        track=track,
        hop="single",
    )
    samples = list(task.samples())
    asked = [r for s in samples for r in task.requests(s, Generation())]
    model.load(Runtime(workers=2))
    given = {r.sample_id: r.text for r in model.answer(asked)}
    return sum(given[s.id] == s.target for s in samples) / len(samples)


@pytest.mark.parametrize(
    ("variable", "model", "track", "least"),
    [
        ("LALM_BENCH_TEST_YAMNET", "tagger", "animal", 0.9),
        ("LALM_BENCH_TEST_WHISPER", "language_id", "language", 0.9),
    ],
)
def test_they_hear_real_recordings(variable, model, track, least, shared_data):
    if variable not in os.environ:
        pytest.skip(f"no weights (set {variable})")
    built = experiment(f"model={model}", f"model.path={os.environ[variable]}").model
    assert right(built, track, shared_data) >= least
