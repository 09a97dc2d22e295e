"""Backup and restore of a whole platform: control database, tenants' databases, user ids, and keys if asked for."""
