"""Analyses of finished runs: `python -m lalm_bench.analysis VERB`."""
