"""Smoothing distributions, and the random streams that they are drawn from."""
