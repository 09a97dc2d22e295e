"""Wire types of usage and limits."""

import uuid
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from nagaya.http.schemas import Input, Output
from nagaya.usage.models import FEATURE_LENGTH

Feature = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
MOST_RESOURCES = 2_000_000_000
MOST_FEATURES = 50


class UsageEvent(BaseModel):
    """Body of `POST /usage-event`: that a ZenML server has a resource more or less (`RawUsageEvent` of zenml)."""

    model_config = ConfigDict(extra="ignore")

    organization_id: str = Field(max_length=64, description="The server's organization; `unknown` if it knows none.")
    feature: str = Field(pattern=r"^[\x21-\x7e]+$", max_length=FEATURE_LENGTH, description="`pipeline_run`, `model`, …")
    total: Literal[1, -1] = Field(description="1: made; -1: deleted.")
    metadata: dict[str, Any] = Field(
        default_factory=dict, description="`resource_id`, and `workspace_id` (`tenant_id` up to 0.75.1)."
    )


class UsageTaken(Output):
    """What became of a usage event."""

    feature: str
    counted: bool = Field(description="False if the resource had been counted before.")


class UsageRead(Output):
    """What a tenant uses."""

    tenant_id: uuid.UUID
    tenant: str
    features: dict[str, int] = Field(description="Number of resources by feature.")
    limits: dict[str, int] = Field(description="Most resources by feature, where the tenant has a limit of its own.")


class Limits(Input):
    """How many resources of each feature there may be; features that are left out have no limit."""

    limits: Annotated[
        dict[Feature, Annotated[int, Field(ge=0, le=MOST_RESOURCES)]], Field(max_length=MOST_FEATURES)
    ] = Field(description="Most resources by feature: `project`, `pipeline`, `pipeline_run`, `model`, …")


class Entitlement(Output):
    """Answer to a server's question: 200 with any JSON means yes."""

    feature: str
    entitled: bool = True
