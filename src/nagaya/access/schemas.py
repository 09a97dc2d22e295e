"""Wire types of roles, permissions and the answers to "who may do what, and why"."""

import datetime as dt
import uuid

from pydantic import Field

from nagaya.http.schemas import Output, RecordRead


class PermissionRead(Output):
    """A permission that a role can hold."""

    permission: str = Field(description="`resource type:action`.")
    level: str = Field(description="`organization`, `tenant` or `project`.")
    description: str


class RoleRead(Output):
    """A role."""

    id: uuid.UUID = Field(description="The same on every installation for predefined roles.")
    name: str
    label: str
    level: str
    description: str
    permissions: list[str]
    type: str = Field(description="`predefined` or `custom`.")
    system_managed: bool
    assignable: bool = Field(description="Whether it can be given by hand.")


class AssignmentRead(RecordRead):
    """A role that somebody holds somewhere."""

    role: str
    level: str
    organization_id: uuid.UUID
    tenant_id: uuid.UUID | None
    project_id: uuid.UUID | None
    principal_id: uuid.UUID
    principal_kind: str = Field(description="`user`, `service_account`, `team` or `invitation`.")
    principal_name: str = Field(description="Username, name of the team, or address of the invitation.")
    expires: dt.datetime | None
    created_by: uuid.UUID | None = Field(description="Who gave it.")


class EffectivePermissionRead(Output):
    """One thing that somebody may do, and why."""

    permission: str
    scope: str = Field(description="`organization`, `tenant`, `project <id>`, or one resource.")
    reason: str


class EffectiveRead(Output):
    """Everything that somebody may do at a place."""

    principal: uuid.UUID
    organization: str
    tenant: str | None
    permissions: list[EffectivePermissionRead]


class RuleRead(Output):
    """One rule that was considered."""

    rule: str
    outcome: str
    detail: str
    deciding: bool


class ExplanationRead(Output):
    """A decision with everything that led to it."""

    allowed: bool
    reason: str
    rules: list[RuleRead]
