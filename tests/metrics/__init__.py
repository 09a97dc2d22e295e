"""Tests of the numbers of all processes."""
