"""What the model hears and reads, changed on purpose. One idea a file."""
