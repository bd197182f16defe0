"""The seeds' own label rules, faults included, to compare with published numbers.

They are reported beside the strict extractor and never replace it. A label outside the item's set
is None here; the seeds carried it along and counted it wrong, which comes to the same accuracy.
"""

from __future__ import annotations

from lalm_bench.parsing.compat.audiomarathon import (
    audiomarathon,
    audiomarathon_gtzan,
    audiomarathon_race,
    audiomarathon_slue,
    audiomarathon_vox_age,
)
from lalm_bench.parsing.compat.faithfulness import (
    faithfulness_af3,
    faithfulness_af3_conditioned,
    faithfulness_af3_direct,
    faithfulness_qwen,
    faithfulness_qwen_conditioned,
)
from lalm_bench.parsing.compat.mmau import mmau_string_match, string_match
from lalm_bench.parsing.compat.tacobelal import tacobelal, tacobelal_af3, tacobelal_text

__all__ = [
    "audiomarathon",
    "audiomarathon_gtzan",
    "audiomarathon_race",
    "audiomarathon_slue",
    "audiomarathon_vox_age",
    "faithfulness_af3",
    "faithfulness_af3_conditioned",
    "faithfulness_af3_direct",
    "faithfulness_qwen",
    "faithfulness_qwen_conditioned",
    "mmau_string_match",
    "string_match",
    "tacobelal",
    "tacobelal_af3",
    "tacobelal_text",
]
