"""Benchmarks, one file a family: data layout, prompt and scoring."""
