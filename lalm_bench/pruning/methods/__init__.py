"""Which audio tokens stay: selection before a layer, scores for eviction. One idea a file."""
