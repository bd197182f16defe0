"""Tools around data sets: `python -m lalm_bench.data fetch|check|stats|segment|manifest`."""
