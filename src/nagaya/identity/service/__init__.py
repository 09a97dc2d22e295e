"""The rules of identity, one module per kind of thing."""
