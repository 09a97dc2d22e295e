"""Tests of the backup and its restoration."""
