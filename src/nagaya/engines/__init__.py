"""Engines: installed ZenML versions, each in an environment of its own, that can host tenants."""
