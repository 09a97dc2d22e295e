"""Benchmarks: the platform beside a plain ZenML server, in one run, interleaved, reported as ratios."""
