"""Making a resident model fast: batches, look-ahead, concurrency."""
