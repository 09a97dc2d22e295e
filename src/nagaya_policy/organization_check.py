"""Checks of organization permissions: the union of a principal's organization roles, with reasons."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from nagaya_policy.decisions import Decision
from nagaya_policy.organization import ORGANIZATION_PERMISSIONS
from nagaya_policy.principals import Grant
from nagaya_policy.roles import ORGANIZATION, Role

ASSIGN: Final = "role:assign"


def _active(grants: Iterable[Grant], now: float) -> list[Grant]:
    return [each for each in grants if each.role.level == ORGANIZATION and each.active(now)]


def check_organization(grants: Iterable[Grant], permission: str, now: float) -> Decision:
    """Decide whether somebody may do something in an organization.

    Args:
        grants: All roles of the principal in this organization, as `Grant(role, via, expires=…)`; those of other
            levels do not count. None at all means not a member.
        permission: One of `ORGANIZATION_PERMISSIONS`; any other is for full administrators only.
        now: Seconds since the epoch.
    """
    active = _active(grants, now)
    if not active:
        return Decision(False, "denied: not a member of the organization")
    unknown = permission not in ORGANIZATION_PERMISSIONS
    for grant in active:
        if permission in grant.role.permissions or (unknown and grant.role.full):
            return Decision(True, f"allowed: {grant.title}")
    labels = ", ".join(dict.fromkeys(each.role.label for each in active))
    return Decision(False, f"denied: no role of yours grants {permission} (your roles: {labels})")


def organization_permissions(grants: Iterable[Grant], now: float) -> Mapping[str, str]:
    """All organization permissions of a principal, alphabetical, each with the grant that gives it first."""
    found: dict[str, str] = {}
    for grant in _active(grants, now):
        for permission in grant.role.permissions:
            found.setdefault(permission, grant.title)
    return dict(sorted(found.items()))


def check_assignment(grants: Iterable[Grant], role: Role, now: float) -> Decision:
    """Decide whether somebody may give or take an organization role, or change it: never more than one has oneself.

    Without this rule whoever may assign roles could become administrator.

    Args:
        grants: The acting principal's organization roles.
        role: The organization role to give, take, make or change.
        now: Seconds since the epoch.
    """
    held = list(grants)
    decision = check_organization(held, ASSIGN, now)
    if not decision.allowed:
        return decision
    lacking = sorted(role.permissions - organization_permissions(held, now).keys())
    if lacking:
        return Decision(False, f"denied: {role.label} permits more than your own roles do: {', '.join(lacking)}")
    return decision
