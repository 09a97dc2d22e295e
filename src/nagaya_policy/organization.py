"""Permissions of an organization: their catalogue, and the check of one against a principal's grants.

A tenant's permissions are ZenML's (see `catalogue`); an organization's are ours, in the same `resource:action` style.
"""

from __future__ import annotations

from typing import Final

ORGANIZATION_PERMISSIONS: Final[dict[str, str]] = {
    "audit:read": "Read and export the organization's audit log.",
    "billing:read": "See plans, invoices and limits.",
    "billing:update": "Change plans, payment details and limits.",
    "invitation:create": "Invite somebody.",
    "invitation:delete": "Withdraw an invitation.",
    "invitation:read": "See open invitations.",
    "member:create": "Add an existing user to the organization.",
    "member:delete": "Remove a member; all grants of that member in the organization end.",
    "member:read": "See who is a member.",
    "member:update": "Change a member's details in the organization.",
    "organization:delete": "Delete the organization with everything in it.",
    "organization:read": "See the organization's name, description and settings.",
    "organization:update": "Change the organization's name, description and settings.",
    "role:assign": "Give and take roles, up to what one's own roles permit.",
    "role:create": "Make a custom role, up to what one's own roles permit.",
    "role:delete": "Delete a custom role.",
    "role:read": "See roles, their permissions and who holds them.",
    "role:update": "Change a custom role, up to what one's own roles permit.",
    "service_account:create": "Make a service account or an API key of one.",
    "service_account:delete": "Delete a service account or revoke an API key of one.",
    "service_account:read": "See service accounts and the names of their API keys.",
    "service_account:update": "Change, deactivate or rotate a service account or an API key of one.",
    "team:create": "Make a team.",
    "team:delete": "Delete a team; all grants of the team end.",
    "team:read": "See teams and who is in them.",
    "team:update": "Change a team and who is in it.",
    "tenant:create": "Create a tenant.",
    "tenant:delete": "Delete a tenant, or restore a deleted one.",
    "tenant:enter": "Connect to every tenant as a visitor, who sees only what the platform itself put there.",
    "tenant:operate": "Deactivate, wake, restart, upgrade, back up and restore tenants, and read their logs.",
    "tenant:read": "See every tenant in the list, also those that one is not a member of.",
    "tenant:update": "Change a tenant's name, description and settings.",
    "usage:read": "See what the organization uses: tenants, runs, storage, members.",
}
"""Every organization permission with its meaning, alphabetical."""
