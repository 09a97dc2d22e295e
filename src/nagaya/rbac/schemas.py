"""Wire types of the permission checks, as ZenML servers of 0.75.1 to 0.98.0 send and read them."""

import uuid

from pydantic import BaseModel, ConfigDict, Field

from nagaya.http.schemas import Output
from nagaya_policy import ACTIONS


class AllowedResources(Output):
    """Answer of `GET /rbac/allowed_resource_ids`; a server reads both fields."""

    full_access: bool = Field(description="Whether every resource of the type is allowed.")
    ids: list[str] = Field(description="The allowed ones, if not all are.")


class ResourceMembership(BaseModel):
    """Body of `POST /rbac/resource_members`: up to 0.80.2 without `team_id` and `sharing_user_id`."""

    model_config = ConfigDict(extra="ignore")

    user_id: uuid.UUID | None = Field(default=None, description="With whom: a user or a service account.")
    team_id: uuid.UUID | None = Field(default=None, description="With which team, instead of `user_id`.")
    sharing_user_id: uuid.UUID | None = Field(default=None, description="Who shares.")
    resource: str = Field(max_length=200, description="A single resource, as ZenML writes it.")
    actions: list[str] = Field(max_length=len(ACTIONS), description="All actions afterwards; none ends the share.")


class ResourceMember(Output):
    """Somebody with whom a resource is shared."""

    principal_id: uuid.UUID
    resource: str
    actions: list[str]
