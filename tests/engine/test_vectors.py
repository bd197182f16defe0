"""Encoded audio, kept: bounds, order, other processes, damage."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lalm_bench.engine.vectors import EncodedAudio
from tests.conftest import ROOT, environment

CPU = torch.device("cpu")


def vectors(number, rows=4):
    """16 bytes a row."""
    return torch.full((rows, 4), float(number))


def kept(cache, names):
    return [name for name in names if cache.get(name, CPU) is not None]


def files(folder):
    return sorted(folder.rglob("*.safetensors"))


def test_what_is_kept_comes_back():
    cache = EncodedAudio("m", 1000)
    assert cache.get("a", CPU) is None
    cache.put("a", vectors(1))
    assert torch.equal(cache.get("a", CPU), vectors(1))


def test_memory_forgets_what_was_used_longest_ago():
    cache = EncodedAudio("m", 3 * 64)
    for number, name in enumerate("abc"):
        cache.put(name, vectors(number))
    assert cache.get("a", CPU) is not None
    cache.put("d", vectors(3))
    assert kept(cache, "abcd") == ["a", "c", "d"]
    cache.put("e", vectors(4, rows=8))
    assert kept(cache, "abcde") == ["d", "e"]
    cache.put("huge", vectors(5, rows=13))
    assert kept(cache, ["d", "e", "huge"]) == ["d", "e"]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abcdefg"), st.integers(1, 9)), max_size=40))
def test_memory_never_holds_more_than_allowed(puts):
    cache = EncodedAudio("m", 10 * 16)
    for name, rows in puts:
        cache.put(name, vectors(0, rows))
        held = [tensor for n in "abcdefg" if (tensor := cache.get(n, CPU)) is not None]
        assert sum(t.numel() * t.element_size() for t in held) <= 160
        assert cache.get(name, CPU) is not None


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_another_object_finds_them_on_disk(tmp_path, dtype):
    sound = torch.randn(7, 5).to(dtype)
    EncodedAudio("m", 1000, tmp_path, 10_000).put("a", sound)
    found = EncodedAudio("m", 1000, tmp_path, 10_000).get("a", CPU)
    assert found.dtype == dtype
    assert torch.equal(found, sound)
    assert EncodedAudio("m", 1000).get("a", CPU) is None
    assert not list(tmp_path.rglob("*.partial"))


def test_vectors_that_are_a_part_of_a_batch_are_stored_alone(tmp_path):
    batch = torch.randn(50, 6, 4).transpose(0, 1)
    EncodedAudio("m", 0, tmp_path, 10_000).put("a", batch[2][::2])
    assert torch.equal(EncodedAudio("m", 0, tmp_path, 10_000).get("a", CPU), batch[2][::2])
    (file,) = files(tmp_path)
    assert file.stat().st_size < 25 * 4 * 4 + 200


def test_another_model_does_not_find_them(tmp_path):
    EncodedAudio("one", 1000, tmp_path, 10_000).put("a", vectors(1))
    other = EncodedAudio("other", 1000, tmp_path, 10_000)
    assert other.get("a", CPU) is None
    other.put("a", vectors(2))
    assert torch.equal(EncodedAudio("one", 1000, tmp_path, 10_000).get("a", CPU), vectors(1))
    # The name of one and the audio of the other must not run into each other.
    EncodedAudio("one\nb", 0, tmp_path, 10_000).put("c", vectors(3))
    assert EncodedAudio("one", 0, tmp_path, 10_000).get("b", CPU) is None


def test_found_on_disk_they_are_kept_in_memory(tmp_path):
    EncodedAudio("m", 1000, tmp_path, 10_000).put("a", vectors(1))
    cache = EncodedAudio("m", 1000, tmp_path, 10_000)
    cache.get("a", CPU)
    for file in files(tmp_path):
        file.unlink()
    assert torch.equal(cache.get("a", CPU), vectors(1))


@pytest.mark.parametrize("damage", [b"", b"nonsense", None])
def test_a_damaged_file_is_as_good_as_none_and_is_replaced(tmp_path, damage):
    EncodedAudio("m", 0, tmp_path, 10_000).put("a", vectors(1))
    (file,) = files(tmp_path)
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2] if damage is None else damage)
    cache = EncodedAudio("m", 0, tmp_path, 10_000)
    assert cache.get("a", CPU) is None
    cache.put("a", vectors(1))
    assert torch.equal(EncodedAudio("m", 0, tmp_path, 10_000).get("a", CPU), vectors(1))


def test_the_folder_forgets_the_files_used_longest_ago(tmp_path):
    cache = EncodedAudio("m", 0, tmp_path, 3 * 16_000 + 1000)
    for age, name in enumerate("abc"):
        cache.put(name, vectors(age, rows=1000))
        (new,) = [f for f in files(tmp_path) if f.stat().st_mtime > 1_000_000]
        os.utime(new, (1000 + age, 1000 + age))
    assert cache.get("a", CPU) is not None
    cache.put("d", vectors(3, rows=1000))
    assert kept(EncodedAudio("m", 0, tmp_path, 10**9), "abcd") == ["a", "c", "d"]


@pytest.mark.parametrize("rows", [1, 40, 300])
def test_the_folder_never_holds_more_than_allowed(tmp_path, rows):
    allowed = 20_000
    cache = EncodedAudio("m", 0, tmp_path, allowed)
    for number in range(60):
        cache.put(str(number), vectors(number, rows))
        assert sum(f.stat().st_size for f in files(tmp_path)) <= allowed
    assert cache.get("59", CPU) is not None
    cache.put("huge", vectors(0, rows=2000))
    assert cache.get("huge", CPU) is None


def test_neighbours_in_the_folder_are_reckoned_with(tmp_path):
    allowed = 40_000
    caches = [EncodedAudio("m", 0, tmp_path, allowed) for _ in range(4)]
    for number in range(200):
        caches[number % 4].put(str(number), vectors(number, rows=20))
        # Each may write a little before it looks again.
        assert sum(f.stat().st_size for f in files(tmp_path)) <= allowed * (1 + 4 / 16)


WRITER = """
import sys
from pathlib import Path
import torch
from lalm_bench.engine.vectors import EncodedAudio
mine, folder, allowed = int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
cache = EncodedAudio("m", 0, folder, allowed)
print("ready", flush=True)
sys.stdin.readline()
wrong = 0
for n in range(150):
    # Half of the clips are both processes' own business.
    name = n if n % 2 else n + 1000 * mine
    expected = torch.full((100, 4), float(name))
    cache.put(str(name), expected)
    for other in (name, n - 1, n - 2 + 1000 * (1 - mine)):
        found = cache.get(str(other), torch.device("cpu"))
        wrong += found is not None and not torch.equal(found, torch.full((100, 4), float(other)))
