"""Tests of traces by OpenTelemetry."""
