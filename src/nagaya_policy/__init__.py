"""The policy engine: pure functions over a policy document, standard library only."""

from nagaya_policy.catalogue import (
    ACTIONS,
    PROJECT_SCOPED_TYPES,
    RESOURCE_TYPES,
    TENANT_PERMISSIONS,
    TENANT_SCOPED_TYPES,
    ResourceType,
    describe_permission,
    is_project_scoped,
    is_tenant_permission,
)
from nagaya_policy.decisions import AllowedIds, ConsideredRule, Decision, EffectivePermission, Explanation
from nagaya_policy.document import SCHEMA, apply_delta
from nagaya_policy.engine import Policy
from nagaya_policy.errors import (
    NagayaPolicyError,
    PolicyBaseError,
    PolicyError,
    PolicySchemaError,
    ResourceError,
    ResourceScopeError,
    RoleError,
)
from nagaya_policy.organization import ORGANIZATION_PERMISSIONS
from nagaya_policy.organization_check import (
    check_assignment,
    check_organization,
    organization_permissions,
)
from nagaya_policy.principals import Grant, Principal
from nagaya_policy.resources import Resource, format_resource, parse_resource
from nagaya_policy.roles import (
    LEVELS,
    MEMBER_PERMISSIONS,
    PREDEFINED_ROLES,
    Role,
    find_role,
    implied_tenant_role,
    make_custom_role,
    permissions_of_level,
)

__all__ = [
    "ACTIONS",
    "LEVELS",
    "MEMBER_PERMISSIONS",
    "ORGANIZATION_PERMISSIONS",
    "PREDEFINED_ROLES",
    "PROJECT_SCOPED_TYPES",
    "RESOURCE_TYPES",
    "SCHEMA",
    "TENANT_PERMISSIONS",
    "TENANT_SCOPED_TYPES",
    "AllowedIds",
    "ConsideredRule",
    "Decision",
    "EffectivePermission",
    "Explanation",
    "Grant",
    "NagayaPolicyError",
    "Policy",
    "PolicyBaseError",
    "PolicyError",
    "PolicySchemaError",
    "Principal",
    "Resource",
    "ResourceError",
    "ResourceScopeError",
    "ResourceType",
    "Role",
    "RoleError",
    "apply_delta",
    "check_assignment",
    "check_organization",
    "describe_permission",
    "find_role",
    "format_resource",
    "implied_tenant_role",
    "is_project_scoped",
    "is_tenant_permission",
    "make_custom_role",
    "organization_permissions",
    "parse_resource",
    "permissions_of_level",
]
