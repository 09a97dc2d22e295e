"""Roles: named sets of permissions at one of three levels, and the rules of which permission a level can hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from nagaya_policy.catalogue import PROJECT_SCOPED_TYPES, TENANT_PERMISSIONS, is_tenant_permission
from nagaya_policy.errors import RoleError
from nagaya_policy.organization import ORGANIZATION_PERMISSIONS
from nagaya_policy.predefined import BLUEPRINTS

ORGANIZATION: Final = "organization"
TENANT: Final = "tenant"
PROJECT: Final = "project"
LEVELS: Final = (ORGANIZATION, TENANT, PROJECT)

MEMBER_PERMISSIONS: Final = frozenset({"flavor:read", "tag:read"})
"""What every member of a tenant may do, whatever the role: without these no stack can be shown and no run be made.
Flavors and tags hold no secrets."""

PROJECT_ROLE_EXTRAS: Final = frozenset(
    {"project:delete", "project:read", "project:share", "project:update", "tag:create"}
)
"""Permissions on tenant-scoped types that a project role can hold: those on `project` count for its own project only,
and `tag:create` because a run may bring tags, which belong to the tenant. Never stacks, connectors or secrets."""


@dataclass(frozen=True, slots=True)
class Role:
    """A role.

    Args:
        name: Stable name, as grants write it.
        label: What people read.
        level: `organization`, `tenant` or `project`.
        description: What the role is for and what it leaves out, in sentences.
        permissions: `type:action` strings.
        full: Whether the role also permits types and actions that the catalogue does not know (administrators).
        predefined: Whether the role comes with Nagaya; those cannot be changed.
    """

    name: str
    label: str
    level: str
    description: str
    permissions: frozenset[str] = field(repr=False)
    full: bool = False
    predefined: bool = True


PREDEFINED_ROLES: Final[dict[str, Role]] = {
    each.name: Role(each.name, each.label, each.level, each.description, each.permissions, full=each.full)
    for each in BLUEPRINTS
}
"""All predefined roles by name: organization level first, then tenant, then project, the strongest first."""

_PROJECT_LEVEL: Final = (
    frozenset(each for each in TENANT_PERMISSIONS if each.partition(":")[0] in PROJECT_SCOPED_TYPES)
    | PROJECT_ROLE_EXTRAS
)
_OF_LEVEL: Final[dict[str, frozenset[str]]] = {
    ORGANIZATION: frozenset(ORGANIZATION_PERMISSIONS),
    TENANT: frozenset(TENANT_PERMISSIONS),
    PROJECT: _PROJECT_LEVEL,
}
_IMPLIED: Final = {"organization_admin": "tenant_admin", "organization_viewer": "tenant_visitor"}


def permissions_of_level(level: str) -> tuple[str, ...]:
    """All permissions that a role of a level can hold, alphabetical.

    Raises:
        RoleError: There is no such level.
    """
    if level not in _OF_LEVEL:
        raise RoleError(f"There is no level {level!r}: use organization, tenant or project.")
    return tuple(sorted(_OF_LEVEL[level]))


def make_custom_role(
    name: str, level: str, permissions: Iterable[str], *, label: str | None = None, description: str = ""
) -> Role:
    """Make a custom role after checking it strictly, as the platform does before it stores one.

    Args:
        name: Stable name; must not be a predefined role's.
        level: `organization`, `tenant` or `project`.
        permissions: `type:action` strings, all of them possible at this level.
        label: What people read; the name if left out.
        description: Sentences.

    Raises:
        RoleError: The name is taken, the level does not exist, or a permission is not one of the level.
    """
    if name in PREDEFINED_ROLES:
        raise RoleError(f"{name} is a predefined role: choose another name.")
    wanted = frozenset(permissions)
    possible = frozenset(permissions_of_level(level))
    if foreign := sorted(wanted - possible):
        known = [each for each in foreign if is_tenant_permission(each) or each in ORGANIZATION_PERMISSIONS]
        kind = "exist, but not in a role of this level" if known == foreign else "do not exist at this level"
        raise RoleError(f"A {level} role cannot hold {', '.join(foreign)}: these permissions {kind}.")
    return Role(name, label or name, level, description, wanted, predefined=False)


def implied_tenant_role(organization_role: str) -> str | None:
    """The role that an organization role gives in every tenant of the organization, or `None`.

    Administrators of an organization administer all its tenants. Its viewers may connect to all of them and see what
    the platform put there, nothing else. No other organization role lets anyone into a tenant.
    """
    return _IMPLIED.get(organization_role)


def find_role(name: str, custom: Mapping[str, Role] | None = None) -> Role:
    """The role of a name, predefined or from `custom`.

    Raises:
        RoleError: There is no such role.
    """
    role = PREDEFINED_ROLES.get(name) or (custom or {}).get(name)
    if role is None:
        raise RoleError(f"There is no role {name!r}.")
    return role
