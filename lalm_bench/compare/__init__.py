"""Runs on the same items, compared in pairs: `python -m lalm_bench.compare BASELINE RUN...`."""
