"""Synthetic temporal questions: clips made of sounds whose times and pitches are known."""

from lalm_bench.tasks.synthetic.task import McqSynthetic

__all__ = ["McqSynthetic"]