print("wrong", wrong)
"""


@pytest.mark.parametrize("allowed", [10**7, 60_000])
def test_two_processes_write_at_once(tmp_path, allowed):
    command = [sys.executable, "-c", WRITER]
    pair = [
        subprocess.Popen(
            [*command, str(i), str(tmp_path), str(allowed)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(ROOT),
        )
        for i in range(2)
    ]
    assert [p.stdout.readline() for p in pair] == ["ready\n"] * 2
    for process in pair:
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [p.communicate(timeout=60) for p in pair]
    assert [(p.returncode, out, err) for p, (out, err) in zip(pair, said, strict=True)] == [
        (0, "wrong 0\n", "")
    ] * 2
    assert not list(tmp_path.rglob("*.partial"))
    cache = EncodedAudio("m", 0, tmp_path, allowed)
    names = [n if n % 2 else n + 1000 * mine for mine in (0, 1) for n in range(150)]
    found = [n for n in names if (v := cache.get(str(n), CPU)) is not None and v[0, 0] == n]
    assert len(found) == len([n for n in names if cache.get(str(n), CPU) is not None])
    size = sum(f.stat().st_size for f in files(tmp_path))
    if allowed > 10**6:
        assert len(found) == 300
    else:
        assert size <= allowed * (1 + 2 / 16)
