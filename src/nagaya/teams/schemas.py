"""Wire types of teams and their members."""

import datetime as dt
import uuid
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from nagaya.http.schemas import AliasChoices, Input, LongText, Output, RecordRead, Text, clean


def _one_line(value: str) -> str:
    if not value.isprintable():
        raise ValueError("must be a single line of printable characters")
    return value


TeamName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=64, strip_whitespace=True),
    AfterValidator(clean),
    AfterValidator(_one_line),
]


class TeamCreate(Input):
    """Body of `POST /teams`."""

    name: TeamName = Field(description="Unique within the organization, in any case.")
    description: LongText = ""
    organization: Text | None = Field(
        default=None,
        validation_alias=AliasChoices("organization", "organization_id"),
        description="Id or name of the organization; may be left out by whoever belongs to one only. "
        "`organization_id` is understood as well.",
    )
    members: list[Text] = Field(
        default_factory=list,
        max_length=200,
        description="Ids, usernames or e-mail addresses of members of the organization.",
    )


class TeamUpdate(Input):
    """Body of `PATCH /teams/{id}`; what is left out stays."""

    name: TeamName | None = None
    description: LongText | None = None


class TeamRoleRead(Output):
    """A role that a team holds."""

    role: str
    label: str
    level: str
    tenant_id: uuid.UUID | None
    project_id: uuid.UUID | None
    expires: dt.datetime | None


class TeamRead(RecordRead):
    """A team."""

    organization_id: uuid.UUID
    name: str
    description: str
    member_count: int = Field(description="Users and service accounts in it; open invitations are not counted.")
    roles: list[TeamRoleRead] = Field(description="What the team holds, and with it all its members.")


class TeamMemberRead(Output):
    """Somebody in a team."""

    id: uuid.UUID
    kind: Literal["user", "service_account", "invitation"]
    username: str = Field(description="The address, of an invitation.")
    email: str | None
    name: str
    is_active: bool
    added: dt.datetime = Field(description="When this one came into the team, UTC.")
