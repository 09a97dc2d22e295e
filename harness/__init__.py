"""Starts real platforms, stock clients and browsers for the tests, benchmarks and proofs."""
