"""lalm_bench: evaluate large audio-language models under any combination of conditions."""

__version__ = "0.1.0"
