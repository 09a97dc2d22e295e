"""Roles as the control plane needs them: sets of predefined roles by what they open, and who may give which."""

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


def assignable_role(name: str, *levels: str) -> Role:
    """Returns a role that a request names.

    Args:
        name: Name of the role.
        levels: The levels that fit the place.

    Raises:
        InvalidInput: There is no such role, it is of another level, or it cannot be chosen by hand.
    """
    role = PREDEFINED_ROLES.get(name)
    possible = sorted(
        each.name for each in PREDEFINED_ROLES.values() if each.level in levels and each.name != TENANT_VISITOR
    )
    if role is None or role.name not in possible:
        sentence = f"{name!r} is not a role that can be given here: choose one of {', '.join(possible)}."
        raise InvalidInput(sentence, fields={"roles": sentence})
    return role
