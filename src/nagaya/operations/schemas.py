"""Wire types of operations."""

import datetime as dt
import uuid

from pydantic import Field

from nagaya.http.schemas import Output, RecordRead


class PhaseRead(Output):
    """One phase of an operation."""

    name: str
    status: str = Field(description="`pending`, `running`, `succeeded`, `failed` or `cancelled`.")
    started: dt.datetime | None
    finished: dt.datetime | None
    message: str


class OperationRead(RecordRead):
    """A long action on a tenant."""

    organization_id: uuid.UUID
    tenant_id: uuid.UUID | None
    principal_id: uuid.UUID | None
    kind: str = Field(description="`create`, `deploy`, `deactivate`, `delete` or `restore`.")
    status: str = Field(description="`pending`, `running`, `succeeded`, `failed` or `cancelled`.")
    phases: list[PhaseRead]
    error: str | None
    failures: int = Field(description="Attempts that failed and were made again.")
    finished: dt.datetime | None
