"""Benchmarks: each file names the question it answers. Run ``python -m benchmarks --help``."""
