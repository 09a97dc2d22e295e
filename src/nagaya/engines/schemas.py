"""Wire types of engines."""

from typing import Literal

from pydantic import Field

from nagaya.http.schemas import Output


class EngineRead(Output):
    """A ZenML version that is installed and can host tenants."""

    version: str = Field(description="ZenML's version; what `version` of a new tenant may be.")
    state: Literal["ready", "damaged"] = Field(description="`damaged`: no tenant can be made or started with it.")
    mode: Literal["zygote", "plain"] = Field(
        description="How its tenants start: forked within a tenth of a second, or plainly within about ten seconds."
    )
    default: bool = Field(description="Whether a tenant gets it when nobody says which.")
    tenants: int | None = Field(
        description="How many tenants need it, with those that were deleted and can be restored; superusers only."
    )
    reason: str | None = Field(description="What is wrong with it and what to do; superusers only.")
