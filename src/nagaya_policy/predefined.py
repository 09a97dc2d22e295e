"""The predefined roles of all three levels, after ZenML Pro's documented roles, as data.

Where the documentation leaves something open, the decision is written in the role's description or in a comment here.
Three rules hold for all of them and are not repeated: owners keep full rights on what they made, rows of the platform
are read by every member and changed by nobody, and every member reads flavors and tags.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from nagaya_policy.catalogue import (
    COMMON_ACTIONS,
    CREATE,
    PROJECT_SCOPED_TYPES,
    READ,
    RESOURCE_TYPES,
    TENANT_PERMISSIONS,
    TENANT_SCOPED_TYPES,
)
from nagaya_policy.organization import ORGANIZATION_PERMISSIONS


@dataclass(frozen=True, slots=True)
class Blueprint:
    """What makes a predefined role; `roles.Role` explains the fields."""

    name: str
    label: str
    level: str
    description: str
    permissions: frozenset[str]
    full: bool = False


def _grid(types: frozenset[str] | set[str], *actions: str) -> frozenset[str]:
    return frozenset(f"{each}:{action}" for each in types for action in actions)


# ZenML hands a download token for an artifact's data to whoever may read the artifact: reading includes the data.
_DOWNLOAD = frozenset({"artifact:client", "artifact_version:client"})
_PROJECT_CREATE = _grid(PROJECT_SCOPED_TYPES, CREATE)
_PROJECT_READ = _grid(PROJECT_SCOPED_TYPES, READ) | _DOWNLOAD
# Local service accounts pass ZenML's checks entirely, and pools distribute shared hardware: only administrators
# make or change either.
_GUARDED = frozenset({"service_account", "resource_pool", "resource_pool_subject_policy"})
_TENANT_READ = _grid(TENANT_SCOPED_TYPES, READ)
_TENANT_CREATE = _grid(TENANT_SCOPED_TYPES - _GUARDED - {"project"}, CREATE)
_STACK_PARTS = frozenset({"stack", "stack_component", "service_connector"})
# A run registers itself under the pipeline, artifacts, model and repository of its names. Whoever may make runs must
# be able to find these when somebody else made them first, or a second person could never run a pipeline.
_RUN_NEEDS = _grid({"artifact", "code_repository", "model", "pipeline"}, READ)
_PROJECT_ALL = frozenset(
    f"{each.name}:{action}" for each in RESOURCE_TYPES.values() if each.project_scoped for action in each.actions
)

_ORGANIZATION: Final = (
    Blueprint(
        "organization_admin",
        "Organization Admin",
        "organization",
        "Everything in the organization, including billing, members and deletion. Enters every tenant and project as "
        "its administrator.",
        frozenset(ORGANIZATION_PERMISSIONS),
        full=True,
    ),
    Blueprint(
        "organization_manager",
        "Organization Manager",
        "organization",
        "Creates and sees members, teams, service accounts, roles and tenants, and changes most settings. No billing, "
        "no audit log, no deletion of members, tenants or the organization, and no access to a tenant that was not "
        "granted. Can give only organization roles that permit no more than this one.",
        frozenset(
            {
                "invitation:create",
                "invitation:delete",
                "invitation:read",
                "member:create",
                "member:read",
                "member:update",
                "organization:read",
                "organization:update",
                "role:assign",
                "role:create",
                "role:read",
                "role:update",
                "service_account:create",
                "service_account:read",
                "service_account:update",
                "team:create",
                "team:read",
                "team:update",
                "tenant:create",
                "tenant:operate",
                "tenant:read",
                "tenant:update",
                "usage:read",
            }
        ),
    ),
    Blueprint(
        "organization_viewer",
        "Organization Viewer",
        "organization",
        "Sees the organization's members, teams, roles and service accounts and every tenant in the list. May connect "
        "to every tenant and sees there only what the platform itself put there, such as the hosted stack.",
        frozenset(
            {
                "invitation:read",
                "member:read",
                "organization:read",
                "role:read",
                "service_account:read",
                "team:read",
                "tenant:enter",
                "tenant:read",
                "usage:read",
            }
        ),
    ),
    Blueprint(
        "billing_admin",
        "Billing Admin",
        "organization",
        "Sees and changes billing, and sees usage. Nothing else.",
        frozenset({"billing:read", "billing:update", "organization:read", "usage:read"}),
    ),
    Blueprint(
        "organization_member",
        "Organization Member",
        "organization",
        "The minimum: belongs to the organization and sees only the tenants that were granted.",
        frozenset({"organization:read"}),
    ),
    Blueprint(
        "team_viewer",
        "Team Viewer",
        "organization",
        "Sees teams and who is in them, beside what every member sees; enough to choose with whom to share.",
        frozenset({"member:read", "organization:read", "team:read"}),
    ),
)

_TENANT: Final = (
    Blueprint(
        "tenant_admin",
        "Admin",
        "tenant",
        "Everything in the tenant and all its projects: settings, members, secret values, stacks of others.",
        frozenset(TENANT_PERMISSIONS),
        full=True,
    ),
    Blueprint(
        "tenant_developer",
        "Developer",
        "tenant",
        "Creates and sees everything in the tenant and all its projects. Full control of own stacks; reads and changes "
        "the stacks and components of others. Uses service connectors, but sees no secret values of others. No "
        "settings, no members, no local service accounts.",
        _PROJECT_CREATE
        | _PROJECT_READ
        | _TENANT_CREATE
        | _TENANT_READ
        | {"project:create", "stack:update", "stack_component:update", "service_connector:client"},
    ),
    Blueprint(
        "tenant_contributor",
        "Contributor",
        "tenant",
        "Creates stacks, components, connectors, secrets, flavors and tags and has full control of those; does not see "
        "those of others. No access to projects unless granted by a project role, and no creation of projects.",
        _TENANT_CREATE,
    ),
    Blueprint(
        "tenant_viewer",
        "Viewer",
        "tenant",
        "Reads everything in the tenant and all its projects, including the data of artifacts, but no secret values. "
        "Changes nothing and does not use connectors.",
        _PROJECT_READ | _TENANT_READ,
    ),
    Blueprint(
        "stack_admin",
        "Stack Admin",
        "tenant",
        "Creates, reads, changes, deletes and shares all stacks, components and service connectors, and sees and uses "
        "the connectors' credentials. Creates secrets and sees the names of all, to refer to them in components, but "
        "sees no secret values of others. No access to projects.",
        _grid(_STACK_PARTS, *COMMON_ACTIONS)
        | {
            "flavor:read",
            "secret:create",
            "secret:read",
            "service_connector:client",
            "service_connector:read_secret_value",
        },
    ),
    Blueprint(
        "tenant_visitor",
        "Visitor",
        "tenant",
        "May connect, and sees what the platform itself put there and what was shared. Given by the role Organization "
        "Viewer; cannot be chosen by hand.",
        frozenset(),
    ),
)

_PROJECT: Final = (
    Blueprint(
        "project_admin",
        "Project Admin",
        "project",
        "Everything in the project, including its settings, members and deletion. No rights on stacks, connectors or "
        "secrets, which belong to the tenant.",
        _PROJECT_ALL | {"project:delete", "project:read", "project:share", "project:update", "tag:create"},
        full=True,
    ),
    Blueprint(
        "project_developer",
        "Project Developer",
        "project",
        "Creates and sees everything in the project; changes and deletes own things only. No settings, no members, no "
        "rights on stacks: a run needs a stack that the platform hosts, or that is shared, own or readable by a tenant "
        "role.",
        _PROJECT_CREATE | _PROJECT_READ | {"project:read", "tag:create"},
    ),
    Blueprint(
        "project_contributor",
        "Project Contributor",
        "project",
        "Creates in the project and has full control of what it made. Of the work of others it sees what a run must "
        "find to be registered (pipelines, artifacts, models, code repositories), not their runs, builds or schedules.",
        _PROJECT_CREATE | _RUN_NEEDS | {"project:read", "tag:create"},
    ),
    Blueprint(
        "project_viewer",
        "Project Viewer",
        "project",
        "Reads everything in the project, including the data of artifacts. Changes nothing.",
        _PROJECT_READ | {"project:read"},
    ),
)

BLUEPRINTS: Final = _ORGANIZATION + _TENANT + _PROJECT
