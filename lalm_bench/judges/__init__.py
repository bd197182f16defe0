"""Judges of free-form answers."""
