"""YAMNet: 521 sound classes from log-mel patches (Plakal and Ellis, 2019).

The network comes as ONNX from a path. One that was quantised for a phone is run in its float
weights: what rounds activations to eight bits is taken out.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from lalm_bench.errors import ModelError, one_line

RATE = 16_000
CLASSES = 521
_WINDOW, _HOP, _FFT = 400, 160, 512
_MELS, _LOWEST_HZ, _HIGHEST_HZ = 64, 125.0, 7500.0
_FLOOR = 1e-3
_FRAMES, _PATCH_HOP = 96, 48


def patches(wave: np.ndarray) -> np.ndarray:
    """Log-mel patches of 0.96 s, one every 0.48 s; the clip is padded with zeros to fill the last.

    Parameters
    ----------
    wave : numpy.ndarray
        float32, shape (samples,), 16 kHz, [-1, 1].

    Returns
    -------
    numpy.ndarray
        float32, shape (patches, 1, 96, 64).
    """
    frames = max(0, -(-(len(wave) - _WINDOW) // _HOP)) + 1
    count = max(0, -(-(frames - _FRAMES) // _PATCH_HOP)) + 1
    frames = _FRAMES + (count - 1) * _PATCH_HOP
    padded = np.zeros(_WINDOW + (frames - 1) * _HOP, np.float32)
    padded[: len(wave)] = wave[: len(padded)]
    windows = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::_HOP]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_WINDOW) / _WINDOW)
    magnitude = np.abs(np.fft.rfft(windows * hann, _FFT))
    log_mel = np.log(magnitude @ _mel_matrix() + _FLOOR).astype(np.float32)
    starts = np.arange(count) * _PATCH_HOP
    cut: np.ndarray = log_mel[starts[:, None] + np.arange(_FRAMES)][:, None]
    return cut


@cache
def _mel_matrix() -> np.ndarray:
    """Triangles on the HTK mel scale, shape (257, 64)."""

    def mel(hertz: Any) -> Any:
        return 1127.0 * np.log1p(np.asarray(hertz) / 700.0)

    bins = mel(np.linspace(0, RATE / 2, _FFT // 2 + 1))[:, None]
    edges = np.linspace(mel(_LOWEST_HZ), mel(_HIGHEST_HZ), _MELS + 2)
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    triangles = np.minimum((bins - low) / (centre - low), (high - bins) / (high - centre))
    matrix: np.ndarray = np.maximum(triangles, 0.0)
    matrix[0] = 0.0
    return matrix


def session(path: Path) -> Any:
    """An onnxruntime session that takes one patch (1, 1, 96, 64) and gives logits (1, 521).

    Raises
    ------
    ModelError
        The packages are not installed, or the file is no YAMNet over log-mel patches.
    """
    try:
        import onnx
        import onnxruntime  # type: ignore[import-untyped,unused-ignore]
        from google.protobuf.message import DecodeError  # type: ignore[import-untyped,unused-ignore]
        from onnxruntime.capi import (  # type: ignore[import-untyped,unused-ignore]
            onnxruntime_pybind11_state as refusals,
        )
    except ImportError as error:
        raise ModelError(
            f"model=tagger needs {error.name}: pip install 'lalm_bench[listeners]'"
        ) from error
    try:
        network = onnx.load(str(path))
        _in_float(network)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # clips are heard in parallel instead
        options.log_severity_level = 3  # it would list every scale that rounding has left behind
        opened = onnxruntime.InferenceSession(
            network.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        (taken,), given = opened.get_inputs(), opened.get_outputs()[0]
        shapes = (taken.shape[1:], given.shape[-1:], taken.type)
    except (
        *(OSError, ValueError, DecodeError),
        *(refusals.Fail, refusals.InvalidArgument, refusals.InvalidGraph, refusals.NotImplemented),
    ) as error:
        raise ModelError(f"model.path={path}: not readable as ONNX ({one_line(error)})") from error
    if shapes != ([1, _FRAMES, _MELS], [CLASSES], "tensor(float)"):
        raise ModelError(
            f"model.path={path}: takes {taken.shape} and gives {given.shape}; a YAMNet with input "
            f"(n, 1, {_FRAMES}, {_MELS}) and output (n, {CLASSES}) is needed"
        )
    return opened


def probabilities(network: Any, wave: np.ndarray) -> np.ndarray:
    """Mean over a clip of each class's probability, shape (521,).

    Parameters
    ----------
    network : onnxruntime.InferenceSession
        From `session`; may be used from several threads.
    wave : numpy.ndarray
        float32, shape (samples,), 16 kHz.
    """
    (taken,) = network.get_inputs()
    # One by one: exported networks are often fixed to a batch of one.
    logits = [network.run(None, {taken.name: patch[None]})[0][0] for patch in patches(wave)]
    likely: np.ndarray = (1 / (1 + np.exp(-np.asarray(logits, np.float64)))).mean(axis=0)
    return likely


def _in_float(network: Any) -> None:
    """Take out every quantise and dequantise pair."""
    import onnx

    graph = network.graph
    rounding = [n for n in graph.node if n.op_type in ("QuantizeLinear", "DequantizeLinear")]
    stands_for = {n.output[0]: n.input[0] for n in rounding}

    def real(name: str) -> str:
        while name in stands_for:
            name = stands_for[name]
        return name

    for node in rounding:
        graph.node.remove(node)
    for node in graph.node:
        node.input[:] = [real(name) for name in node.input]
    for place in (*graph.input, *graph.output):
        place.name = real(place.name)
        place.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    del graph.value_info[:]
