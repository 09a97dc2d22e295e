"""Wire types of organizations and their members."""

import datetime as dt
import uuid
from typing import Literal

from pydantic import Field

from nagaya.http.schemas import DisplayName, Input, LongText, Output, RecordRead, Slug, Text


class OrganizationTenant(Input):
    """A tenant to be made together with its organization."""

    name: Slug | None = Field(default=None, description="Immutable name; made from `display_name` if left out.")
    display_name: DisplayName | None = Field(default=None, description="Name to show; `name` if left out.")
    description: LongText = ""
    version: Text | None = Field(default=None, description="ZenML version; the newest installed one if left out.")


class OrganizationCreate(Input):
    """Body of `POST /organizations`."""

    name: Slug = Field(description="Immutable name, part of addresses.")
    display_name: DisplayName | None = Field(default=None, description="Name to show; `name` if left out.")
    description: LongText = ""
    tenants: list[OrganizationTenant] = Field(
        default_factory=list, max_length=20, description="Tenants to create with it: all of them or nothing."
    )


class OrganizationUpdate(Input):
    """Body of `PATCH /organizations/{id}`; what is left out stays."""

    display_name: DisplayName | None = None
    description: LongText | None = None


class OrganizationRead(RecordRead):
    """An organization; a superset of what ZenML's clients expect of one."""

    name: str
    display_name: str
    description: str | None
    url: str = Field(description="Its page in the dashboard.")
    roles: list[str] = Field(description="The caller's own roles in it.")


class NameCheck(Output):
    """Answer of the name validations."""

    valid: bool = Field(description="Whether the name can be used.")
    reason: str = Field(description="Why not, in a sentence; empty if it can.")


class Entitlement(Output):
    """Answer of the entitlement check that ZenML servers make; its content is for people only."""

    feature: str
    allowed: Literal[True] = True


class OrganizationMemberCreate(Input):
    """Body of `POST /organizations/{id}/members`."""

    user: Text = Field(min_length=1, description="Id, username or e-mail address of an existing user.")
    roles: list[Text] = Field(
        default_factory=lambda: ["organization_member"], min_length=1, max_length=10, description="Organization roles."
    )
    expires: dt.datetime | None = Field(default=None, description="When the roles end; never, if left out.")


class OrganizationMemberUpdate(Input):
    """Body of `PATCH /organizations/{id}/members/{principal}`: the own roles afterwards, all of them."""

    roles: list[Text] = Field(min_length=1, max_length=10)
    expires: dt.datetime | None = None


class TeamReference(Output):
    """A team, as far as members of others may know it."""

    id: uuid.UUID
    name: str


class RoleHeld(Output):
    """A role of a member."""

    role: str
    label: str
    level: str
    project_id: uuid.UUID | None = None
    expires: dt.datetime | None = None
    via: str = Field(description="`direct`, `organization role <name>` or `team <name>`.")
    team: TeamReference | None = Field(
        default=None, description="The team that holds it, if it is not the member's own."
    )


class MemberRead(Output):
    """A member of an organization or a tenant with its roles there."""

    id: uuid.UUID
    kind: Literal["user", "service_account", "team", "invitation"]
    username: str = Field(description="The name of a team, the address of an invitation.")
    email: str | None
    name: str
    is_active: bool
    via_team: bool = Field(description="Whether all roles here are those of teams.")
    roles: list[RoleHeld]
