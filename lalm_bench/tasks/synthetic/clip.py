"""The clip that computes itself from five small values.

NumPy is imported when a clip is computed and not before, so that listing a hundred thousand items
stays cheap.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lalm_bench.tasks.synthetic.mended import mended_scene
from lalm_bench.tasks.synthetic.published import published_scene
from lalm_bench.tasks.synthetic.scene import PUBLISHED_VERSION, RATE, VERSION, Scene

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True)
class SceneClip:
    """A clip by name: its sounds are derived again whenever they are needed.

    Parameters
    ----------
    family, difficulty : str
    index : int
        0-based.
    seed : int
        The dataset's seed.
    compat : bool
        The published construction instead of the mended one.
    """

    family: str
    difficulty: str
    index: int
    seed: int
    compat: bool

    def content(self) -> str:
        """Generator version and the five values; they determine every sample of the clip."""
        version = PUBLISHED_VERSION if self.compat else VERSION
        return f"{version}:{self.family}:{self.difficulty}:{self.seed}:{self.index}"

    def scene(self) -> Scene:
        """The sounds of the clip."""
        make = published_scene if self.compat else mended_scene
        return make(self.family, self.difficulty, self.index, self.seed)

    def seconds(self) -> float:
        """Duration of the clip."""
        return self.scene().duration

    def pcm(self) -> np.ndarray:
        """int16, shape (samples,), at `RATE`."""
        from lalm_bench.tasks.synthetic import sounds

        scene = self.scene()
        laid = []
        for e in scene.events:
            wave = sounds.sound(e.waveform, e.pitch_hz, round(e.duration * RATE), RATE, e.seed)
            laid.append((round(e.onset * RATE), e.dbfs, wave))
        return sounds.mix(laid, round(scene.duration * RATE), scene.peak_dbfs)

    def synthesise(self) -> tuple[np.ndarray, int]:
        """float32, shape (samples,), and the rate: what decoding the written wav gives."""
        import numpy as np

        return self.pcm().astype(np.float32) / np.float32(32768), RATE
