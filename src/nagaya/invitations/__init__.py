"""Invitations: links by which people join an organization."""
