"""Who holds what: grants of roles, and the members of a tenant as compiled from its policy document."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nagaya_policy.resources import Resource
from nagaya_policy.roles import Role


@dataclass(frozen=True, slots=True)
class Grant:
    """A role that a principal holds.

    Args:
        role: The role.
        via: How it came: `direct`, `team <name>`, `organization role <name>` or `superuser`.
        project: The project that a project role is held in; `None` for roles of other levels.
        expires: When it ends, in seconds since the epoch; `None` for never.
    """

    role: Role
    via: str = "direct"
    project: str | None = None
    expires: float | None = None

    def active(self, now: float) -> bool:
        """Whether the grant counts at a time; it ends at the very second of `expires`."""
        return self.expires is None or now < self.expires

    @property
    def title(self) -> str:
        """The grant in words: `role Developer via team vision`."""
        return f"role {self.role.label}" if self.via == "direct" else f"role {self.role.label} via {self.via}"


@dataclass(frozen=True, slots=True)
class Principal:
    """A member of the tenant, compiled from its entry in the document.

    Args:
        id: The platform's id of the user or service account.
        kind: `user` or `service_account`.
        username: Unique in the platform.
        email: Address, if any.
        name: Display name; the username if there is none.
        superuser: What ZenML is told in `is_superuser`; it decides nothing here, rights come from grants only.
        valid_after: Tokens issued before this second are refused.
        grants: All roles held, expired ones included.
        shares: Actions by resource, as they were shared with this principal or a team of it.
        shared_projects: Projects in which something is shared, and which are therefore visible.
        lasting: Whether time alone cannot end the membership.
        expires: When the membership of the organization ends, and with it everything here; `None` for never.
    """

    id: str
    kind: str
    username: str
    email: str | None
    name: str
    superuser: bool
    valid_after: float
    grants: tuple[Grant, ...]
    shares: Mapping[Resource, frozenset[str]]
    shared_projects: frozenset[str]
    lasting: bool
    expires: float | None = None

    def is_active(self, now: float) -> bool:
        """Whether the principal is still a member at a time.

        Being in the document makes a member. The one thing that ends it without a new document is time: the membership
        of the organization has ended, or all roles have expired and nothing is shared.
        """
        if self.expires is not None and now >= self.expires:
            return False
        return self.lasting or any(each.active(now) for each in self.grants)
