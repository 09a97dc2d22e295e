"""A stand-in for what runs in an engine: the same protocol, but small, fast, and misbehaving on demand."""
