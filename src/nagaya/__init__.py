"""Nagaya, an open, self-hosted control plane for ZenML."""

__version__ = "0.1.0"
