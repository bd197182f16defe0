"""The tiny networks of the pruning tests: four layers, short windows."""

from tests.models.conftest import ask, clips
from tests.pruning.conftest import chords, deep, featured, loaded, plain

__all__ = ["ask", "chords", "clips", "deep", "featured", "loaded", "plain"]
