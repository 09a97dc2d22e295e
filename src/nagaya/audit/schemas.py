"""Wire types of the audit record."""

import datetime as dt
import uuid
from typing import Any, Literal

from pydantic import Field

from nagaya.http.schemas import Output


class AuditEventRead(Output):
    """Who did what to what, when, from where, and how it ended."""

    sequence: int = Field(description="Grows with time; also the cursor.")
    time: dt.datetime
    organization_id: uuid.UUID | None
    tenant_id: uuid.UUID | None
    actor_id: uuid.UUID | None
    actor_kind: str
    actor_name: str
    action: str = Field(description="`noun.verb`, e.g. `tenant.create`.")
    target_kind: str
    target_id: str
    target_name: str
    outcome: Literal["success", "denied", "failure", "unknown"]
    reason: str
    request_id: str | None
    address: str
    details: dict[str, Any]
