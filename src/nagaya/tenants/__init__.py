"""Tenants: their life cycle, their channel, and the reconciler that drives them."""
