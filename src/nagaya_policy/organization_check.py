"""Checks of organization permissions: the union of a principal's organization roles, with reasons."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from nagaya_policy.decisions import Decision
from nagaya_policy.organization import ORGANIZATION_PERMISSIONS
from nagaya_policy.roles import ORGANIZATION, Role

ASSIGN: Final = "role:assign"


@dataclass(frozen=True, slots=True)
class OrganizationGrant:
    """An organization role that a principal holds.

    Args:
        role: The role, of level organization.
        via: `direct`, `team <name>` or `superuser`.
        expires: When it ends, in seconds since the epoch; `None` for never.

    Raises:
        ValueError: The role is of another level.
    """

    role: Role
    via: str = "direct"
    expires: float | None = None

    def __post_init__(self) -> None:
        if self.role.level != ORGANIZATION:
            raise ValueError(f"{self.role.name} is a role of level {self.role.level}, not organization.")

    def active(self, now: float) -> bool:
        """Whether the grant counts at a time."""
        return self.expires is None or now < self.expires

    @property
    def title(self) -> str:
        """The grant in words: `role Organization Manager via team leads`."""
        return f"role {self.role.label}" if self.via == "direct" else f"role {self.role.label} via {self.via}"


def check_organization(grants: Iterable[OrganizationGrant], permission: str, now: float) -> Decision:
    """Decide whether somebody may do something in an organization.

    Args:
        grants: All organization roles of the principal in this organization; none at all means not a member.
        permission: One of `ORGANIZATION_PERMISSIONS`; any other is for full administrators only.
        now: Seconds since the epoch.
    """
    active = [each for each in grants if each.active(now)]
    if not active:
        return Decision(False, "denied: not a member of the organization")
    unknown = permission not in ORGANIZATION_PERMISSIONS
    for grant in active:
        if permission in grant.role.permissions or (unknown and grant.role.full):
            return Decision(True, f"allowed: {grant.title}")
    labels = ", ".join(dict.fromkeys(each.role.label for each in active))
    return Decision(False, f"denied: no role of yours grants {permission} (your roles: {labels})")


def organization_permissions(grants: Iterable[OrganizationGrant], now: float) -> Mapping[str, str]:
    """All organization permissions of a principal, alphabetical, each with the grant that gives it first."""
    found: dict[str, str] = {}
    for grant in grants:
        if grant.active(now):
            for permission in grant.role.permissions:
                found.setdefault(permission, grant.title)
    return dict(sorted(found.items()))


def check_assignment(grants: Iterable[OrganizationGrant], role: Role, now: float) -> Decision:
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
