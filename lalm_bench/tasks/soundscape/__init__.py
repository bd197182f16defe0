"""Temporal questions over scenes that are mixed from a folder of labelled clips."""

from lalm_bench.tasks.soundscape.source import Soundscapes
from lalm_bench.tasks.soundscape.task import Soundscape

__all__ = ["Soundscape", "Soundscapes"]
