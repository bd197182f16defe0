"""AudioMarathon: ten tasks over recordings of 90 to 300 s (arXiv 2510.07293).

Nine are questions with options, one is transcription. What differs between them (fields of the
table, prompts, classes) stands in `conf/task/*.yaml`.
"""

from lalm_bench.tasks.audiomarathon.folders import LabelledFolders
from lalm_bench.tasks.audiomarathon.table import QuestionTable
from lalm_bench.tasks.audiomarathon.transcription import LongTranscription

__all__ = ["LabelledFolders", "LongTranscription", "QuestionTable"]
