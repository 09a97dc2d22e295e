"""The catalogue of what can be permitted inside a tenant: ZenML's resource types and actions.

Source: `zenml.zen_server.rbac.models` of the releases 0.75.1 to 0.98.0, and the calls of its routers
(`verify_permission*`) for which action means something on which type. Newer releases may add types: everything here
treats an unknown type as one that only full administrators may touch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

CREATE: Final = "create"
READ: Final = "read"
UPDATE: Final = "update"
DELETE: Final = "delete"
SHARE: Final = "share"
CLIENT: Final = "client"
PROMOTE: Final = "promote"
PRUNE: Final = "prune"
BACKUP_RESTORE: Final = "backup_restore"
READ_VALUE: Final = "read_secret_value"

ACTIONS: Final[dict[str, str]] = {
    CREATE: "Make a new one.",
    READ: "See it and its details.",
    UPDATE: "Change it.",
    DELETE: "Delete it.",
    SHARE: "Give another member or team actions on this one resource.",
    CLIENT: "Use it without seeing its credentials: open a connector's client, download an artifact's data.",
    PROMOTE: "Move a model version to another stage.",
    PRUNE: "Delete all unused ones at once.",
    BACKUP_RESTORE: "Copy all secret values to the backup store, or back.",
    READ_VALUE: "See the secret values that it holds.",
}
"""Every action of ZenML's RBAC, with its meaning; the same set in all releases from 0.75 on."""

COMMON_ACTIONS: Final = (CREATE, READ, UPDATE, DELETE, SHARE)


@dataclass(frozen=True, slots=True)
class ResourceType:
    """One type of ZenML resource.

    Args:
        name: The type as ZenML writes it in resource strings.
        label: What the type is called in sentences and in the dashboard, singular.
        project_scoped: Whether its resources belong to a project (0.80 and later) or to the whole tenant.
        extra: Actions that mean something on this type beyond create, read, update, delete and share.
        releases: Which ZenML releases know the type.
    """

    name: str
    label: str
    project_scoped: bool
    extra: tuple[str, ...] = ()
    releases: str = "0.75 and later"

    @property
    def actions(self) -> tuple[str, ...]:
        """All actions that mean something on this type, in the order of the catalogue."""
        return COMMON_ACTIONS + self.extra


_TYPES: Final = (
    ResourceType("action", "action", True, releases="0.75 to before 0.94"),
    ResourceType("artifact", "artifact", True, (CLIENT,)),
    ResourceType("artifact_version", "artifact version", True, (CLIENT, PRUNE)),
    ResourceType("code_repository", "code repository", True),
    ResourceType("deployment", "deployment", True, releases="0.90 and later"),
    ResourceType("event_source", "event source", True, releases="0.75 to before 0.94"),
    ResourceType("flavor", "flavor", False),
    ResourceType("model", "model", True, (PROMOTE,)),
    ResourceType("model_version", "model version", True, (PROMOTE,)),
    ResourceType("pipeline", "pipeline", True),
    ResourceType("pipeline_build", "pipeline build", True),
    ResourceType("pipeline_deployment", "pipeline snapshot", True, (PRUNE,)),
    ResourceType("pipeline_run", "pipeline run", True),
    ResourceType("project", "project", False, releases="0.80 and later"),
    ResourceType("resource_pool", "resource pool", False, releases="0.94"),
    ResourceType("resource_pool_subject_policy", "resource pool policy", False, releases="0.94"),
    ResourceType("run_metadata", "run metadata", True),
    ResourceType("run_template", "run template", True),
    ResourceType("schedule", "schedule", True, releases="0.84 and later"),
    ResourceType("secret", "secret", False, (READ_VALUE, BACKUP_RESTORE)),
    ResourceType("service", "service", True),
    ResourceType("service_account", "service account", False),
    ResourceType("service_connector", "service connector", False, (CLIENT, READ_VALUE)),
    ResourceType("stack", "stack", False),
    ResourceType("stack_component", "stack component", False),
    ResourceType("tag", "tag", False),
    ResourceType("trigger", "trigger", True),
    ResourceType("trigger_execution", "trigger execution", True, releases="0.75 to before 0.94"),
    ResourceType("webhook", "webhook", True, releases="0.98 and later"),
)

RESOURCE_TYPES: Final[dict[str, ResourceType]] = {each.name: each for each in _TYPES}
"""Every resource type that any release from 0.75 to 0.98 knows, by name, alphabetical."""

PROJECT_SCOPED_TYPES: Final = frozenset(each.name for each in _TYPES if each.project_scoped)
TENANT_SCOPED_TYPES: Final = frozenset(each.name for each in _TYPES if not each.project_scoped)

TENANT_PERMISSIONS: Final = tuple(sorted(f"{each.name}:{action}" for each in _TYPES for action in each.actions))
"""Every meaningful `type:action`, alphabetical: what a custom role of a tenant or project may be made of."""

_TENANT_PERMISSION_SET: Final = frozenset(TENANT_PERMISSIONS)


def is_project_scoped(resource_type: str) -> bool | None:
    """Whether resources of a type belong to a project; `None` if the type is unknown."""
    known = RESOURCE_TYPES.get(resource_type)
    return None if known is None else known.project_scoped


def is_tenant_permission(permission: str) -> bool:
    """Whether `type:action` is in the catalogue, which is to say: means something to some release of ZenML."""
    return permission in _TENANT_PERMISSION_SET


def describe_permission(permission: str) -> str:
    """A sentence for a permission of the tenant catalogue; the permission itself if it is not in there.

    >>> describe_permission("stack:update")
    'Stack: change it.'
    """
    type_name, _, action = permission.partition(":")
    known = RESOURCE_TYPES.get(type_name)
    if known is None or action not in known.actions:
        return permission
    meaning = ACTIONS[action]
    return f"{known.label[0].upper()}{known.label[1:]}: {meaning[0].lower()}{meaning[1:]}"
