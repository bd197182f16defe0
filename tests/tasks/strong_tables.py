"""Strong captions and labelled clips for the tests of the temporal tasks."""

import csv
import random

import numpy as np
import soundfile

NOUNS = (
    *("dog", "cat", "bell", "train", "horn", "rain", "wind", "door", "phone", "drum"),
    *("siren", "engine", "bird", "voice", "clock", "saw", "fountain", "guitar", "hammer"),
)
ADVERBS = ("", "", " loudly", " in short bursts", " somewhere far beyond the hills and the river")


def recordings(n, seed=0):
    """Rows of `n` recordings: two to six sounds, apart, overlapping, together, some repeated."""
    rng = random.Random(seed)
    rows = []
    for i in range(n):
        onset, name = rng.uniform(0, 1), f"{i:04d}.wav"
        for noun in rng.sample(NOUNS, rng.randint(2, 6)):
            length = rng.choice([0.6, 1.0, 2.0, 4.5, 7.0])
            text = f"A {noun} is heard{rng.choice(ADVERBS)}."
            rows.append((name, text, repr(onset), repr(onset + length)))
            if rng.random() < 0.1:
                rows.append((name, text, repr(onset + 20), repr(onset + 21)))
            onset += rng.choice([0.0, 0.01, 0.5, length, length + 0.5, length + 1, length + 2])
    return rows


def save(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([("filename", "text", "onset", "offset"), *rows])
    return path


def tacos(folder, rows, rate=8000):
    """The layout of TACOS: `annotations_strong.csv` beside `audio/`."""
    save(folder / "annotations_strong.csv", rows)
    (folder / "audio").mkdir()
    for name in {row[0] for row in rows}:
        ends = [float(row[3]) for row in rows if row[0] == name]
        wave = 0.1 * np.sin(0.3 * np.arange(round((max(ends) + 1) * rate)))
        soundfile.write(folder / "audio" / name, wave, rate)
    return folder


def labelled(folder, labels=("dog_bark", "rain", "bell", "horn", "cat"), each=2, rate=16000):
    """`<label>/<file>`: a second of silence, a tone of some seconds, half a second of silence."""
    for k, label in enumerate(labels):
        (folder / label).mkdir(parents=True)
        for n in range(each):
            tone = np.sin(2 * np.pi * (300 + 170 * k) * np.arange(round((2 + n) * rate)) / rate)
            silence = [np.zeros(rate), 0.2 * tone, np.zeros(rate // 2)]
            soundfile.write(folder / label / f"{n}.wav", np.concatenate(silence), rate)
    return folder
