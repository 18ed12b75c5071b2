"""Counts of votes -> what they prove: pure functions that read like the theorem."""
