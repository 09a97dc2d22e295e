"""Wire types of roles, permissions and the answers to "who may do what, and why"."""

import uuid

from pydantic import Field

from nagaya.http.schemas import Output


class PermissionRead(Output):
    """A permission that a role can hold."""

    permission: str = Field(description="`resource type:action`.")
    level: str = Field(description="`organization`, `tenant` or `project`.")
    description: str


class RoleRead(Output):
    """A role."""

    name: str
    label: str
    level: str
    description: str
    permissions: list[str]
    type: str = Field(description="`predefined` or `custom`.")
    system_managed: bool
    assignable: bool = Field(description="Whether it can be given by hand.")


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
