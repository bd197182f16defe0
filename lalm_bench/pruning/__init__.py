"""Audio-token pruning as context managers over a loaded model."""
