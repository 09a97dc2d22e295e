"""Tests of ./run, the file that installs and starts everything."""
