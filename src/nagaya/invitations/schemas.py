"""Wire types of invitations."""

import datetime as dt
import uuid
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from nagaya.http.schemas import Email, Input, Output, RecordRead, Text
from nagaya.identity.schemas import Password, Username
from nagaya.organizations.schemas import TeamReference

DEFAULT_DAYS = 7
MAX_DAYS = 90
Days = Annotated[int, Field(ge=1, le=MAX_DAYS, description="How long the link works.")]
Secret = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9_-]+$")]
Status = Literal["pending", "accepted", "revoked", "expired"]


class InvitedTenant(Input):
    """Roles in one tenant that an invitation carries."""

    tenant: Text = Field(min_length=1, description="Id or name of a tenant of the organization.")
    roles: list[Text] = Field(
        min_length=1, max_length=10, description="Tenant roles, or project roles of `project_id`."
    )
    project_id: uuid.UUID | None = Field(default=None, description="The project, for project roles.")


class InvitationCreate(Input):
    """Body of `POST /organizations/{id}/invitations`."""

    email: Email = Field(description="Address of the person; compared without regard to case.")
    roles: list[Text] = Field(
        default_factory=lambda: ["organization_member"], min_length=1, max_length=10, description="Organization roles."
    )
    tenants: list[InvitedTenant] = Field(default_factory=list, max_length=100)
    teams: list[Text] = Field(default_factory=list, max_length=50, description="Ids or names of teams.")
    expires_in_days: Days = DEFAULT_DAYS


class LinkCreate(Input):
    """Body of `POST /organizations/{id}/invitations/{invitation}/link`."""

    expires_in_days: Days = DEFAULT_DAYS


class InvitingOrganization(Output):
    """The organization that invites."""

    id: uuid.UUID
    name: str
    display_name: str


class CarriedRole(Output):
    """A role that comes with an invitation."""

    role: str
    label: str
    level: str
    tenant_id: uuid.UUID | None
    tenant: str | None = Field(description="Name of the tenant.")
    project_id: uuid.UUID | None
    expires: dt.datetime | None


class InvitationRead(RecordRead):
    """An invitation."""

    organization: InvitingOrganization
    email: str
    status: Status
    expires: dt.datetime
    invited_by: str = Field(description="Name of whoever invites.")
    accepted: dt.datetime | None
    roles: list[CarriedRole]
    teams: list[TeamReference]


class InvitationCreated(InvitationRead):
    """A new invitation, or one with a new link."""

    link: str = Field(description="To send to the person; works once, and is shown only here.")


class LinkAcceptance(Input):
    """Body of `POST /invitations/accept`. The last three are for people who have no account yet."""

    token: Secret = Field(description="What stands behind `token=` in the link.")
    username: Username | None = Field(default=None, description="Made from the address if left out; never changes.")
    name: Text = ""
    password: Password | None = Field(default=None, description="Needed for a new account.")


class InvitationAccepted(Output):
    """Answer to the acceptance of an invitation."""

    organization: InvitingOrganization
    user_id: uuid.UUID
    username: str
