"""Tiny checkpoints, built once in a test session when first asked for."""

from __future__ import annotations

import numpy as np
import pytest

from lalm_bench.types import Audio, AudioRef, AudioSource, Message, Request, Text
from tests import tiny


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """`checkpoint(family)` is the folder of a tiny checkpoint; leave it unchanged."""
    import torch

    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("tiny")
    built = {}

    def of(family):
        if family not in built:
            lacks = tiny.lacking(family)
            if lacks:
                pytest.skip(f"{family} needs {', '.join(lacks)}: make test installs it")
            built[family] = tiny.build(family, root)
        return built[family]

    return of


@pytest.fixture(scope="session")
def clips(tmp_path_factory):
    """Four recordings of different length (0.8, 5.1, 2.3 and 9.7 s) and sound."""
    import soundfile

    root = tmp_path_factory.mktemp("clips")
    rng = np.random.default_rng(3)
    paths = []
    for i, seconds in enumerate((0.8, 5.1, 2.3, 9.7)):
        t = np.arange(round(seconds * 16000)) / 16000
        wave = 0.2 * np.sin(2 * np.pi * 190 * (i + 1) * t + 3 * np.sin(5 * t))
        path = root / f"clip{i}.wav"
        soundfile.write(path, wave + 0.02 * rng.standard_normal(len(t)), 16000)
        paths.append(str(path))
    return paths


@pytest.fixture(scope="session")
def ask():
    """`ask(name, text, *paths, **fields)`: a request with one user turn, the clips first."""

    def make(name, text, *paths, **fields):
        heard = [Audio(AudioSource(AudioRef(str(path)))) for path in paths]
        messages = (Message("user", (*heard, Text(text))),)
        return Request(name, messages, key=name, **fields)

    return make
