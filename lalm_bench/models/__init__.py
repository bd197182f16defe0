"""Anything that answers requests: baselines, listeners, language models."""
