"""Permission checks over HTTP for ZenML servers that run outside of the platform."""
