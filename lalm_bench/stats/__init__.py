"""Intervals, paired tests, corrections and power. Pure functions of arrays."""

from lalm_bench.stats.intervals import (
    Estimate,
    chance_corrected,
    cluster_mean,
    entropy_bits,
    wilson,
)
from lalm_bench.stats.multiplicity import benjamini_hochberg, holm
from lalm_bench.stats.paired import Test, mcnemar, paired_difference, sign_flip, swap_test
from lalm_bench.stats.power import area_weights, items_needed, smallest_difference

__all__ = [
    "Estimate",
    "Test",
    "area_weights",
    "benjamini_hochberg",
    "chance_corrected",
    "cluster_mean",
    "entropy_bits",
    "holm",
    "items_needed",
    "mcnemar",
    "paired_difference",
    "sign_flip",
    "smallest_difference",
    "swap_test",
    "wilson",
]
