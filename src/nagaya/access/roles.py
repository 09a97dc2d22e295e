"""Roles as the control plane needs them: sets of predefined roles by what they open, and who may give which."""

import uuid

from nagaya.errors import InvalidInput
from nagaya_policy.roles import PREDEFINED_ROLES, Role, implied_tenant_role

ORGANIZATION_ADMIN = "organization_admin"
ORGANIZATION_MEMBER = "organization_member"
TENANT_ADMIN = "tenant_admin"
TENANT_VISITOR = "tenant_visitor"

_ORGANIZATION_ROLES = [role for role in PREDEFINED_ROLES.values() if role.level == "organization"]
ROLES_ENTERING_TENANTS = tuple(role.name for role in _ORGANIZATION_ROLES if implied_tenant_role(role.name))
"""Organization roles that make a member of every tenant of the organization."""
ROLES_SEEING_TENANTS = tuple(
    role.name
    for role in _ORGANIZATION_ROLES
    if "tenant:read" in role.permissions or role.name in ROLES_ENTERING_TENANTS
)
"""Organization roles that see every tenant of the organization in lists."""


_ALIASES = {
    "organization": {"admin": "organization_admin", "editor": "organization_manager", "viewer": "organization_viewer"},
    "tenant": {"admin": "tenant_admin", "editor": "tenant_developer", "viewer": "tenant_viewer"},
    "project": {"admin": "project_admin", "editor": "project_developer", "viewer": "project_viewer"},
}
"""Names of roles in ZenML up to 0.75, in lower case, by level, and what comes nearest to each today."""
_NAMESPACE = uuid.UUID("5a52e6a8-3f5e-5d0c-9a3b-6f2f0f4c7f11")


def role_id(name: str) -> uuid.UUID:
    """Returns the id of a predefined role, which is the same on every installation."""
    return uuid.uuid5(_NAMESPACE, name)


_BY_ID = {str(role_id(name)): name for name in PREDEFINED_ROLES}


def find_role(text: str, *levels: str) -> Role | None:
    """Returns the role that an id, a name or an alias means.

    Args:
        text: `tenant_developer`, its id, or one of the names `Admin`, `Editor` and `Viewer` of older ZenML.
        levels: In which levels to look for an alias, the first that has it; by default that of tenants, as ZenML did.
    """
    known = PREDEFINED_ROLES.get(text) or PREDEFINED_ROLES.get(_BY_ID.get(text.lower(), ""))
    if known is not None:
        return known
    names = [_ALIASES[level].get(text.lower()) for level in levels or ("tenant",)]
    return next((PREDEFINED_ROLES[name] for name in names if name is not None), None)


def assignable_role(name: str, *levels: str) -> Role:
    """Returns a role that a request names.

    Args:
        name: Name, id or alias of the role.
        levels: The levels that fit the place.

    Raises:
        InvalidInput: There is no such role, it is of another level, or it cannot be chosen by hand.
    """
    role = find_role(name, *levels)
    possible = sorted(
        each.name for each in PREDEFINED_ROLES.values() if each.level in levels and each.name != TENANT_VISITOR
    )
    if role is None or role.name not in possible:
        sentence = f"{name!r} is not a role that can be given here: choose one of {', '.join(possible)}."
        raise InvalidInput(sentence, fields={"roles": sentence})
    return role
