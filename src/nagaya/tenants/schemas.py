"""Wire types of tenants: the contract's `WorkspaceRead` and what Nagaya adds to it."""

import datetime as dt
import re
import uuid
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, model_validator

from nagaya.http.schemas import AliasChoices, DisplayName, Input, LongText, Output, Slug, Text, clean

MAX_LABELS = 32
STAGE = r"^[a-z][a-z0-9-]{0,29}$"
MAX_IDLE_SECONDS = 2_592_000

LabelKey = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9](?:[A-Za-z0-9._/-]{0,62})$")]
LabelValue = Annotated[str, StringConstraints(max_length=200), AfterValidator(clean)]
Labels = Annotated[dict[LabelKey, LabelValue], Field(max_length=MAX_LABELS)]


def _stage_hint(value: Any) -> Any:
    if isinstance(value, str) and not re.fullmatch(STAGE[1:-1], value):
        raise ValueError("must be up to 30 lower-case letters, digits and hyphens, and must start with a letter")
    return value


Stage = Annotated[str, StringConstraints(pattern=STAGE), BeforeValidator(_stage_hint)]
IdleSeconds = Annotated[int, Field(ge=1, le=MAX_IDLE_SECONDS)]


class TenantCreate(Input):
    """Body of `POST /tenants`."""

    name: Slug | None = Field(default=None, description="Immutable name; made from `display_name` if left out.")
    display_name: DisplayName | None = Field(default=None, description="Name to show; `name` if left out.")
    organization: Text | None = Field(
        default=None,
        validation_alias=AliasChoices("organization", "organization_id"),
        description="Id or name of the organization; may be left out by whoever belongs to one only. "
        "`organization_id` is understood as well.",
    )
    description: LongText = ""
    documentation: LongText = Field(default="", description="Markdown.")
    stage: Stage | None = Field(default=None, description="For instance `production`; used to filter by.")
    labels: Labels = Field(default_factory=dict, description=f"Up to {MAX_LABELS} free keys with values.")
    version: Text | None = Field(default=None, description="ZenML version; the default engine's if left out.")
    protected: bool = Field(default=True, description="Refuse to delete it until this is turned off.")
    hibernate: bool = Field(default=True, description="Let it sleep when nobody uses it.")
    idle_seconds: IdleSeconds | None = Field(
        default=None, description="How long nobody must have used it, in seconds; the platform's default if left out."
    )


class TenantUpdate(Input):
    """Body of `PATCH /tenants/{id}`; what is left out stays, `stage: null` clears the stage."""

    display_name: DisplayName | None = None
    description: LongText | None = None
    documentation: LongText | None = None
    stage: Stage | None = None
    labels: Labels | None = None
    protected: bool | None = None
    hibernate: bool | None = None
    idle_seconds: IdleSeconds | None = None
    version: Text | None = Field(default=None, description="Only the present version, until upgrades exist.")


class OrganizationInTenant(Output):
    """The organization as ZenML's clients parse it inside of a tenant."""

    id: uuid.UUID
    name: str
    description: str | None
    created: dt.datetime
    updated: dt.datetime
    display_name: str


class ServiceConfiguration(Output):
    """Part of the contract: what the ZenML server is meant to be."""

    version: str


class ServiceStatus(Output):
    """Part of the contract: what the ZenML server is; absent unless clients can connect."""

    server_url: str
    version: str | None


class ZenMLService(Output):
    """Part of the contract."""

    configuration: ServiceConfiguration | None
    status: ServiceStatus | None


class LatestOperation(Output):
    """The latest action on a tenant."""

    id: uuid.UUID
    kind: str
    status: str
    error: str | None


class TenantRead(Output):
    """A tenant. Up to `zenml_service` exactly what ZenML's clients expect of a workspace; the rest is Nagaya's."""

    id: uuid.UUID
    name: str
    description: str | None
    organization: OrganizationInTenant
    desired_state: str = Field(description="`available`, `deactivated` or `deleted`.")
    state_reason: str = Field(description="Why it is in this state; empty if there is nothing to say.")
    status: str = Field(description="`pending`, `available`, `failed`, `deactivated` or `deleted`.")
    zenml_service: ZenMLService

    display_name: str
    documentation: str
    stage: str | None
    labels: dict[str, Any]
    url: str = Field(description="Address that clients of the tenant use.")
    dashboard_url: str
    activity: str = Field(description="What its process does: `awake`, `asleep`, `waking`, …")
    protected: bool
    hibernate: bool
    idle_seconds: int
    created: dt.datetime
    updated: dt.datetime
    created_by: uuid.UUID | None
    last_activity: dt.datetime | None
    status_changed: dt.datetime | None
    purge_after: dt.datetime | None = Field(description="When a deleted tenant can no longer be restored.")
    operation: LatestOperation | None


class TenantLogs(Output):
    """The end of a tenant's log."""

    lines: list[str]


class TenantMemberCreate(Input):
    """Body of `POST /tenants/{id}/members`."""

    user: Text | None = Field(
        default=None,
        min_length=1,
        description="Id, username or e-mail address of a member, or service account, of the organization.",
    )
    team: Text | None = Field(
        default=None, min_length=1, description="Id or name of a team of the organization, instead of `user`."
    )
    roles: list[Text] = Field(
        min_length=1, max_length=10, description="Tenant roles, or project roles of `project_id`."
    )
    project_id: uuid.UUID | None = Field(default=None, description="The project, for project roles.")
    expires: dt.datetime | None = Field(default=None, description="When the roles end; never, if left out.")

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if (self.user is None) is (self.team is None):
            raise ValueError("give either user or team")
        return self


class HeldRole(Input):
    """A role that a member is to hold."""

    role: Text
    project_id: uuid.UUID | None = None


class TenantMemberUpdate(Input):
    """Body of `PATCH /tenants/{id}/members/{principal}`: the roles afterwards, all of them."""

    roles: list[Text | HeldRole] = Field(min_length=1, max_length=100)
    expires: dt.datetime | None = None
