"""MCQ-ORDER: naming the event that comes immediately after a given one."""

from lalm_bench.tasks.order.task import McqOrder

__all__ = ["McqOrder"]
