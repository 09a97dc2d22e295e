"""Tenants as processes of this host: the keeper, its zygotes, and the client that talks to it."""
